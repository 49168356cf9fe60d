from __future__ import annotations

import pytest

from classification.runtime.addresses import shown, without_tokens


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/b/c.json?sv=1&sig=x", "https://a.example/b/c.json"),
        ("https://me:word@a.example/b#sig=x", "https://a.example/b"),
        ("https://a.example/b ?sig=x y?z", "https://a.example/b "),
        ("https://a.example/b@c.json", "https://a.example/b@c.json"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_what_opens_the_door(
    url: str, expected: str
) -> None:
    assert shown(url) == expected


def test_tokens_go_from_any_text() -> None:
    text = "cannot read https://u:p@a.example/c?sig=x, nor b.example/d?sig=y and more"
    assert without_tokens(text) == (
        "cannot read https://a.example/c nor b.example/d and more"
    )
