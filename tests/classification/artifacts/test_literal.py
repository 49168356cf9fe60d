from __future__ import annotations

import pytest

from classification.artifacts import _literal
from classification.runtime.errors import ArtifactError


def test_reads_data() -> None:
    text = " [(1, 'genus', 'cervus', ['elk', \"red\"]), None, -2.5] "
    assert _literal.parse(text, where="x") == [
        (1, "genus", "cervus", ["elk", "red"]),
        None,
        -2.5,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "open('x', 'w')",
        "[].append(1)",
        "nan",
        "[(1, 'genus'",
        "'\0'",
        "[" * 5000 + "]" * 5000,
        "-" * 50_000 + "1",
        "{[]: 1}",
        "9" * 5000,
        "1 if True else 2",
        "f'{1}'",
    ],
)
def test_d44_anything_else_is_refused_and_nothing_runs(text: str) -> None:
    with pytest.raises(ArtifactError, match=r"^row 2: not a Python literal: "):
        _literal.parse(text, where="row 2")


def test_an_excerpt_keeps_the_message_short() -> None:
    with pytest.raises(ArtifactError) as refusal:
        _literal.parse("boom " * 1000, where="row 2")
    assert str(refusal.value) == (
        "row 2: not a Python literal: 'boom boom boom boom boom boom boom boom ' ..."
    )


def test_an_endless_text_is_refused_unread() -> None:
    with pytest.raises(ArtifactError, match=r"^c: longer than 100000 characters$"):
        _literal.parse("[" + "1," * 60_000 + "]", where="c")


def test_a_strange_escape_is_read_in_silence() -> None:
    assert _literal.parse(r"['a\d']", where="x") == ["a\\d"]
