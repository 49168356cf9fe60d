"""What stands beside detections."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import image_contents
from classification.runtime.contents import Contents, Stamp
from classification.runtime.errors import ArtifactError
from tests.commands import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = [
    ("a.jpg", Contents("0a", Stamp(7, 8))),
    ("b.jpg", Contents("0b", Stamp(7, 0, "tag"))),
    ("c.jpg", Contents("0c", None)),
]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "o.json"
    path.write_bytes(b"some images")
    return path


def test_the_golden_file_is_of_the_golden_file() -> None:
    found = image_contents.find(ROOT / "tests/golden/detections.json")
    assert found is not None
    assert found.header.detector == "5f0c" * 16
    assert list(found.images()) == [
        ("a/b.jpg", Contents("ca" * 16, Stamp(2514067, 1714000000000000000))),
        ("c.jpg", Contents("cb" * 16, Stamp(48213, 0, "0x8DC6A1"))),
        ("d.jpg", Contents("cc" * 16, None)),
    ]


def test_what_was_read_is_listed_and_an_image_without_contents_is_not(
    results: Path,
) -> None:
    image_contents.tell(results, [*IMAGES, ("d.jpg", None)], detector="d1", run="a=b")
    found = image_contents.find(results)
    assert found is not None
    assert list(found.images()) == IMAGES
    assert (found.header.detector, found.header.run) == ("d1", "a=b")


def test_the_same_images_are_the_same_bytes(results: Path) -> None:
    path = image_contents.path_beside(results)
    image_contents.tell(results, IMAGES, detector="")
    first = path.read_bytes()
    image_contents.tell(results, iter(IMAGES), detector="")
    assert path.read_bytes() == first


def test_it_says_nothing_of_other_detections(results: Path) -> None:
    assert image_contents.find(results) is None
    image_contents.tell(results, IMAGES, detector="d1")
    results.write_bytes(b"other images")
    assert image_contents.find(results) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"file":"a.jpg"}', "missing required field `digest`"),
        (b'{"file":"a.jpg","digest":"0a","sise":3}', "unknown field `sise`"),
        (b'{"file":"a.jpg","digest":"0a","size":"3"}', "Expected `int`"),
        (b'{"file":"a.jpg"', "truncated"),
        (b'"' + b"x" * (1 << 20), "a line of more than 1 MiB"),
    ],
)
def test_a_broken_line_has_an_address(results: Path, line: bytes, message: str) -> None:
    path = image_contents.path_beside(results)
    head = b'{"sha256":"0"}\n{"file":"0.jpg","digest":"00"}\n'
    path.write_bytes(gzip.compress(head + line + b"\n"))
    record = image_contents.read(path)
    with pytest.raises(ArtifactError, match=message) as raised:
        list(record.images())
    assert raised.value.where == f"{path}: line 3"


def test_a_name_that_is_no_text_is_kept(results: Path) -> None:
    image_contents.tell(results, [("\N{BEAR FACE}\x01.jpg", IMAGES[0][1])], detector="")
    found = image_contents.find(results)
    assert found is not None
    assert list(found.images()) == [("\N{BEAR FACE}\x01.jpg", IMAGES[0][1])]


def test_removing_leaves_nothing(results: Path) -> None:
    image_contents.tell(results, IMAGES, detector="")
    unlink = Path.unlink
    with pytest.MonkeyPatch.context() as patch:  # a run that is killed while it writes
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            image_contents.tell(results, interrupted(), detector="")
    assert len(list(results.parent.iterdir())) == 3
    assert Path.unlink is unlink
    for _ in range(2):
        image_contents.remove(results)
        assert list(results.parent.iterdir()) == [results]


def interrupted() -> Iterator[tuple[str, Contents]]:
    yield IMAGES[0]
    raise KeyboardInterrupt
