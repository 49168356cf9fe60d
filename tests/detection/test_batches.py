from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.runtime.contents import Contents, Stamp, digest
from classification.runtime.errors import ItemError, ModelError
from classification.runtime.name_set import NameSet
from classification.storage.anywhere import AnywhereStore
from classification.storage.local import LocalStore, load_file
from detection import batches
from detection.batches import Include, Result, Work
from detection.boxes import Box
from detection.detectors import Prepared
from detection.image_files import ImageFile, ImageList
from detection.records import Detection
from tests import world

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

BLOB = (250, 10, 10)


@dataclass
class BlobDetector:
    """Finds the red rectangle; refuses images of sizes it is told to.

    ``broken`` are widths on which ``detect`` fails, ``strange`` on which ``prepare`` does.
    """

    broken: frozenset[int] = frozenset()
    strange: frozenset[int] = frozenset()
    error: type[Exception] = RuntimeError
    batches: list[list[int]] = field(default_factory=list)

    @property
    def categories(self) -> Mapping[str, str]:
        return {"1": "blob"}

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        if image.shape[1] in self.strange:
            raise ZeroDivisionError
        height, width, _ = image.shape
        return Prepared(pixels=image, width_px=width, height_px=height)

    def detect(
        self, batch: Sequence[Prepared], *, threshold: float
    ) -> list[tuple[Detection, ...]]:
        self.batches.append([image.width_px for image in batch])
        if any(image.width_px in self.broken for image in batch):
            raise self.error("the graph has no such node\nand more lines")
        return [self._find(image, threshold) for image in batch]

    def _find(self, image: Prepared, threshold: float) -> tuple[Detection, ...]:
        near = np.abs(image.pixels.astype(int) - BLOB).max(axis=2) < 40
        rows, columns = np.nonzero(near)
        if not rows.size or threshold > 0.5:
            return ()
        left, right = columns.min() / image.width_px, columns.max() / image.width_px
        top, bottom = rows.min() / image.height_px, rows.max() / image.height_px
        return (Detection("1", Box.from_corners(left, top, right, bottom), 0.5),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images, 30 to 39 px wide, with a blob in those of even width."""
    for number in range(10):
        grey = world.photograph(30 + number, 20, seed=number).convert("L")
        scene = grey.convert("RGB")
        if number % 2 == 0:
            scene = world.with_blob(scene, (8, 4, 20, 16), BLOB)
        world.save_jpeg(tmp_path / f"{number}.jpg", scene, quality=95)
    return tmp_path


@pytest.fixture
def images(folder: Path) -> Iterator[ImageList]:
    files = (ImageFile(f"{n}.jpg", str(folder / f"{n}.jpg")) for n in range(10))
    with ImageList.of(files) as found:
        yield found


def work(**options: object) -> Work:
    return Work(**{"threshold": 0.1, **options})  # type: ignore[arg-type]  # of any field


def results(
    detector: BlobDetector, images: ImageList, options: Work, done: Iterable[int] = ()
) -> list[Result]:
    names = NameSet(f"{number}.jpg" for number in done)
    load = AnywhereStore().load
    found = batches.detect(detector, images, options, done=names, load=load)
    return [result for batch in found for result in batch]


def failures(found: list[Result]) -> dict[str, str]:
    return {
        result.image.file: str(result.image.failure)
        for result in found
        if result.image.detections is None
    }


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 3, 10, 64])
def test_every_image_has_its_boxes_in_order(
    images: ImageList, threads: int, batch_size: int
) -> None:
    detector = BlobDetector()
    found = results(detector, images, work(threads=threads, batch_size=batch_size))
    assert [result.image.file for result in found] == [f"{n}.jpg" for n in range(10)]
    assert [len(result.image.detections or ()) for result in found] == [1, 0] * 5
    assert found == results(BlobDetector(), images, work())
    assert max(map(len, detector.batches)) == min(batch_size, 10)


def test_a_batch_does_not_depend_on_what_fails(folder: Path, images: ImageList) -> None:
    (folder / "1.jpg").write_bytes(b"")
    (folder / "6.jpg").unlink()
    detector = BlobDetector()
    found = results(detector, images, work(batch_size=4))
    assert detector.batches == [[30, 32, 33], [34, 35, 37], [38, 39]]
    assert failures(found) == {"1.jpg": "empty file", "6.jpg": "no such file"}


def test_a_batch_of_failures_does_not_reach_the_network(
    folder: Path, images: ImageList
) -> None:
    for number in range(4):
        (folder / f"{number}.jpg").unlink()
    detector = BlobDetector()
    results(detector, images, work(batch_size=4))
    assert detector.batches == [[34, 35, 36, 37], [38, 39]]


@pytest.mark.parametrize(
    ("done", "left"),
    [
        (range(0), [0, 1, 2]),
        (range(3), [0, 1, 2]),
        (range(4), [1, 2]),
        (range(8), [2]),
        (range(9), [2]),
        (range(10), []),
        ([0, 1, 3, 4, 5, 6, 7, 8, 9], [0]),
        ([*range(4), 8, 9], [1]),
    ],
)
def test_going_on_gives_whole_batches_of_what_is_missing(
    images: ImageList, done: Iterable[int], left: list[int]
) -> None:
    whole = results(BlobDetector(), images, work(batch_size=4))
    detector = BlobDetector()
    rest = results(detector, images, work(batch_size=4), done=done)
    all_batches = [[30, 31, 32, 33], [34, 35, 36, 37], [38, 39]]
    assert detector.batches == [all_batches[number] for number in left]
    assert rest == [
        result for number in left for result in whole[4 * number : 4 * number + 4]
    ]


def test_an_image_is_digested_on_the_way(images: ImageList, folder: Path) -> None:
    (folder / "1.jpg").write_bytes(b"no image")
    (folder / "2.jpg").unlink()
    first, broken, missing, *_ = results(BlobDetector(), images, work())
    store = LocalStore(folder)
    for name, found in (("0.jpg", first), ("1.jpg", broken)):
        expected = Contents(digest(store.read(name)), store.stamp(name))
        assert found.contents == expected
    assert missing.contents is None


def test_a_network_that_fails_on_an_image_does_not_lose_its_batch(
    images: ImageList,
) -> None:
    detector = BlobDetector(broken=frozenset({33, 36}))
    found = results(detector, images, work(batch_size=5))
    reason = "inference failed: the graph has no such node"
    assert failures(found) == {"3.jpg": reason, "6.jpg": reason}
    assert [len(result.image.detections or ()) for result in found] == [
        *(1, 0, 1, 0, 1),
        *(0, 0, 0, 1, 0),
    ]


def test_images_are_read_from_wherever_they_are(
    images: ImageList, folder: Path
) -> None:
    def load(path: str) -> tuple[bytes, Stamp]:
        if path.endswith("3.jpg"):
            raise ItemError("the store has lost it")
        return load_file(folder / path)

    found = [
        result
        for batch in batches.detect(BlobDetector(), images, work(threads=2), load=load)
        for result in batch
    ]
    assert failures(found) == {"3.jpg": "the store has lost it"}
    assert found[4:] == results(BlobDetector(), images, work(), done=range(4))


def test_a_shape_that_the_engine_cannot_take_is_a_failed_image(
    images: ImageList,
) -> None:
    found = results(BlobDetector(strange=frozenset({31})), images, work(batch_size=2))
    assert failures(found) == {"1.jpg": "cannot be resized: ZeroDivisionError"}


def test_a_detector_that_cannot_go_on_ends_the_run(images: ImageList) -> None:
    detector = BlobDetector(broken=frozenset({34}), error=ModelError)
    with pytest.raises(ModelError, match=r"^the graph has no such node"):
        results(detector, images, work())


def test_what_else_is_said_of_an_image(tmp_path: Path) -> None:
    scene = world.with_blob(world.photograph(40, 30), (10, 5, 30, 25), BLOB)
    path = world.save_jpeg(tmp_path / "a.jpg", scene, orientation=6)
    include = Include(size=True, time=True, tags=frozenset(), max_conf=True)
    with ImageList.of([ImageFile("a.jpg", str(path))]) as images:
        (result,) = results(BlobDetector(), images, work(include=include))
    record = result.image
    assert (record.width, record.height) == (30, 40)
    assert record.datetime is None
    assert record.exif_metadata == {"Orientation": 6}
    assert record.max_detection_conf == 0.5


def test_d1_boxes_are_of_the_upright_image(tmp_path: Path) -> None:
    scene = world.with_blob(world.photograph(40, 20), (0, 0, 20, 5), BLOB)
    path = world.save_jpeg(tmp_path / "a.jpg", scene, quality=98, orientation=6)
    with ImageList.of([ImageFile("a.jpg", str(path))]) as images:
        (result,) = results(BlobDetector(), images, work())
    (box,) = result.image.detections or ()
    # Turned by 90 degrees clockwise, the top left quarter is at the right.
    assert box.bbox.left == pytest.approx(0.75, abs=0.06)
    assert box.bbox.top == pytest.approx(0, abs=0.03)
    assert box.bbox.height == pytest.approx(0.5, abs=0.06)


def test_chosen_tags_and_mapped_categories(images: ImageList) -> None:
    options = work(include=Include(tags=frozenset({"Make"})), category_by_id={"1": "0"})
    first, *_ = results(BlobDetector(), images, options)
    assert first.image.exif_metadata == {}
    assert [box.category for box in first.image.detections or ()] == ["0"]


def test_an_unusual_file_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    world.photograph(30, 20).convert("CMYK").save(path)
    with ImageList.of([ImageFile("a.jpg", str(path))]) as images:
        (result,) = results(BlobDetector(), images, work())
    assert result.note == "CMYK converted to RGB"


def test_d47_the_limit_of_pixels_holds(images: ImageList) -> None:
    found = results(BlobDetector(), images, work(max_pixels=38 * 20))
    assert failures(found) == {
        "9.jpg": "39 x 20 pixels are more than 760 (--max-pixels)"
    }


def test_an_image_with_a_problem_is_not_tried() -> None:
    files = [ImageFile("a%E9", os.fsdecode(b"a\xe9"), "rename it")]
    with ImageList.of(files) as images:
        found = results(BlobDetector(), images, work())
    assert failures(found) == {"a%E9": "rename it"}


def test_images_are_decoded_while_the_network_runs(images: ImageList) -> None:
    prepared = threading.Semaphore(0)

    class Waiting(BlobDetector):
        """A network that is done only when the next batch is decoded."""

        def prepare(self, image: NDArray[np.uint8]) -> Prepared:
            try:
                return super().prepare(image)
            finally:
                prepared.release()

        def detect(
            self, batch: Sequence[Prepared], *, threshold: float
        ) -> list[tuple[Detection, ...]]:
            wanted = 4 if not self.batches else 0  # two batches of two
            for _ in range(wanted):
                assert prepared.acquire(timeout=20)
            return super().detect(batch, threshold=threshold)

    began = time.monotonic()
    found = results(Waiting(), images, work(batch_size=2, threads=2))
    assert len(found) == 10
    assert not failures(found)
    assert time.monotonic() - began < 20
