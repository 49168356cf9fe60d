from __future__ import annotations

import argparse

import pytest

from classification.runtime import cli
from classification.storage import flags
from classification.storage.places import Place


class Arguments(argparse.Namespace):
    images_dir: list[Place]
    base_url: list[Place]
    tries: int
    timeout: int


def parse(*words: str) -> Arguments:
    parser = cli.Parser("test", "")
    flags.add_places(parser)
    return parser.parse_args(words, namespace=Arguments())


def test_folders_come_before_addresses() -> None:
    args = parse(
        *("--base-url", "https://x.org", "-i", "a", "--images-dir", "d=b"),
        *("--base-url", "e=https://x.org/e", "--tries", "1", "--timeout", "3"),
    )
    assert flags.places_of(args) == [
        Place("a"),
        Place("b", "d"),
        Place("https://x.org"),
        Place("https://x.org/e", "e"),
    ]
    patience = flags.patience_of(args)
    assert (patience.tries, patience.silence_s) == (1, 3)


@pytest.mark.parametrize(
    "words",
    [("--images-dir", "https://x.org"), ("--base-url", "d=images"), ("--tries", "0")],
)
def test_what_is_no_such_place_is_a_usage_error(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit):
        parse(*words)
