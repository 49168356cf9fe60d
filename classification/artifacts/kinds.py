"""How the files of each format begin, by which a command knows what it may replace.

A command that finds a file under the name of its output looks at the file's first 64 KiB,
unpacked where it is a gzip file. It replaces what begins as its own output does, and
refuses any other file without ``--overwrite``::

    JSON    the first keys, down to those that only this format has
    CSV     the names of the first columns
    page    the head of our HTML pages
    npz     a zip archive whose first member is an array
    ONNX    the number of the format's version; TorchScript: an archive that holds code
"""

from __future__ import annotations

import re
import zipfile
import zlib
from typing import TYPE_CHECKING

from classification.runtime.outputs import Kind

if TYPE_CHECKING:
    from pathlib import Path

_HEAD_BYTES = 64 << 10
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_STRING = r'"(?:[^"\\]|\\.)*"'


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
        except zlib.error:
            return b""
    return head.removeprefix(_BOM)


def _beginning(noun: str, pattern: str) -> Kind:
    compiled = re.compile(pattern.encode(), re.DOTALL)
    return Kind(noun, lambda path: compiled.match(_head(path)) is not None)


def _json(noun: str, start: str) -> Kind:
    """Return a kind of JSON.

    Args:
        noun: what it is called.
        start: its first tokens, separated by spaces: brackets, colons, and regular
            expressions of the rest, where STRING is any string. A file without content,
            ``{}`` or ``[]``, is of it, too.
    """
    tokens = (
        re.escape(token) if token in {*"{}[]:"} else token.replace("STRING", _STRING)
        for token in start.split()
    )
    empty = r"\{\s*\}\s*\Z|\[\s*\]\s*\Z"
    return _beginning(noun, rf"\s*(?:{empty}|" + r"\s*".join(tokens) + ")")


def _csv(noun: str, *columns: str) -> Kind:
    return _beginning(noun, ",".join(columns) + r"(?:,|\r?\n|\Z)")


def _is_model(path: Path) -> bool:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    return re.match(rb"\x08[\x01-\x20][\x12\x3a\x42]", _head(path)) is not None


# COCO Camera Traps begins with the same keys, and has none of these.
_DETECTED = (
    '"(?:detections|detection_categories|detector|detection_completion_time'
    '|classification_categories|classifier)"'
)

DETECTIONS = _json(
    "detections JSON",
    rf"(?=.*{_DETECTED}\s*:) "
    '{ "(?:info|images|detection_categories|classification_categories)" :',
)
LABEL_INDEX = _json("label index", '{ "[0-9]+" : STRING')
LABEL_SPEC = _json(
    "label specification",
    '{ STRING : { "(?:dataset_labels|taxa|exclude|max_count|prioritize)" :',
)
TARGET_MAPPING = _json("target mapping", r"{ STRING : [ (?:STRING|\])")
QUERIED_IMAGES = _json(
    "list of queried images", '{ STRING : { "(?:dataset|location|class|bbox|label)" :'
)
IMAGE_COUNTS = _json("count of images", "{ STRING : [0-9]")
SPLITS = _json("assignment of splits", r'{ "(?:train|val|test)" : [ (?:\[|\])')
TASKS = _json("list of tasks", r'(?=.*"task_id"\s*:) [ {')._replace(is_continued=True)
MANIFEST = _json("manifest of a model", '{ "format" : "cameratraps-classifier ')
EVALUATION = _json("evaluation", '{ "format" : "cameratraps-evaluation ')

PREDICTIONS = _csv("classifier output", "path", r"(?!dataset,)[^\n]*")
DATASET_CSV = _csv("table of crops", "path", "dataset", "location")
CROPS_LEFT_OUT = _csv("table of what was left out", "what", "item", "reason")
SPLIT_SUMMARY = _csv("summary of splits", "label", "split", "crops")
IMAGE_STATUS = _csv("table of images", "image", "status", "reason")
LOCATION_COUNTS = _csv("table of locations", "label", "dataset", "location", "images")
LABEL_STATS = _csv("table of labels", "split", "label", "precision", "recall")
LOCATION_STATS = _csv("table of locations", "split", "location", "crops")
OVERALL_METRICS = _csv("table of metrics", "split", "loss")
CANDIDATES = _csv("table of candidates", "path", "dataset", "split")

INCLUDED_LABELS = _beginning(
    "list of labels", r"""\{(['"])[^\n]*\1: (?:\{\(|set\(\))"""
)
JOURNAL = _beginning("journal", "ct-journal ")._replace(is_continued=True)
DATABASE = _beginning("database of tasks", "SQLite format 3\0")._replace(
    is_continued=True
)
PAGE = _beginning(
    "page of ours",
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta http-equiv="Content-Security-Policy"',
)
NPZ = _beginning("archive of arrays", r"PK\x03\x04.{26}[^/]{1,200}?\.npy")
MODEL = Kind("exported model", _is_model)
