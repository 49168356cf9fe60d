"""What a detection cache lacks, divided among shards; each fills a cache of its own.

The cache itself stays as it is while shards run, so that all of them see the same gaps. A
shard's cache is a folder in it, ``shard-003-of-010``, in which each dataset that has gaps
has a file, even one of no images; ``merging`` puts them into the cache when all are there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from classification.artifacts import detection_cache
from classification.runtime import journal, shards
from classification.runtime.errors import StorageError
from classification.runtime.name_set import NameSet
from classification.sharding.parts import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Protocol

    from classification.runtime.shards import Shard

    class Boxes(Protocol):
        """What is known of a dataset's images."""

        @property
        def detected(self) -> NameSet:
            """Returns the images that the detector did not fail on."""
            ...


STEP = "detect_and_crop"


def cache_of(cache_dir: Path, shard: Shard | None) -> Path:
    """Returns the cache that a shard fills; without a shard, the cache itself."""
    return cache_dir / shard.mark if shard else cache_dir


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """The images without boxes that are a shard's, or all, where there is no shard.

    Attributes:
        shard: which.
        files_by_dataset: its images, as they are called below the dataset's folder.
        part_by_dataset: what these are of the whole run; empty where none detects.
    """

    shard: Shard | None
    files_by_dataset: Mapping[str, Sequence[str]]
    part_by_dataset: Mapping[str, Part] = field(default_factory=dict)

    @property
    def part_of_run(self) -> tuple[str, ...]:
        """Returns what tells a shard from others; nothing where there is no shard."""
        if self.shard is None:
            return ()
        return tuple(part.key for part in self.part_by_dataset.values())

    def begin(
        self, *, restart: bool, is_current: Callable[[str, Path], bool]
    ) -> dict[str, Sequence[str]]:
        """Returns the images that are to be detected, by dataset.

        Datasets that a shard has completed are left out; what is left of another run in
        the place of the others is taken away.

        Args:
            restart: detect all.
            is_current: says of a dataset and its file whether the images are those that
                the file's boxes are of.

        Raises:
            StorageError: it cannot be taken away.
        """
        todo = {
            dataset: files
            for dataset, files in self.files_by_dataset.items()
            if restart
            or not self.part_by_dataset[dataset].is_done()
            or not is_current(dataset, self.part_by_dataset[dataset].output)
        }
        if self.shard is not None:
            for dataset in todo:
                _remove(self.part_by_dataset[dataset].output)
        return todo

    def wanted(self, undrawn: Mapping[str, NameSet]) -> dict[str, NameSet]:
        """Returns the images to look up in the cache that was filled, by dataset.

        Args:
            undrawn: of each dataset, its images without drawn boxes.
        """
        if self.shard is None:
            return {dataset: undrawn[dataset] for dataset in self.files_by_dataset}
        return {
            dataset: NameSet(files) for dataset, files in self.files_by_dataset.items()
        }

    def left(self, boxes_by_dataset: Mapping[str, Boxes]) -> list[str]:
        """Returns the images that still have no boxes, with their dataset's name."""
        return [
            f"{dataset}/{file}"
            for dataset, files in self.files_by_dataset.items()
            for file in files
            if file not in boxes_by_dataset[dataset].detected
        ]

    def complete(self, found_by_dataset: Mapping[str, Boxes]) -> None:
        """Says beside each file of a shard's cache that it is complete.

        Args:
            found_by_dataset: what the files hold.
        """
        for dataset, part in self.part_by_dataset.items():
            detected = found_by_dataset[dataset].detected
            part.complete(len(part.span) - len(detected))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot remove {path}: {error.strerror}") from error


def divide(  # noqa: PLR0913 - what shapes a run
    undetected: Mapping[str, Sequence[str]],
    shard: Shard | None,
    *,
    batch_size: int = 1,
    shaping: Sequence[object] = (),
    cache_dir: Path | None = None,
    detector_version: str = "",
) -> Gaps:
    """Divides the gaps of a cache; a shard's may be of several datasets.

    Args:
        undetected: images without boxes, by dataset, sorted.
        shard: whose part is wanted; None for all.
        batch_size: a batch of so many images of a dataset is not divided.
        shaping: what shapes the result beside the images, for a digest.
        cache_dir: the cache that is filled (see ``cache_of``); None to fill none.
        detector_version: names a folder in it.
    """
    spans = _spans(undetected, shard, batch_size)
    parts = {
        dataset: Part(
            shard=shard,
            step=STEP,
            run=journal.digest([*shaping, dataset, *files]) if shard else "",
            output=detection_cache.path_of(cache_dir, detector_version, dataset),
            span=spans[dataset],
            total=len(files),
        )
        for dataset, files in undetected.items()
        if cache_dir is not None
    }
    own = {
        dataset: files[spans[dataset].start : spans[dataset].stop]
        for dataset, files in undetected.items()
    }
    return Gaps(shard=shard, files_by_dataset=own, part_by_dataset=parts)


def _spans(
    files_by_dataset: Mapping[str, Sequence[str]], shard: Shard | None, batch_size: int
) -> dict[str, range]:
    """Returns the positions of a shard's images in each dataset.

    Batches are counted through all datasets, so that many small ones are shared out, too.
    """
    batches = {
        dataset: -(-len(files) // batch_size)
        for dataset, files in files_by_dataset.items()
    }
    whole = shards.span_of(shard, sum(batches.values()))
    spans, before = {}, 0
    for dataset, count in batches.items():
        size = len(files_by_dataset[dataset])
        first, last = (
            min(size, min(max(end - before, 0), count) * batch_size)
            for end in (whole.start, whole.stop)
        )
        spans[dataset] = range(first, last)
        before += count
    return spans
