r"""``<cache>/v<version>/<dataset>.json``: what a detector found in each dataset.

Written by ``cache_batchapi_outputs`` and ``detect_and_crop``; read by
``detect_and_crop``, ``create_classification_dataset`` and
``merge_classification_detection_output``. One detections JSON (see
``detections.json``) per dataset and version of the detector::

    mdcache/v4.1/caltech.json

    {
     "info": {"format_version": "1.6", "detector": "megadetector_v4.1"},
     "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
     "classification_categories": {},
     "images": [
      {"file": "cct_images/a.jpg", "detections": []}
     ]
    }

``file`` is the path below the dataset's folder: without the dataset's name, which is the
file's. Images are sorted by file and stand once. An image that failed is in it, too,
until a later run succeeds: whoever asks for boxes must expect ``detections: null``. Ids
of categories may differ from one dataset's file to the next; their names count.

What the original wrote is read: a name with ``\`` is taken with ``/``, and the folder of
a version may be ``v5a.0.0.pt`` where the version is ``5a.0.0``, since the original took
the model's file ending for a part of it. Such a folder stays in use where it has a file
of the dataset. A dataset is found whatever the case of its name.

Beside the file, ``<dataset>.json.images.jsonl.gz`` tells which image each answer is of, and
which detector's (see ``image_contents``), as far as it is known. An answer gives way to one
of another image of its name; answers of another detector of the same name are not put in.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from heapq import merge as merge_sorted
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec

from classification.artifacts import detections, image_contents, layout
from classification.artifacts.detections import Header
from classification.runtime import atomic, locking, scratch
from classification.runtime.contents import Contents
from classification.runtime.errors import ArtifactError, ConfigurationError
from classification.runtime.name_set import NameSet
from classification.runtime.sorting import sort_records
from detection.combining import Fate, Result, align, combine
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from classification.artifacts.detections import DetectionsFile
    from classification.artifacts.image_contents import Record
    from detection.combining import Combined

_DETECTOR, _NO_DETECTOR = "detector", "unknown"
_VERSION = "format_version"
# What the original took for the end of a version, of md_v5a.0.0.pt or md_v4.1.0.pb.
_HISTORIC_ENDINGS = ("", ".pt", ".pb", ".0", ".0.pt", ".0.pb")
_LINE = msgspec.json.Decoder(tuple[str, Contents])
_name = itemgetter(0)
_NOTHING = Header(detection_categories={}, info={})


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """How the names in a file become names below the dataset's folder.

    Attributes:
        remove_prefix: what each name begins with, and loses; may be empty.
        add_prefix: what is put before each name instead; may be empty.
        skip_others: leave out images that do not begin with ``remove_prefix``.
    """

    remove_prefix: str = ""
    add_prefix: str = ""
    skip_others: bool = False

    def __call__(self, name: str) -> str | None:
        """Spells a name, or leaves it out; of the two kinds of slashes, both are taken.

        Raises:
            ArtifactError: it does not begin with the prefix, and is not left out.
        """
        name = detections.with_slashes(name)
        if not (self.remove_prefix or self.add_prefix):
            return name
        prefix = detections.with_slashes(self.remove_prefix)
        if not name.startswith(prefix):
            if self.skip_others:
                return None
            raise ArtifactError(f"{name!r} does not begin with {prefix!r}")
        return detections.with_slashes(self.add_prefix) + name[len(prefix) :]


@dataclass
class Merged:
    """What became of the images of a run that was put into the cache.

    Attributes:
        path: the file of the cache.
        images: number of images in it now.
        added: images that it did not have.
        replaced: images that it has another result of now.
        kept: images that it had, and of which it kept what it had.
        repeated: results of the run beyond the first of their image.
        failures: (image, reason) of each image of the run that no run has boxes of.
        notes: (what, remark) of what was changed or left out on the way in.
        new_images: those of which it has the run's result.
    """

    path: Path
    images: int = 0
    added: int = 0
    replaced: int = 0
    kept: int = 0
    repeated: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    new_images: NameSet = field(default_factory=NameSet, repr=False)

    def take(self, combined: Combined) -> bytes:
        """Counts an image; returns the JSON text to write."""
        result, fate, repeated = combined
        self.images += 1
        self.added += fate is Fate.ADDED
        self.replaced += fate is Fate.REPLACED
        self.kept += fate is Fate.KEPT
        self.repeated += repeated
        if result.is_new:
            self.new_images.add(result.file)
        if result.failed and fate is not Fate.UNTOUCHED:
            reason = detections.failure_of(result.document)
            self.failures.append((result.file, reason))
        return result.document


def path_of(cache_dir: Path, detector_version: str, dataset: str) -> Path:
    """Returns where the detections of a dataset are, or would be.

    Raises:
        ArtifactError: the version or the dataset's name leads out of the folder.
    """
    for part in (detector_version, dataset):
        layout.checked_dataset(part, where=str(cache_dir))
    folders = [cache_dir / f"v{detector_version}{end}" for end in _HISTORIC_ENDINGS]
    found = (_find_in(folder, dataset) for folder in folders)
    return next(filter(None, found), folders[0] / f"{dataset}.json")


def _find_in(folder: Path, dataset: str) -> Path | None:
    path = folder / f"{dataset}.json"
    if path.exists():
        return path
    files = sorted(folder.glob("*.json"))
    return next((file for file in files if normal(file.stem) == normal(dataset)), None)


def versions(cache_dir: Path) -> list[str]:
    """Returns the versions that the cache has a folder of, sorted."""
    return sorted(path.name[1:] for path in cache_dir.glob("v*") if path.is_dir())


def has_version(cache_dir: Path, detector_version: str) -> bool:
    """Says whether the cache has a folder of a version, however it is spelled."""
    spellings = {f"{detector_version}{end}" for end in _HISTORIC_ENDINGS}
    return not spellings.isdisjoint(versions(cache_dir))


def find(cache_dir: Path, detector_version: str, dataset: str) -> DetectionsFile | None:
    """Checks the detections of a dataset; returns None where there are none.

    Raises:
        ArtifactError: they break the format.
    """
    path = path_of(cache_dir, detector_version, dataset)
    return open_path(path) if path.exists() else None


def open_path(path: Path) -> DetectionsFile:
    """Checks a file of the cache, wherever it lies, and returns it ready to be read.

    Raises:
        ArtifactError: it breaks the format.
    """
    return detections.open_file(path, rename=Spelling())


def open_file(cache_dir: Path, detector_version: str, dataset: str) -> DetectionsFile:
    """Checks the detections of a dataset, and returns them ready to be read.

    Raises:
        ArtifactError: there are none, or they break the format.
    """
    if file := find(cache_dir, detector_version, dataset):
        return file
    raise ArtifactError(
        "no such file; cache_batchapi_outputs writes it from the dataset's detections",
        where=str(path_of(cache_dir, detector_version, dataset)),
    )


def write(
    cache_dir: Path,
    detector_version: str,
    dataset: str,
    header: Header,
    images: Iterable[bytes],
) -> Path:
    """Writes the detections of a dataset, streaming; returns where.

    Args:
        cache_dir: the cache.
        detector_version: such as ``4.1``.
        dataset: name of the dataset.
        header: all but the images.
        images: the JSON text of each image, sorted by file.
    """
    path = path_of(cache_dir, detector_version, dataset)
    _write(path, header, images)
    return path


def _write(path: Path, header: Header, images: Iterable[bytes]) -> str:
    classes = header.classification_categories or {}
    complete = Header(
        info=header.info,
        detection_categories=header.detection_categories,
        classification_categories=classes,
    )
    return detections.write(path, complete, images)


def merge(  # noqa: PLR0913 - three of them name the file
    cache_dir: Path,
    detector_version: str,
    dataset: str,
    header: Header,
    documents: Iterable[bytes],
    *,
    newer_wins: bool = False,
    images: Iterable[tuple[str, Contents | None]] = (),
    detector: str = "",
) -> Merged:
    """Puts what a run found into the cache; what is there already stays.

    What is of another image of the same name gives way in any case. A failed image never takes the place of one that was detected, and gives way to it.
    Categories are the same where their names are: the run's get the ids of the cache.
    No other run can change the file meanwhile; it is replaced as a whole.

    Args:
        cache_dir: the cache.
        detector_version: such as ``4.1``.
        dataset: name of the dataset.
        header: all of the run but its images.
        documents: the JSON text of each image of the run, in any order, as the format
            says, with names below the dataset's folder; streamed, read once.
        newer_wins: where both have boxes of an image, take the run's.
        images: what the images of the run were, in any order, as far as it is known.
        detector: digest of the detector's files; empty where it is not known.

    Raises:
        ArtifactError: what the cache holds breaks the format.
        ConfigurationError: it holds boxes of another detector; see ``check_detector``.
        StorageError: another run is writing the file, or it cannot be written.
    """
    path = path_of(cache_dir, detector_version, dataset)
    with locking.exclusive(path), ExitStack() as files:
        cached = None
        if path.exists():
            cached = detections.open_file(path, rename=Spelling(), may_repeat=True)
        known = image_contents.find(path)
        _refuse_other(path, known, detector)
        contents = _Contents(known, images, files)
        merged = Merged(path)
        joined = _join(cached.header if cached else _NOTHING, header, merged)
        superseded = contents.superseded()
        older = (
            result
            for result in (_cached_results(cached) if cached else ())
            if result.file not in superseded
        )
        newer = _new_results(joined, documents)
        combined = combine(older, newer, newer_wins=newer_wins)
        with atomic.together():  # a kill parts them by hardly any chance
            sha256 = _write(path, joined.header, map(merged.take, combined))
            contents.tell(path, merged, detector, sha256)
    return merged


def check_detector(path: Path, detector: str) -> bool:
    """See that a file of the cache does not come to hold boxes of two detectors.

    Args:
        path: the file; it need not exist.
        detector: digest of the files of the detector whose boxes are to be added, or
            used.

    Returns:
        Whether it is known which detector, and which images, its boxes are of.

    Raises:
        ConfigurationError: they are of another detector.
    """
    known = image_contents.find(path)
    _refuse_other(path, known, detector)
    return known is not None


def _refuse_other(path: Path, known: Record | None, detector: str) -> None:
    if known and detector and known.header.detector not in {"", detector}:
        raise ConfigurationError(
            f"{path} holds boxes of another detector of this name (its file has changed); "
            "another --detector-version keeps the two apart, or move the file away"
        )


class _Contents:
    """What the images of a cache and those of a run were, both sorted by name."""

    def __init__(
        self,
        known: Record | None,
        images: Iterable[tuple[str, Contents | None]],
        files: ExitStack,
    ) -> None:
        """Write down those of the run.

        Args:
            known: of the cache.
            images: of the run.
            files: closes the file that holds them.
        """
        self._known = known
        lines = (
            (name, msgspec.json.encode((name, contents)))
            for name, contents in images
            if contents is not None
        )
        texts = (text + b"\n" for _, text in sort_records(lines))
        self._new = files.enter_context(scratch.write_down(texts))

    def superseded(self) -> NameSet:
        """Return the images that were others when the cache's answers were given."""
        old, new = self._older(), self._newer()
        return NameSet(
            name
            for name, both in groupby(merge_sorted(old, new, key=_name), key=_name)
            if len({contents.digest for _, contents in both}) > 1
        )

    def tell(self, path: Path, merged: Merged, detector: str, sha256: str) -> None:
        """Write the record beside the file, each image as that of its answer."""
        before = self._known.header.detector if self._known else ""
        is_new = merged.new_images
        if not (self._known or detector or any(True for _ in self._newer())):
            image_contents.remove(path)
        else:
            old = ((n, c) for n, c in self._older() if n not in is_new)
            new = ((n, c) for n, c in self._newer() if n in is_new)
            both = merge_sorted(old, new, key=_name)
            image_contents.tell(path, both, detector=before or detector, sha256=sha256)

    def _older(self) -> Iterator[tuple[str, Contents]]:
        return self._known.images() if self._known else iter(())

    def _newer(self) -> Iterator[tuple[str, Contents]]:
        self._new.seek(0)
        return map(_LINE.decode, self._new)


def _cached_results(file: DetectionsFile) -> Iterator[Result]:
    documents = file.documents()
    if not file.is_sorted:
        documents = _sort(documents)
    for name, failed, document in detections.outcomes(documents):
        yield Result(name, failed, document)


def _new_results(joined: _Joined, documents: Iterable[bytes]) -> Iterator[Result]:
    for name, failed, document in detections.outcomes(_sort(documents)):
        text = joined.renumber(document) if joined.moves else document
        yield Result(name, failed, text, is_new=True)


def _sort(documents: Iterable[bytes]) -> Iterator[bytes]:
    named = ((name, text) for name, _, text in detections.outcomes(documents))
    return (text for _, text in sort_records(named))


@dataclass(frozen=True)
class _Joined:
    """The header of both, and the ids that categories of the run have in it."""

    header: Header
    id_by_category: Mapping[str, str]
    id_by_class: Mapping[str, str]

    @cached_property
    def moves(self) -> bool:
        """Says whether a category of the run has another id in the cache."""
        maps = (self.id_by_category, self.id_by_class)
        return any(old != new for ids in maps for old, new in ids.items())

    def renumber(self, document: bytes) -> bytes:
        """Returns an image of the run with the ids of the cache."""
        return detections.renumber(document, self.id_by_category, self.id_by_class)


def _join(cached: Header, new: Header, merged: Merged) -> _Joined:
    """Joins the headers, and notes what changes of the run's."""
    categories, id_by_category = align(
        cached.detection_categories, new.detection_categories
    )
    classes, id_by_class = align(
        cached.classification_categories or {}, new.classification_categories or {}
    )
    merged.notes += _say_moved("detection_categories", categories, id_by_category)
    merged.notes += _say_moved("classification_categories", classes, id_by_class)
    left_out = sorted({*cached.other, *new.other})
    merged.notes += [(key, "left out: a cache has no such key") for key in left_out]
    names = (cached.detector, new.detector)
    if len({*names, _NO_DETECTOR}) > len(names):
        remark = f"{new.detector!r} is put under {cached.detector!r}, as the cache says"
        merged.notes.append(("info.detector", remark))
    header = Header(
        info=_join_info(cached.info, new.info),
        detection_categories=categories,
        classification_categories=classes,
    )
    return _Joined(header, id_by_category, id_by_class)


def _say_moved(
    key: str, name_by_id: Mapping[str, str], id_by_new_id: Mapping[str, str]
) -> list[tuple[str, str]]:
    return [
        (f"{key}.{new_id}", f"{name_by_id[id_]!r} has the id {id_} in the cache")
        for new_id, id_ in id_by_new_id.items()
        if new_id != id_
    ]


def _join_info(cached: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Adds what the cache does not say; the format's version is the higher one."""
    stated = [str(info[_VERSION]) for info in (cached, new) if _VERSION in info]
    highest = max(stated, key=_to_numbers, default=detections.FORMAT_VERSION)
    added = {key: value for key, value in new.items() if key not in cached}
    info = {_VERSION: highest, **cached, **added} | {_VERSION: highest}
    if info.get(_DETECTOR) == _NO_DETECTOR and _DETECTOR in new:
        info[_DETECTOR] = new[_DETECTOR]
    return info


def _to_numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d{1,18}", version)]


def join_headers(
    files: Sequence[DetectionsFile],
) -> tuple[Header, list[dict[str, str]]]:
    """Brings the categories of several datasets together, by their names.

    Returns:
        The header of the first file with the categories of all, and for each file the
        id among these by its own id; for ``detections.renumber``.

    Raises:
        ArtifactError: two files are of different detectors.
    """
    first = files[0]
    names: dict[str, str] = {}
    ids: list[dict[str, str]] = []
    for file in files:
        if file.header.detector != first.header.detector:
            raise ArtifactError(
                f"{file.header.detector!r}, but {first.path} is of "
                f"{first.header.detector!r}",
                where=f"{file.path}: info.detector",
            )
        names, id_by_own_id = align(names, file.header.detection_categories)
        ids.append(id_by_own_id)
    return replace(first.header, detection_categories=names), ids
