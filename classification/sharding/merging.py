"""Shards of a step joined into what one run would have written, byte for byte.

Every shard is looked at before anything is written: all N there and complete, of the same
run, and their items, one behind the other, those of the whole run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts import (
    detection_cache,
    detections,
    image_contents,
    predictions,
    predictions_info,
    shard_record,
)
from classification.artifacts.predictions_info import Origin
from classification.runtime import journal, shards
from classification.runtime.errors import ConfigurationError, StorageError
from classification.runtime.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from classification.artifacts.shard_record import Record

_GUIDE = "run them again, each goes on where it was"


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What shards were joined into.

    Attributes:
        path: the file.
        shards: number of shards.
        items: number of items of all.
        failed: how many of them failed.
        sources: the shards' files.
    """

    path: Path
    shards: int
    items: int
    failed: int
    sources: tuple[Path, ...]


def merge(whole: Path, *, of: int | None = None) -> list[Merged]:
    """Joins the shards beside a file, or those in a detection cache.

    Args:
        whole: a detections JSON, a classifier output, or a cache's folder.
        of: how many shards there are; None for what names of files say.

    Returns:
        What was made: one file, or those of a cache, one for each dataset.

    Raises:
        ConfigurationError: there are no shards, some are missing or not complete, or
            they are not of one run.
        ArtifactError: a shard breaks its format.
        StorageError: the file cannot be written.
    """
    if whole.is_dir():
        return _merge_cache(whole)
    of = of or _count(whole.parent, whole.name)
    sources = [Shard(number, of).path(whole) for number in range(1, of + 1)]
    records = _checked(whole, sources)
    if whole.name.endswith(predictions.ENDINGS):
        _join_predictions(whole, sources, records)
    else:
        detections.join(whole, sources)
        _join_images(whole, sources)
    return [_merged(whole, sources, records)]


def _join_predictions(
    whole: Path, sources: Sequence[Path], records: Sequence[Record]
) -> None:
    """Joins classifier outputs; what they are of stands beside them."""
    origins = [predictions_info.find(source) for source in sources]
    for source, origin in zip(sources, origins, strict=True):
        if origin.calibration != origins[0].calibration:
            raise ConfigurationError(
                f"{source} is calibrated otherwise than {sources[0]}"
            )
    predictions.join(whole, sources)
    boxes = [
        predictions_info.unknown_boxes(record.items - record.failed)
        if origin.boxes is None
        else origin.boxes
        for origin, record in zip(origins, records, strict=True)
    ]
    joined = Origin(origins[0].calibration, np.concatenate(boxes))
    predictions_info.tell(whole, joined)


def _join_images(whole: Path, sources: Sequence[Path]) -> None:
    """Joins what stands beside detections; where it is missing of one, nothing is told."""
    found = [image_contents.find(source) for source in sources]
    records = [record for record in found if record is not None]
    if len(records) < len(sources):
        image_contents.remove(whole)
        return
    header = records[0].header
    images = chain.from_iterable(record.images() for record in records)
    image_contents.tell(whole, images, detector=header.detector, run=header.run)


def _merge_cache(cache_dir: Path) -> list[Merged]:
    of = _count(cache_dir, "")
    folders = [cache_dir / Shard(number, of).mark for number in range(1, of + 1)]
    checked = [
        (version, dataset, sources, _checked(cache_dir / version / dataset, sources))
        for version, dataset in _datasets(folders)
        for sources in [[folder / version / dataset for folder in folders]]
    ]
    if not checked:
        raise ConfigurationError(f"the shards in {cache_dir} hold nothing to merge")
    return [
        _merged(_fill(cache_dir, version, dataset, sources), sources, records)
        for version, dataset, sources, records in checked
    ]


def _datasets(folders: Sequence[Path]) -> list[tuple[str, str]]:
    """Returns the folder and file name of each dataset that a shard's cache has."""
    records = {
        (path.parent.name, path.name.removesuffix(shard_record.SUFFIX))
        for folder in folders
        for path in folder.glob(f"v*/*{shard_record.SUFFIX}")
    }
    return sorted(records)


def _fill(cache_dir: Path, version: str, dataset: str, sources: Sequence[Path]) -> Path:
    files = [detections.open_file(source) for source in sources]
    found = [image_contents.find(source) for source in sources]
    records = [record for record in found if record is not None]
    merged = detection_cache.merge(
        cache_dir,
        version.removeprefix("v"),
        dataset.removesuffix(".json"),
        files[0].header,
        (document for file in files for document in file.documents()),
        images=chain.from_iterable(record.images() for record in records),
        detector=records[0].header.detector if records else "",
    )
    return merged.path


def _count(folder: Path, whole: str) -> int:
    """Returns how many shards there are to be, as the names of those that are say."""
    shown = folder / whole
    try:
        names = sorted((path.name for path in folder.iterdir()), reverse=True)
    except OSError as error:
        raise StorageError(f"cannot list {folder}: {error.strerror}") from error
    found = {
        numbers[1]: name
        for name in names
        if (numbers := shards.numbers_of(name, whole))
    }
    if not found:
        raise ConfigurationError(f"no shards of {shown}; --shard I/N writes them")
    if len(found) > 1:
        first, second, *_ = sorted(found.values())
        raise ConfigurationError(
            f"{first} and {second} are of different numbers of shards; remove those "
            "of one"
        )
    return next(iter(found))


def _checked(whole: Path, sources: Sequence[Path]) -> list[Record]:
    """Sees that all shards are there and make up one run; returns their records."""
    records, missing, incomplete = [], [], []
    for number, source in enumerate(sources, 1):
        if not source.exists():
            missing.append(number)
        elif (record := shard_record.find(source)) is None:
            incomplete.append(number)
        else:
            records.append(record)
    if missing or incomplete:
        said = [f"{_listed(missing)} missing"] if missing else []
        said += [f"{_listed(incomplete)} not complete"] if incomplete else []
        raise ConfigurationError(
            f"of {len(sources)} shards of {whole}, {', '.join(said)}; {_GUIDE}"
        )
    _refuse_strangers(sources, records)
    return records


def _listed(numbers: Iterable[int]) -> str:
    """Returns numbers as people write them: ``2, 5-7``."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ", ".join(
        f"{first}-{last}" if last > first else f"{first}" for first, last in runs
    )


def _refuse_strangers(sources: Sequence[Path], records: Sequence[Record]) -> None:
    first, done = records[0], 0
    for number, (source, record) in enumerate(zip(sources, records, strict=True), 1):
        if (record.shard, record.of) != (number, len(sources)):
            raise ConfigurationError(
                f"{source} is shard {record.shard}/{record.of}, not what its name says"
            )
        if (record.step, record.run, record.total) != (
            first.step,
            first.run,
            first.total,
        ):
            differences = journal.differences(first.run, record.run)
            raise ConfigurationError(
                f"{source} is of other {differences or 'inputs'} than {sources[0]}"
            )
        if record.first != done:
            raise ConfigurationError(
                f"{source} begins at item {record.first}, the shard before ends at {done}"
            )
        done += record.items
    if done != first.total:
        raise ConfigurationError(
            f"{sources[-1]} ends at item {done} of {first.total}: a shard is too short"
        )


def _merged(path: Path, sources: Sequence[Path], records: Sequence[Record]) -> Merged:
    return Merged(
        path=path,
        shards=len(sources),
        items=sum(record.items for record in records),
        failed=sum(record.failed for record in records),
        sources=tuple(sources),
    )


def remove(sources: Iterable[Path]) -> None:
    """Removes the shards' files, with what stands beside them, journals included.

    Raises:
        StorageError: one cannot be removed.
    """
    for path in _files_of(sources):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot remove {path}: {error.strerror}") from error


def _files_of(sources: Iterable[Path]) -> Iterator[Path]:
    """Yields the record first: without it, a shard is not taken to be complete."""
    for source in sources:
        yield shard_record.path_beside(source)
        yield predictions_info.path_beside(source)
        yield image_contents.path_beside(source)
        yield source
        yield from source.parent.glob(f"{_literal(source.name)}*.journal")


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
