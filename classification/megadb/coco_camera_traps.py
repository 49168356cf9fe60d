"""COCO Camera Traps JSON, the format of the datasets on LILA.

A file is one object::

    {
     "info": {"version": "1.0"},
     "categories": [{"id": 0, "name": "empty"}, {"id": 6, "name": "bobcat"}],
     "images": [
      {"id": "5a1e", "file_name": "a/5a1e.jpg", "location": 33, "seq_id": "6f0a",
       "frame_num": 2, "datetime": "2012-05-08 19:23:36", "width": 2048, "height": 1494}
     ],
     "annotations": [
      {"id": "1", "image_id": "5a1e", "category_id": 6, "bbox": [619.5, 683.5, 174, 194.6]}
     ]
    }

Lists may stand in any order, and what else an object holds is passed over. Ids may be
text or whole numbers, and ``3`` is the same id as ``"3"``. A backslash in a file's name
is read as ``/``. ``date_captured`` is read
where ``datetime`` is absent. An image that is ``corrupt`` is staged with that problem.

**Labels.** Each annotation of the species file gives its image the name of its category,
with or without a box; with ``sequence_level_annotation`` the label is the sequence's. An
annotation of a category that the file does not list is skipped, and said.

**Boxes of the species file** (``bbox`` in pixels, or ``bbox_relative`` in fractions,
which is taken where both are there) count only where they are all the image's boxes:
every annotation of the image has one, and no category has a larger ``count`` than boxes.
Otherwise a detector has to look at the image. What a box holds is made from the name of
its category: see ``box_categories``.

**A separate bounding-box file** has the same format. Its categories say what a box
holds and are no labels, and each image that it lists counts as one whose boxes are all
drawn, be there none; except where one of the image's annotations names something to be
seen but has no box. Pixels are of the size that this file states for the image, or else
the species file.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from classification.artifacts import _stream
from classification.megadb import box_categories, clock
from classification.megadb import staging as tables
from classification.megadb.sources import open_bytes
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import duckdb

    from classification.megadb.staging import Staging

UNKNOWN_CATEGORY = "no category of the file has this id"
NO_WHOLE_NUMBER = "no whole number, so it is taken as unknown"
NO_SIZE = "no number of pixels above 0, so it is taken as unknown"
NO_BOX = (
    "it names something to be seen but has no box, so a detector looks at its image"
)

_BATCH_ROWS = 50_000
_LARGEST = 2**31 - 1
_TRUE = frozenset({"true", "1", "yes"})
_NO_NUMBERS = (None, None, None, None)
# A box all the same, which is listed as broken where boxes are checked.
_BROKEN_BOX = (math.nan,) * 4

_Id: TypeAlias = str | int
_Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Options:
    """How a species file is read.

    Attributes:
        boxes: whether its boxes count, where they are all the boxes of an image.
    """

    boxes: bool = True


class _Image(msgspec.Struct, gc=False):
    id: _Id
    file_name: str
    location: str | int | float | None = None
    seq_id: str | int | float | None = None
    frame_num: _Scalar = None
    datetime: _Scalar = None
    date_captured: _Scalar = None
    width: _Scalar = None
    height: _Scalar = None
    corrupt: _Scalar = None
    rights_holder: _Scalar = None


class _Annotation(msgspec.Struct, gc=False):
    image_id: _Id
    category_id: _Id
    bbox: list[float | None] | None = None
    bbox_relative: list[float | None] | None = None
    sequence_level_annotation: _Scalar = None
    count: _Scalar = None


class _Category(msgspec.Struct, gc=False):
    id: _Id
    name: str


_NAME_RULE = "a text or a whole number expected"
_RULE_BY_KEY = {
    "id": _NAME_RULE,
    "image_id": _NAME_RULE,
    "category_id": _NAME_RULE,
    "file_name": "the name of a file expected",
    "name": "a name expected",
    "location": "a text or a number expected",
    "seq_id": "a text or a number expected",
    "bbox": "4 numbers or null expected",
    "bbox_relative": "4 numbers or null expected",
}
_OTHER_RULE = "a text, a number, true, false or null expected"

# What a file says, before it is known what that means; ``holds`` is what a box of the
# category holds, null for nothing.
_SCRATCH = {
    "coco_images": "row BIGINT, id VARCHAR, file VARCHAR, location VARCHAR, "
    "sequence VARCHAR, frame INTEGER, said VARCHAR, width INTEGER, height INTEGER, "
    "is_corrupt BOOLEAN, rights VARCHAR",
    "coco_annotations": "row BIGINT, image_id VARCHAR, category_id VARCHAR, "
    "x DOUBLE, y DOUBLE, w DOUBLE, h DOUBLE, is_relative BOOLEAN, level VARCHAR, "
    "count INTEGER",
    "coco_categories": "row BIGINT, category_id VARCHAR, name VARCHAR, holds VARCHAR",
}


def read(source: Path, staging: Staging, options: Options | None = None) -> None:
    """Stages the images, labels and boxes of a species file.

    Args:
        source: the file; a ``.gz``, or a ``.zip`` of one ``.json``, is unpacked.
        staging: filled; it may hold what other files of the dataset gave.
        options: what to make of its boxes.

    Raises:
        ArtifactError: it is no such file; with the address of what is wrong.
    """
    with _loaded(source, staging) as connection:
        _stage_images(connection, source.name)
        _stage_labels(connection, source.name)
        if options is None or options.boxes:
            _stage_boxes(connection)


def read_boxes(source: Path, staging: Staging) -> None:
    """Stages the boxes of a separate bounding-box file.

    An image is known by its id, or by its file name where no image has the id. The boxes
    that an image had before are dropped: this file knows better.

    Args:
        source: the file, as for ``read``.
        staging: holds the images already; filled.

    Raises:
        ArtifactError: as for ``read``.
    """
    with _loaded(source, staging) as connection:
        _match_images(connection)
        _replace_boxes(connection, source.name)


@contextmanager
def _loaded(source: Path, staging: Staging) -> Iterator[duckdb.DuckDBPyConnection]:
    """Reads a file into tables that are gone after the block."""
    connection = staging.connection
    clock.define(connection)
    for table, columns in _SCRATCH.items():
        connection.execute(f"CREATE TABLE {table} ({columns})")
    # Not in one transaction, which would keep all that it writes in memory.
    with in_file(source):
        _load(source, staging)
        _refuse_ambiguous(connection)
    yield connection
    for table in _SCRATCH:
        connection.execute(f"DROP TABLE {table}")


def _load(source: Path, staging: Staging) -> None:
    lists = [
        _List("images", _Image, _image_columns, staging, source.name),
        _List("annotations", _Annotation, _annotation_columns, staging, source.name),
        _List("categories", _Category, _category_columns, staging, source.name),
    ]
    with open_bytes(source, ".json") as file:
        _, blocks_by_key = _stream.read_lists(
            file, {one.key: one.take for one in lists}
        )
    for one in lists:
        if one.key not in blocks_by_key:
            raise ArtifactError(
                "no such list; COCO Camera Traps JSON has images, annotations and "
                "categories",
                where=one.key,
            )
        one.flush()


def _refuse_ambiguous(connection: duckdb.DuckDBPyConnection) -> None:
    """Refuses a file in which a category's id has two names."""
    twice = connection.execute(
        "SELECT max_by(category_id, row), max(row), min(row) FROM coco_categories "
        "GROUP BY category_id HAVING count(DISTINCT name) > 1 ORDER BY 2"
    ).fetchone()
    if twice:
        id_, row, first = twice
        raise ArtifactError(
            f"{id_!r} has another name at categories[{first}]",
            where=f"categories[{row}].id",
        )
    connection.execute(
        "DELETE FROM coco_categories WHERE row NOT IN "
        "(SELECT min(row) FROM coco_categories GROUP BY category_id)"
    )


class _List:
    """One list of a file, on its way into its table."""

    def __init__(
        self,
        key: str,
        kind: type[msgspec.Struct],
        columns: Callable[[Sequence[Any], _Notes], dict[str, Sequence[object]]],
        staging: Staging,
        source: str,
    ) -> None:
        """Begins with no element.

        Args:
            key: of the list.
            kind: of its elements.
            columns: turns elements into the columns of the table ``coco_<key>``.
            staging: where the table is.
            source: name of the file.
        """
        self.key = key
        self._decoder = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]  # it is a type
        self._columns = columns
        self._staging = staging
        self._source = source
        self._first = 0
        self._waiting: list[Any] = []

    def take(self, text: bytes, first: int) -> int:
        """Takes a block of elements, given its position; returns how many there are."""
        try:
            elements = self._decoder.decode(text)
        except msgspec.ValidationError as error:
            raise _explain(error, self.key, first) from error
        self._waiting += elements
        if len(self._waiting) >= _BATCH_ROWS:
            self.flush()
        return len(elements)

    def flush(self) -> None:
        """Writes what waits into the table."""
        import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it

        notes = _Notes(self.key, self._first)
        columns = self._columns(self._waiting, notes)
        rows = range(self._first, self._first + len(self._waiting))
        self._staging.add(f"coco_{self.key}", pa.table({"row": rows, **columns}))
        if notes.reason_by_item:
            items = [f"{self._source}: {item}" for item in notes.reason_by_item]
            reasons = list(notes.reason_by_item.values())
            skipped = pa.table({"item": items, "reason": reasons})
            self._staging.add(tables.SKIPPED, skipped)
        self._first += len(self._waiting)
        self._waiting = []


class _Notes:
    """What is skipped of a piece of a list.

    Attributes:
        reason_by_item: why, by the address in the file.
    """

    def __init__(self, key: str, first: int) -> None:
        """Begins with nothing; ``first`` is the position of the piece's first element."""
        self.reason_by_item: dict[str, str] = {}
        self._key = key
        self._first = first

    def whole_numbers(
        self,
        values: Sequence[_Scalar],
        key: str,
        *,
        least: int = -_LARGEST,
        reason: str = NO_WHOLE_NUMBER,
    ) -> Sequence[object]:
        """Returns the whole numbers among values; notes what should be one and is not."""
        if _are_whole(values, least):
            return values
        numbers: list[int | None] = []
        for index, value in enumerate(values):
            number = _whole(value)
            number = None if number is None or number < least else number
            if number is None and value is not None and value != "":
                item = f"{self._key}[{self._first + index}].{key}"
                self.reason_by_item[item] = reason
            numbers.append(number)
        return numbers

    def sizes(self, values: Sequence[_Scalar], key: str) -> Sequence[object]:
        """Returns the numbers of pixels among values; notes what is none."""
        return self.whole_numbers(values, key, least=1, reason=NO_SIZE)


def _kinds(values: Sequence[object]) -> set[type]:
    return set(map(type, values))


def _are_whole(values: Sequence[_Scalar], least: int) -> bool:
    """Says whether nothing but whole numbers stands there, as in most files."""
    numbers = [value for value in values if type(value) is int]
    return (
        _kinds(values) <= {int, type(None)}
        and min(numbers, default=least) >= least
        and max(numbers, default=least) <= _LARGEST
    )


def _whole(value: _Scalar) -> int | None:
    if type(value) is int:
        return value if -_LARGEST <= value <= _LARGEST else None
    try:
        number = float(value or "x")
    except ValueError:
        return None
    is_whole = number.is_integer() and abs(number) <= _LARGEST
    return int(number) if is_whole and value is not True else None


def _texts(values: Sequence[_Scalar]) -> Sequence[object]:
    """Returns ids or names as text: 13, 13.0 and "13" are the same."""
    return values if _kinds(values) <= {str} else list(map(_text, values))


def _text(value: _Scalar) -> str | None:
    if type(value) is str:
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None if value is None else str(value)


def _are_true(values: Sequence[_Scalar]) -> list[bool]:
    if _kinds(values) <= {bool, type(None)}:
        return list(map(bool, values))
    return [str(value).lower() in _TRUE for value in values]


def _image_columns(
    images: Sequence[_Image], notes: _Notes
) -> dict[str, Sequence[object]]:
    said = [
        one.date_captured if one.datetime is None else one.datetime for one in images
    ]
    return {
        "id": _texts([one.id for one in images]),
        "file": [one.file_name.replace("\\", "/") for one in images],
        "location": _texts([one.location for one in images]),
        "sequence": _texts([one.seq_id for one in images]),
        "frame": notes.whole_numbers([one.frame_num for one in images], "frame_num"),
        "said": _texts(said),
        "width": notes.sizes([one.width for one in images], "width"),
        "height": notes.sizes([one.height for one in images], "height"),
        "is_corrupt": _are_true([one.corrupt for one in images]),
        "rights": _texts([one.rights_holder for one in images]),
    }


def _annotation_columns(
    annotations: Sequence[_Annotation], notes: _Notes
) -> dict[str, Sequence[object]]:
    boxes = [_box(one) for one in annotations]
    lefts, tops, widths, heights = zip(*boxes, strict=True) if boxes else [()] * 4
    levels = (tables.IMAGE_LEVEL, tables.SEQUENCE_LEVEL)
    of_sequences = _are_true([one.sequence_level_annotation for one in annotations])
    return {
        "image_id": _texts([one.image_id for one in annotations]),
        "category_id": _texts([one.category_id for one in annotations]),
        "x": lefts,
        "y": tops,
        "w": widths,
        "h": heights,
        "is_relative": [bool(one.bbox_relative) for one in annotations],
        "level": [levels[of_sequence] for of_sequence in of_sequences],
        "count": notes.whole_numbers([one.count for one in annotations], "count"),
    }


def _box(annotation: _Annotation) -> Sequence[float | None]:
    """Returns left, top, width and height; not a number where they are not all there."""
    box = annotation.bbox_relative or annotation.bbox
    if not box:
        return _NO_NUMBERS
    return box if len(box) == len(_BROKEN_BOX) and None not in box else _BROKEN_BOX


def _category_columns(
    categories: Sequence[_Category], _: _Notes
) -> dict[str, Sequence[object]]:
    return {
        "category_id": _texts([one.id for one in categories]),
        "name": [one.name for one in categories],
        "holds": [box_categories.categorize(one.name) for one in categories],
    }


def _explain(error: msgspec.ValidationError, key: str, first: int) -> ArtifactError:
    """Says in words what msgspec found wrong with a piece of a list."""
    message, _, place = str(error).partition(" - at `$[")
    index, _, rest = place.rstrip("`").partition("]")
    where = f"{key}[{first + int(index)}]"
    name = rest.removeprefix(".").partition("[")[0]
    if "missing required field" in message:
        name = message.split("`")[1]
    if not name:
        return ArtifactError("an object expected", where=where)
    return ArtifactError(_RULE_BY_KEY.get(name, _OTHER_RULE), where=f"{where}.{name}")


def _stage_images(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    connection.execute(
        f"""
        INSERT INTO {tables.IMAGES} BY NAME
        SELECT {_next_row(connection, tables.IMAGES)} + row AS row, id,
            file, location, sequence, frame, {clock.WALL_CLOCK}(said) AS datetime, width,
            height, rights, CASE WHEN is_corrupt THEN 'corrupt' END AS problem
        FROM coco_images
        """
    )
    connection.execute(
        f"""
        INSERT INTO {tables.SKIPPED} BY NAME
        SELECT ? || ': images[' || row || '].datetime' AS item,
            '{clock.UNREADABLE}' AS reason
        FROM coco_images WHERE trim(said) <> '' AND {clock.WALL_CLOCK}(said) IS NULL
        """,
        [source],
    )


def _stage_labels(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    connection.execute(
        f"""
        INSERT INTO {tables.LABELS} BY NAME
        SELECT {_next_row(connection, tables.LABELS)} + coco_annotations.row AS row,
            image_id, name AS label, level
        FROM coco_annotations JOIN coco_categories USING (category_id)
        """
    )
    connection.execute(
        f"""
        INSERT INTO {tables.SKIPPED} BY NAME
        SELECT ? || ': annotations[' || row || '].category_id: ' || category_id AS item,
            '{UNKNOWN_CATEGORY}' AS reason
        FROM coco_annotations ANTI JOIN coco_categories USING (category_id)
        """,
        [source],
    )


# A box that holds nothing is none. One of an unknown category may hold anything.
_HELD = """
    SELECT coco_annotations.*, holds, coco_categories.row IS NULL AS is_unknown,
        x IS NOT NULL AND (holds IS NOT NULL OR is_unknown) AS is_box
    FROM coco_annotations LEFT JOIN coco_categories USING (category_id)
"""


def _stage_boxes(connection: duckdb.DuckDBPyConnection) -> None:
    """Stages the boxes of a species file, and says which are all of their image's."""
    connection.execute(
        f"""
        INSERT INTO {tables.BOXES} BY NAME
        SELECT {_next_row(connection, tables.BOXES)} + row AS row, image_id,
            holds AS category, x, y, w, h, is_relative
        FROM ({_HELD}) WHERE is_box
        """
    )
    connection.execute(
        f"""
        INSERT INTO {tables.BOXED} BY NAME
        SELECT image_id FROM (
            SELECT image_id, category_id,
                bool_and(is_box) AND count(*) >= coalesce(max(count), 1) AS is_whole
            FROM ({_HELD}) WHERE image_id IN
                (SELECT image_id FROM coco_annotations WHERE x IS NOT NULL)
            GROUP BY image_id, category_id
        ) GROUP BY image_id HAVING bool_and(is_whole)
        """
    )


def _match_images(connection: duckdb.DuckDBPyConnection) -> None:
    """Gives the images of a box file the ids that the species file has for them."""
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE coco_matched AS
        WITH listed AS (
            SELECT id, min_by(file, row) AS file, min_by(width, row) AS width,
                min_by(height, row) AS height
            FROM coco_images GROUP BY id
        ), lost AS (
            SELECT listed.id, min(staged.id) AS known
            FROM listed ANTI JOIN {tables.IMAGES} USING (id)
            JOIN {tables.IMAGES} AS staged ON staged.file = listed.file
            GROUP BY listed.id
        )
        SELECT id AS image_id, coalesce(known, id) AS known, width, height
        FROM listed LEFT JOIN lost USING (id)
        """
    )


def _replace_boxes(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    """Stages the boxes of a box file in place of those that its images had."""
    for table in (tables.BOXES, tables.BOXED):
        connection.execute(
            f"DELETE FROM {table} WHERE image_id IN (SELECT known FROM coco_matched)"
        )
    connection.execute(
        f"""
        INSERT INTO {tables.BOXES} BY NAME
        SELECT {_next_row(connection, tables.BOXES)} + row AS row,
            coalesce(known, image_id) AS image_id, holds AS category,
            CASE WHEN is_measured THEN x / width ELSE x END AS x,
            CASE WHEN is_measured THEN y / height ELSE y END AS y,
            CASE WHEN is_measured THEN w / width ELSE w END AS w,
            CASE WHEN is_measured THEN h / height ELSE h END AS h,
            is_relative OR is_measured AS is_relative
        FROM (
            SELECT *, coalesce(width > 0 AND height > 0, FALSE) AND NOT is_relative
                AS is_measured
            FROM ({_HELD}) LEFT JOIN coco_matched USING (image_id) WHERE is_box
        )
        """
    )
    doubtful = f"FROM ({_HELD}) WHERE x IS NULL AND (holds IS NOT NULL OR is_unknown)"
    connection.execute(
        f"""
        INSERT INTO {tables.SKIPPED} BY NAME
        SELECT ? || ': annotations[' || row || ']' AS item, '{NO_BOX}' AS reason
        {doubtful}
        """,
        [source],
    )
    connection.execute(
        f"""
        INSERT INTO {tables.BOXED} BY NAME SELECT DISTINCT known AS image_id
        FROM coco_matched WHERE image_id NOT IN (SELECT image_id {doubtful})
        """
    )
    connection.execute("DROP TABLE coco_matched")


def _next_row(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    found = connection.execute(f"SELECT coalesce(max(row) + 1, 0) FROM {table}")
    rows = found.fetchall()
    return int(rows[0][0])
