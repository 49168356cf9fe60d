from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from classification.artifacts.step_log import StepLog
from classification.runtime import atomic
from classification.runtime.errors import ItemError, StorageError
from classification.storage import ImageStore, fetching
from classification.storage.fetching import Errand, Folder, fetch_missing
from classification.storage.local import LocalStore
from classification.storage.outage import LenientStore

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from pathlib import Path


class Fleeting(ImageStore):
    """A store that does not answer for some images."""

    def __init__(self, silent: Container[str]) -> None:
        self._silent = silent

    def load(self, name: str) -> tuple[bytes, None]:
        if name in self._silent:
            raise StorageError("no answer in time")
        return name.encode(), None

    def stamp(self, name: str) -> None:
        raise NotImplementedError

    def exists(self, name: str) -> bool:
        raise NotImplementedError


@pytest.fixture
def source(tmp_path: Path) -> LocalStore:
    (tmp_path / "source/d").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "source/d" / name).write_bytes(name.encode())
    return LocalStore(tmp_path / "source")


def fetch(  # noqa: PLR0913 - what a test varies
    names: Iterable[str],
    store: ImageStore,
    target: Path,
    *,
    existing: Container[str] = (),
    at_hand: Path | None = None,
    threads: int = 2,
) -> StepLog:
    log = StepLog(step="test")
    folder = Folder(path=target, existing=existing, at_hand=at_hand)
    errands = [Errand(name, name) for name in names]
    fetch_missing(errands, store, folder, threads=threads, log=log)
    return log


def test_what_is_missing_is_fetched(source: LocalStore, tmp_path: Path) -> None:
    log = fetch(["d/a.jpg", "d/b.jpg"], source, tmp_path / "t", existing=["d/b.jpg"])
    assert (tmp_path / "t/d/a.jpg").read_bytes() == b"a.jpg"
    assert not (tmp_path / "t/d/b.jpg").exists()
    assert list(log.counts.values()) == [2, 1, 0, 1, 0]


def test_d40_what_cannot_be_had_is_listed_with_its_reason(
    source: LocalStore, tmp_path: Path
) -> None:
    log = fetch(["d/z.jpg", "d/a.jpg"], source, tmp_path / "t")
    assert log.failures == [("d/z.jpg", "no such file")]
    assert log.extra["images_failed_download"] == ["d/z.jpg"]
    assert (tmp_path / "t/d/a.jpg").exists()


def test_a_file_at_hand_is_linked(source: LocalStore, tmp_path: Path) -> None:
    hand = tmp_path / "hand"
    (hand / "d").mkdir(parents=True)
    (hand / "d/a.jpg").write_bytes(b"at hand")
    (hand / "d/b.jpg").touch()  # what a download that was cut off left
    log = fetch(["d/a.jpg", "d/b.jpg"], source, tmp_path / "t", at_hand=hand)
    assert (tmp_path / "t/d/a.jpg").samefile(hand / "d/a.jpg")
    assert (tmp_path / "t/d/b.jpg").read_bytes() == b"b.jpg"
    assert (log.counts["images_linked"], log.counts["images_fetched"]) == (1, 1)


def test_where_the_disk_has_no_links_it_is_copied(
    source: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    log = fetch(["d/a.jpg"], source, tmp_path / "t", at_hand=tmp_path / "source")
    assert (tmp_path / "t/d/a.jpg").read_bytes() == b"a.jpg"
    assert log.counts["images_linked"] == 1


def test_one_name_that_the_disk_refuses_ends_nothing(tmp_path: Path) -> None:
    long = "x" * 300 + ".jpg"
    log = fetch([long, "a.jpg", "a.jpg/b.jpg"], Fleeting(()), tmp_path / "t", threads=1)
    assert log.counts["images_fetched"] == 1
    [(first, reason), (second, _)] = log.failures
    assert (first, second) == (long, "a.jpg/b.jpg")
    assert "has a part of 304 bytes" in reason


def test_a_full_disk_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "_appear", full)
    with pytest.raises(StorageError, match="No space left"):
        fetch(["a.jpg"], Fleeting(()), tmp_path / "t")


def test_a_store_that_does_not_answer_ends_the_run(tmp_path: Path) -> None:
    names = [f"{number:02}.jpg" for number in range(60)]
    with pytest.raises(StorageError, match="25 images in a row"):
        fetch(names, LenientStore(Fleeting(names[3:])), tmp_path / "t", threads=1)
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == names[:3]


def test_a_few_without_an_answer_are_listed(tmp_path: Path) -> None:
    store = LenientStore(Fleeting(["b.jpg"]))
    log = fetch(["a.jpg", "b.jpg", "c.jpg"], store, tmp_path / "t")
    assert log.failures == [("b.jpg", "no answer in time")]


def test_images_are_fetched_side_by_side(tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=10)

    class Waiting(ImageStore):
        def load(self, name: str) -> tuple[bytes, None]:
            together.wait()
            return name.encode(), None

        def stamp(self, name: str) -> None:
            raise NotImplementedError

        def exists(self, name: str) -> bool:
            raise ItemError(name)

    log = fetch([f"{i}.jpg" for i in range(8)], Waiting(), tmp_path / "t", threads=4)
    assert log.counts[fetching.FETCHED] == 8
