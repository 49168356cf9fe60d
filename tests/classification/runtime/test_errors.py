from __future__ import annotations

from pathlib import Path

import pytest

from classification.runtime import errors
from classification.runtime.errors import (
    ArtifactError,
    ItemError,
    MissingExtraError,
    PipelineError,
    TooManyFailuresError,
    in_file,
)


def test_every_failure_of_a_command_has_an_exit_code() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, PipelineError)
    ]
    codes = {kind.__name__: kind.exit_code for kind in kinds}
    assert codes.pop("TooManyFailuresError") == 4
    assert set(codes.values()) == {1}
    assert TooManyFailuresError.exit_code == 4


def test_the_failure_of_an_item_does_not_end_a_command() -> None:
    assert not issubclass(ItemError, PipelineError)


def test_the_docstring_draws_the_whole_tree() -> None:
    kinds = [name for name in vars(errors) if name.endswith("Error")]
    assert all(name in str(errors.__doc__) for name in kinds)


@pytest.mark.parametrize(
    ("where", "text"), [("", "no list"), ("a[3].b", "a[3].b: no list")]
)
def test_an_artifact_error_puts_its_address_first(where: str, text: str) -> None:
    error = ArtifactError("no list", where=where)
    assert str(error) == text
    assert (error.where, error.message) == (where, "no list")


@pytest.mark.parametrize(
    ("where", "text"),
    [("", "x.json: no list"), ("images[3].bbox", "x.json: images[3].bbox: no list")],
)
def test_in_file_puts_the_name_before_the_address(where: str, text: str) -> None:
    with pytest.raises(ArtifactError) as caught, in_file(Path("x.json")):
        raise ArtifactError("no list", where=where)
    assert str(caught.value) == text
    assert caught.value.message == "no list"


def test_in_file_leaves_other_errors_alone() -> None:
    with pytest.raises(KeyError), in_file(Path("x.json")):
        raise KeyError("x")


def test_a_missing_extra_says_what_to_install() -> None:
    error = MissingExtraError("reading md_v4.1.0.pb", extra="tensorflow")
    assert str(error) == (
        "reading md_v4.1.0.pb needs an extra: "
        "pip install 'cameratraps-classifier[tensorflow]'"
    )
    assert error.extra == "tensorflow"
