"""A small synthetic camera-trap world that tests draw themselves; no file is shipped."""

from __future__ import annotations

import csv
import io
import zlib
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
from PIL import Image

from classification.artifacts import dataset_list, image_table, taxonomy_csv
from classification.artifacts.dataset_list import DatasetEntry
from taxonomy.graph import DatasetLabel, LabelRow, Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def photograph(width: int = 320, height: int = 240, *, seed: int = 0) -> Image.Image:
    """Draws a smooth, detailed RGB scene that JPEG compresses as it does a photo."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 16), max(2, width // 16), 3))
    scene = Image.fromarray(coarse.astype(np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = rng.integers(-12, 13, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(scene) + grain, 0, 255).astype(np.uint8))


def with_blob(
    scene: Image.Image, box: tuple[int, int, int, int], colour: tuple[int, int, int]
) -> Image.Image:
    """Returns the scene with a filled rectangle (left, top, right, bottom px) in it."""
    marked = scene.copy()
    marked.paste(colour, box)
    return marked


def jpeg_bytes(image: Image.Image, *, quality: int = 90, orientation: int = 1) -> bytes:
    """Encodes a JPEG; with an EXIF orientation tag where ``orientation`` is not 1."""
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, exif=exif)
    return buffer.getvalue()


def save_jpeg(path: Path, image: Image.Image, **options: int) -> Path:
    """Writes ``jpeg_bytes`` to ``path``, making its folders; returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg_bytes(image, **options))
    return path


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Returns the image as an array, shape [height, width, 3]."""
    return np.asarray(image.convert("RGB"))


def label_row(
    label: str, *taxa: str, number: int = 2, source: str = "inat"
) -> LabelRow:
    """Makes a taxonomy row: ``label_row("idfg|elk", "species cervus canadensis", …)``."""
    dataset, _, name = label.partition("|")
    parts = [taxon.partition(" ") for taxon in taxa]
    chain = tuple(Link(level, t, zlib.crc32(t.encode())) for level, _, t in parts)
    return LabelRow(number, DatasetLabel(dataset, name), chain, source)


_MAMMALS = ("class mammalia", "phylum chordata", "kingdom animalia")
_DEER = ("family cervidae", "order artiodactyla", *_MAMMALS)
_BIRDS = ("class aves", "phylum chordata", "kingdom animalia")
_ELK = ("species cervus canadensis", "genus cervus", *_DEER)

# Two datasets that name deer and birds, each as finely as it cares to.
DEER_AND_BIRDS = (
    label_row("idfg|deer", *_DEER, number=2),
    label_row("idfg|elk", *_ELK, number=3),
    label_row("idfg|bird", *_BIRDS, number=4),
    label_row("idfg|#ref!", number=5),
    label_row("caltech|moose", "species alces alces", "genus alces", *_DEER, number=6),
    label_row(
        "caltech|roosevelt elk", "subspecies cervus c. roosevelti", *_ELK, number=7
    ),
    label_row(
        "caltech|turkey",
        *("species meleagris gallopavo", "genus meleagris", "order galliformes"),
        *_BIRDS,
        number=8,
    ),
    label_row("caltech|empty", number=9),
)


def write_taxonomy(path: Path, rows: Iterable[LabelRow]) -> Path:
    """Writes rows as a taxonomy CSV in LILA's form; returns ``path``."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*taxonomy_csv.COLUMNS, "source"])
        for row in rows:
            first = row.chain[0] if row.chain else Link("", "")
            links = [(link.id, link.level, link.name, [""]) for link in row.chain]
            string = repr(links) if row.chain else ""
            table.writerow([*row.label, first.level, first.name, string, row.source])
    return path


def write_store(
    folder: Path,
    images_by_dataset: Mapping[str, Sequence[Mapping[str, object]]],
    **entry: str,
) -> Path:
    """Writes a metadata store of these images; returns ``folder``.

    Args:
        folder: the store.
        images_by_dataset: columns of each image; those left out are null, or no label.
        entry: ``root`` or ``path_prefix`` of every dataset.
    """
    for dataset, images in images_by_dataset.items():
        rows = [{"dataset": dataset, "labels": [], **image} for image in images]
        table = pa.Table.from_pylist(rows, schema=image_table.schema())
        image_table.write(image_table.path_of(folder, dataset), table.to_batches())
    entry_by_dataset = {
        dataset: msgspec.convert({**entry, "images": len(images)}, DatasetEntry)
        for dataset, images in images_by_dataset.items()
    }
    dataset_list.write(folder, entry_by_dataset)
    return folder
