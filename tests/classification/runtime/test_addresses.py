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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "cannot read https://u:p@a.example/c?sig=x, nor b.example/d?sig=y and more",
            "cannot read https://a.example/c nor b.example/d and more",
        ),
        (
            "Max retries exceeded with url: /photos/a.jpg?code=x (Caused by NewError)",
            "Max retries exceeded with url: /photos/a.jpg (Caused by NewError)",
        ),
        ("wasbs://c@a.example/d#sig=x", "wasbs://a.example/d"),
        ("of b.example:8080/d?code=x&key=y", "of b.example:8080/d"),
        ("photos/d?se=2026&sig=x", "photos/d?se=2026&sig=..."),
        ("Bearer abc", "Bearer ..."),
    ],
)
def test_tokens_go_from_any_text(text: str, expected: str) -> None:
    assert without_tokens(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "cannot read /data/#1/a?b.jpg: no such file",
        "images[3]: '/data/photos?/what#now.jpg' is in no --allow-root of this service",
        "images 2026.11/a#b.jpg and x.y/what?.jpg",
        r"C:\photos\#2\a.jpg, or \\host\share\a#b.jpg",
        "is that so? yes #1",
    ],
)
def test_paths_stay_whole(text: str) -> None:
    assert without_tokens(text) == text
