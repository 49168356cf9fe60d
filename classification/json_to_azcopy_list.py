r"""Lists the images of a training set that are not here yet, for a bulk copying tool.

Of each dataset of queried_images.json, DATASET_images.txt gets the images that are not at
IMAGES_DIR/DATASET/PATH: one PATH a line, as azcopy's --list-of-files takes it. A dataset of
which nothing is missing gets an empty list. What one line cannot hold, a name of several
lines or with spaces at its ends, is left out and said.

On stdout stands a table, tab-separated: dataset, number of images listed, the list, and
where the metadata store has the dataset's images. No token is printed, since none is kept:
give it to the copying tool.

Example:
    python json_to_azcopy_list.py run/queried_images.json run --images-dir images \
        --megadb megadb
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import (
    dataset_list,
    image_list,
    layout,
    queried_images,
)
from classification.cropping.existing import ExistingCrops
from classification.runtime import addresses, cli, containment, outputs, progress
from classification.runtime.name_list import NameList
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from classification.artifacts.dataset_list import DatasetEntry
    from classification.artifacts.queried_images import QueriedImagesFile

_SUFFIX = "_images.txt"

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    queried_images_json: Path
    output_dir: Path
    images_dir: Path
    megadb: Path | None
    overwrite: bool
    verbose: bool


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("json_to_azcopy_list", __doc__)
    parser.add_argument(
        "queried_images_json",
        type=Path,
        help="the images, as json_validator writes them",
    )
    parser.add_argument(
        "output_dir",
        type=outputs.folder(default=lambda args: args.queried_images_json.parent),
        nargs="?",
        help="folder for the lists; made if missing (default: that of the images' file)",
    )
    parser.add_argument(
        "-i",
        "--images-dir",
        type=Path,
        default=Path("images"),
        help="folder that holds DATASET/PATH of the images that are here; it need not "
        "exist (default: %(default)s)",
    )
    cli.add_megadb(parser, "metadata store, which knows where each dataset is")
    return parser


def run(
    queried_images_json: Path,
    output_dir: Path,
    *,
    images_dir: Path,
    megadb: Path | None,
) -> None:
    """Writes the lists of missing images.

    Raises:
        ArtifactError: the images or the metadata store break their format, or no file
            can be called after a dataset.
        StorageError: it cannot be told what is in the images folder, or a list cannot be
            written.
    """
    entries = {} if megadb is None else dataset_list.read(megadb)
    queried = queried_images.open_file(queried_images_json)
    missing = _joined(_find_missing(queried, ExistingCrops(images_dir)))
    for dataset in missing:
        layout.checked_dataset(dataset, where=str(output_dir))
    unwritable = 0
    for dataset, names in missing.items():
        path = output_dir / f"{dataset}{_SUFFIX}"
        left_out = set(image_list.find_unwritable(names))
        for name in sorted(left_out):
            _logger.warning("not in %s: %s", path, cli.one_line(f"{dataset}/{name}"))
        image_list.write_text(path, (name for name in names if name not in left_out))
        unwritable += len(left_out)
        row = (
            dataset,
            str(len(names) - len(left_out)),
            str(path),
            _address(dataset, entries),
        )
        sys.stdout.write("\t".join(map(cli.one_line, row)) + "\n")
    _logger.info(
        "%d of %d images are not in %s; %d lists in %s; %d names fit on no line",
        sum(map(len, missing.values())),
        queried.image_count,
        images_dir,
        len(missing),
        output_dir,
        unwritable,
    )


def _find_missing(
    queried: QueriedImagesFile, existing: ExistingCrops
) -> dict[str, NameList]:
    """Returns the names of missing images below each dataset, datasets sorted."""
    missing: dict[str, NameList] = {}
    images = queried.images()
    for name, image in progress.track(images, total=queried.image_count, unit="images"):
        names = missing.setdefault(image.dataset, NameList())
        if name not in existing:
            names.append(name.removeprefix(f"{image.dataset}/"))
    return dict(sorted(missing.items()))


def _joined(missing: dict[str, NameList]) -> dict[str, NameList]:
    """Returns the names by dataset; those whose lists a disk may take for one in one."""
    alike = containment.find_alike(missing)
    for dataset, first in alike.items():
        _logger.warning("%s: listed with the images of %s", dataset, first)
        for name in missing.pop(dataset):
            missing[first].append(name)
    return missing


def _address(dataset: str, entries: Mapping[str, DatasetEntry]) -> str:
    """Returns where a dataset's images are, without a token; empty if nobody knows."""
    for name, entry in entries.items():
        if normal(name) == normal(dataset):
            return addresses.shown(entry.container or entry.base_url or "")
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(
        run,
        args.queried_images_json,
        args.output_dir,
        images_dir=args.images_dir,
        megadb=args.megadb,
    )


if __name__ == "__main__":
    raise SystemExit(main())
