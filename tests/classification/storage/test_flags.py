from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from classification.runtime import cli
from classification.runtime.errors import ConfigurationError
from classification.storage import flags
from classification.storage.places import Place
from classification.storage.web import IMAGE_PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from classification.storage.digests import Md5


class Arguments(argparse.Namespace):
    images_dir: list[Place]
    base_url: list[Place]
    container_url: list[Place]
    tries: int
    timeout: int
    md5: Md5


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
    patience = flags.manner_of(args).patience
    assert (patience.tries, patience.silence_s) == (1, 3)


@pytest.mark.parametrize(
    "words",
    [("--images-dir", "https://x.org"), ("--base-url", "d=images"), ("--tries", "0")],
)
def test_what_is_no_such_place_is_a_usage_error(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit):
        parse(*words)


URL = "https://x.blob.core.windows.net/c?sv=1&sig=a%3D"


def test_a_container_may_be_given_with_its_token_or_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{URL}\n")
    given = f"@{tmp_path / 'url'}"
    for where in (URL, given):
        args = parse("--container-url", where, "--container-url", f"d={where}")
        found = flags.places_of(args)
        assert [(place.url, place.dataset) for place in found] == [
            (URL, ""),
            (URL, "d"),
        ]
        assert all(place.is_container for place in found)
    [lost] = flags.places_of(parse("--container-url", f"@{tmp_path / 'none'}"))
    with pytest.raises(ConfigurationError, match=r"cannot read .*/none: No such file"):
        lost.open(IMAGE_PATIENCE)


def test_the_environment_names_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSIFICATION_BLOB_STORAGE_ACCOUNT", "x")
    monkeypatch.setenv("CLASSIFICATION_BLOB_CONTAINER", "c")
    monkeypatch.setenv("CLASSIFICATION_BLOB_CONTAINER_WRITE_SAS", "?sv=1&sig=a%3D")
    assert flags.places_of(parse()) == [Place(URL, is_container=True)]
    assert flags.places_of(parse("--container-url", "")) == []
    other = flags.places_of(parse("--container-url", "https://y/z"))
    assert other == [Place("https://y/z", is_container=True)]
