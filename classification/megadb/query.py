"""Finds the images of a metadata store whose only label is a wanted one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from classification.artifacts import layout
from classification.artifacts.location_counts import LocationCount
from classification.artifacts.queried_images import QueriedBox, QueriedImage
from classification.megadb.reading import arrow_batches, reading
from classification.runtime.errors import ArtifactError
from taxonomy.graph import DatasetLabel, normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from classification.megadb.reading import MetadataStore

NONE = -1
_COUNT_ROWS = 100_000

_Boxes: TypeAlias = tuple[QueriedBox, ...] | None

_EXTENSIONS = "|".join(sorted(suffix[1:] for suffix in layout.IMAGE_EXTENSIONS))
# As ``layout.is_image_name``: a name that is nothing but an extension is no image.
_IMAGE_NAME = rf"[^/]\.({_EXTENSIONS})$"

# What every name that ``layout.checked_name`` refuses shows; a harmless one may, too.
_SUSPICIOUS = r"^$|^/|/$|^[A-Za-z]:|\.\.|\\|\x00"

# The tables ``wanted`` and ``corrected`` are those of the dataset at hand.
_FIND = """
CREATE OR REPLACE TABLE found AS
SELECT row, kind, coalesce(location, '') AS location,
       regexp_matches(file, $image_name, 'i') AS is_image
FROM (
    SELECT image.file_row_number AS row, image.file, image.location,
           CASE WHEN corrected.file IS NOT NULL THEN corrected.label
                WHEN len(image.labels) = 1 THEN image.labels[1] END AS label
    FROM read_parquet($table, file_row_number = true) AS image
    LEFT JOIN corrected ON corrected.file = image.file
) JOIN wanted USING (label)
"""
_PLACES = """
CREATE OR REPLACE TABLE places AS
SELECT location, row_number() OVER (ORDER BY location) - 1 AS number
FROM (SELECT DISTINCT location FROM found)
"""
_FOUND = """
SELECT row, kind, number, is_image FROM found JOIN places USING (location)
"""
_SEVERAL = """
SELECT count(*) FROM read_parquet($table) AS image
ANTI JOIN corrected ON corrected.file = image.file
WHERE len(labels) > 1 AND list_has_any(labels, (SELECT list(label) FROM wanted))
"""
_CORRECTED = """
SELECT count(*),
       count(*) FILTER (before AND NOT after),
       count(*) FILTER (after AND NOT before),
       count(*) FILTER (before AND after AND image.labels[1] <> corrected.label)
FROM (
    SELECT file, labels,
           len(labels) = 1 AND labels[1] IN (SELECT label FROM wanted) AS before
    FROM read_parquet($table)
) AS image JOIN (
    SELECT *, label IN (SELECT label FROM wanted) AS after FROM corrected
) AS corrected USING (file)
"""


class Corrections(msgspec.Struct, frozen=True):
    """What corrections of a dataset's labels did.

    Attributes:
        unknown: corrections of images that the dataset does not have.
        removed: images that would be wanted without them.
        added: images that are wanted because of them.
        relabelled: images that are wanted with and without them, as something else.
    """

    unknown: int
    removed: int
    added: int
    relabelled: int


@dataclass(frozen=True, slots=True)
class Candidates:
    """The images of a store, by place, and which of them have a wanted label.

    Attributes:
        pairs: what a kind is: the wanted labels of the store's datasets, sorted.
        kind: position in ``pairs`` for each image, or ``NONE``, int32 [images].
        location: position in ``locations`` for each image with a kind, int32 [images].
        is_image: whether its file is named as images are, for each image with a kind,
            bool [images].
        locations: (number of the dataset, name) of each; an empty name where it is not
            known. Table of ``dataset`` and ``location``, sorted.
        several: images that have a wanted label and others, and so are not wanted.
        corrections: what corrections did, by dataset.
    """

    pairs: tuple[DatasetLabel, ...]
    kind: NDArray[np.int32]
    location: NDArray[np.int32]
    is_image: NDArray[np.bool_]
    locations: pa.Table
    several: int
    corrections: Mapping[str, Corrections]

    @property
    def images(self) -> NDArray[np.bool_]:
        """Returns which images have a kind, and files named as images are, [images]."""
        return np.asarray((self.kind != NONE) & self.is_image, np.bool_)

    def count(self) -> dict[DatasetLabel, int]:
        """Counts these by what their kind is."""
        counts = np.bincount(self.kind[self.images], minlength=len(self.pairs))
        return dict(zip(self.pairs, counts.tolist(), strict=True))


def find(
    store: MetadataStore,
    pairs: Iterable[DatasetLabel],
    class_by_dataset: Mapping[str, Mapping[str, str]],
) -> Candidates:
    """Finds the images whose only label is one of ``pairs``.

    Args:
        store: where to look.
        pairs: wanted dataset labels; those of datasets it lacks are passed over.
        class_by_dataset: for datasets of the store, the right label of each file that
            has a wrong one; an empty text makes the image unwanted. It replaces all
            labels that the image has.
    """
    kinds = [
        pair for pair in sorted(pairs) if store.number_of(pair.dataset) is not None
    ]
    search = _Search(store, tuple(kinds))
    for dataset in store.datasets:
        search.look_into(dataset, class_by_dataset.get(dataset, {}))
    return search.result()


def queried_images(
    store: MetadataStore,
    candidates: Candidates,
    labels: Sequence[tuple[str, ...]],
    taken: NDArray[np.bool_],
) -> Iterator[tuple[str, QueriedImage]]:
    """Yields the taken images by their full names, in the order of the names.

    Args:
        store: where they are.
        candidates: what ``find`` returned.
        labels: what the classifier calls each kind.
        taken: of all images, [images]; each has a kind.

    Raises:
        ArtifactError: a table is not sorted, or holds what no image table may.
    """
    for dataset in store.datasets:
        path = store.path_of(dataset)
        start = store.full_name(dataset, "") + "/"
        last = ""
        columns = ["file", "location", "boxes"]
        for places, (files, locations, boxes) in store.batches(dataset, columns, taken):
            names = _checked_files(files, last, path)
            last = names[-1]
            rows = zip(
                names,
                locations.to_pylist(),
                _checked_boxes(boxes, names, path),
                candidates.kind[places].tolist(),
                strict=True,
            )
            for file, location, drawn, kind in rows:
                yield (
                    start + file,
                    QueriedImage(
                        dataset=dataset,
                        location=location or None,
                        dataset_label=candidates.pairs[kind].label,
                        boxes=drawn,
                        labels=labels[kind],
                    ),
                )


def count_locations(
    candidates: Candidates,
    labels: Sequence[tuple[str, ...]],
    taken: NDArray[np.bool_],
) -> Iterator[LocationCount]:
    """Counts the taken images of each label and location, sorted by these.

    Args:
        candidates: what ``find`` returned.
        labels: what the classifier calls each kind.
        taken: of all images, [images]; each has a kind.
    """
    size = max(1, candidates.locations.num_rows)
    places = candidates.kind[taken].astype(np.int64) * size + candidates.location[taken]
    pairs, images = np.unique(places, return_counts=True)
    kinds, locations = np.divmod(pairs, size)
    for label in sorted({label for names in labels for label in names}):
        own = [kind for kind, names in enumerate(labels) if label in names]
        chosen = np.isin(kinds, own)
        found, positions = np.unique(locations[chosen], return_inverse=True)
        totals = np.bincount(positions, images[chosen], len(found)).astype(np.int64)
        for start in range(0, len(found), _COUNT_ROWS):
            rows = slice(start, start + _COUNT_ROWS)
            named = candidates.locations.take(found[rows])
            for dataset, location, count in zip(
                *(column.to_pylist() for column in named.columns),
                totals[rows].tolist(),
                strict=True,
            ):
                yield LocationCount(label, dataset, location, count)


def _checked_files(files: pa.Array, last: str, path: Path) -> list[str]:
    """Returns the files of a batch, of which the one before it was ``last``."""
    import pyarrow.compute as pc  # noqa: PLC0415 - takes a moment, and --help needs none of it

    where = f"{path}: column file"
    if files.null_count:
        raise ArtifactError("an image without a file", where=where)
    suspicious = pc.match_substring_regex(files, _SUSPICIOUS)
    for file in files.filter(suspicious).to_pylist():
        layout.checked_name(file, where=where)
    names: list[str] = files.to_pylist()
    for one, other in pairwise(chain([last], names)):
        if other <= one:
            raise ArtifactError(
                f"{other!r} stands after {one!r}; a table is sorted by file, each once; "
                "import_metadata writes it anew",
                where=where,
            )
    return names


def _checked_boxes(boxes: pa.Array, files: Sequence[str], path: Path) -> list[_Boxes]:
    rows = boxes.to_pylist()
    try:
        return msgspec.convert(rows, list[_Boxes])
    except msgspec.ValidationError:
        return [
            _checked_box(row, file, path) for row, file in zip(rows, files, strict=True)
        ]


def _checked_box(boxes: object, file: str, path: Path) -> _Boxes:
    try:
        checked: _Boxes = msgspec.convert(boxes, _Boxes)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        where = f"{path}: {file}: boxes{place.rstrip('`')}"
        raise ArtifactError(reason, where=where) from error
    return checked


class _Search:
    """What was found so far."""

    def __init__(self, store: MetadataStore, pairs: tuple[DatasetLabel, ...]) -> None:
        images = int(store.first[-1])
        self._store = store
        self._pairs = pairs
        self._kind = np.full(images, NONE, np.int32)
        self._location = np.full(images, NONE, np.int32)
        self._is_image = np.zeros(images, np.bool_)
        self._places: list[pa.Table] = []
        self._several = 0
        self._corrections: dict[str, Corrections] = {}

    def look_into(self, dataset: str, class_by_file: Mapping[str, str]) -> None:
        """Finds the wanted images of one dataset."""
        kind_by_label = {
            pair.label: kind
            for kind, pair in enumerate(self._pairs)
            if pair.dataset == normal(dataset)
        }
        if not kind_by_label:
            return
        store = self._store
        _stage(store, kind_by_label, class_by_file)
        if class_by_file:
            [(known, *changes)] = store.rows(dataset, _CORRECTED)
            self._corrections[dataset] = Corrections(
                len(class_by_file) - known, *changes
            )
        [(several,)] = store.rows(dataset, _SEVERAL)
        self._several += several
        store.rows(dataset, _FIND, image_name=_IMAGE_NAME)
        store.connection.execute(_PLACES)
        self._note_found(dataset)

    def result(self) -> Candidates:
        """Returns everything."""
        import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it

        return Candidates(
            pairs=self._pairs,
            kind=self._kind,
            location=self._location,
            is_image=self._is_image,
            locations=pa.concat_tables(
                [_locations_schema().empty_table(), *self._places]
            ),
            several=self._several,
            corrections=self._corrections,
        )

    def _note_found(self, dataset: str) -> None:
        """Takes over what is in the tables ``found`` and ``places``."""
        import pyarrow as pa  # noqa: PLC0415 - as above

        first = int(self._store.first[self._store.datasets.index(dataset)])
        offset = sum(table.num_rows for table in self._places)
        connection = self._store.connection
        with reading(self._store.path_of(dataset)):
            for batch in arrow_batches(connection, _FOUND):
                rows, kinds, numbers, named = (
                    column.to_numpy(zero_copy_only=False) for column in batch.columns
                )
                places = rows + first
                self._kind[places] = kinds
                self._location[places] = numbers + offset
                self._is_image[places] = named
            query = "SELECT ? AS dataset, location FROM places ORDER BY number"
            self._places.append(
                pa.Table.from_batches(
                    arrow_batches(connection, query, [dataset]), _locations_schema()
                )
            )


def _locations_schema() -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415 - as above

    return pa.schema([("dataset", pa.string()), ("location", pa.string())])


def _stage(
    store: MetadataStore,
    kind_by_label: Mapping[str, int],
    class_by_file: Mapping[str, str],
) -> None:
    """Makes the tables ``wanted`` and ``corrected`` of one dataset."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    wanted = pa.table(
        {
            "label": pa.array(kind_by_label, pa.string()),
            "kind": pa.array(kind_by_label.values(), pa.int32()),
        }
    )
    corrected = pa.table(
        {
            "file": pa.array(class_by_file, pa.string()),
            "label": pa.array(map(normal, class_by_file.values()), pa.string()),
        }
    )
    for name, table in (("wanted", wanted), ("corrected", corrected)):
        store.connection.register(f"{name}_rows", table)
        store.connection.execute(f"CREATE OR REPLACE TABLE {name} AS FROM {name}_rows")
        store.connection.unregister(f"{name}_rows")
