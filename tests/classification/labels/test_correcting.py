from __future__ import annotations

import pytest

from classification.labels import correcting
from classification.runtime.errors import ConfigurationError

KNOWN = {"a": "fox", "b": "", "c": "deer"}


def test_what_is_new_is_added_and_what_is_known_stays() -> None:
    merged = correcting.merge(KNOWN, {"d": "bear", "a": "fox", "b": ""})
    assert merged.class_by_file == {**KNOWN, "d": "bear"}
    assert (merged.added, merged.changed, merged.unchanged) == (("d",), (), 2)


def test_to_name_an_unknown_class_is_no_contradiction() -> None:
    merged = correcting.merge(KNOWN, {"b": "bear"})
    assert merged.class_by_file["b"] == "bear"
    assert merged.changed == (("b", "", "bear"),)


@pytest.mark.parametrize(
    ("right", "said"), [("bear", "'bear'"), ("", "that nobody knows")]
)
def test_d34_an_entry_is_changed_on_request_alone(right: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        correcting.merge(KNOWN, {"a": right})
    assert str(refusal.value) == (
        f"'a' is known to be 'fox'; the review says {said}. --overwrite lets the review "
        "be right"
    )
    merged = correcting.merge(KNOWN, {"a": right}, overwrite=True)
    assert merged.class_by_file == {**KNOWN, "a": right}
    assert merged.changed == (("a", "fox", right),)
