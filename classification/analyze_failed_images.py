r"""Says what is wrong with images that a step could not use.

The list is a text of one name a line, a JSON list, or a JSON object, such as the log of a
step, in which --json-keys hold lists. It may be at a web address. Where the images are is
said by --images-dir, --base-url and --container-url, or known by the metadata store where
names begin with the dataset. Each image is one of
  non_image    its name does not end as an image's does; it is not looked at
  nonexistent  there is no such file
  good         all of it can be decoded
  truncated    its header is sound, and the file ends before the picture does
  bad          it cannot be decoded, is no image, or is larger than --max-pixels
  unreachable  it cannot be told, since the store did not answer

The counts go to stdout as CSV; --output-csv gets the images one by one, with reasons.

Example:
    python analyze_failed_images.py crop_detections_log_20261122_204715.json \
        --json-keys images_failed_download_or_crop --images-dir images
"""

from __future__ import annotations

import argparse
import csv
import logging
import sys
from collections import Counter, deque
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import image_list, image_status, kinds
from classification.artifacts.image_status import Status
from classification.cropping import diagnosis
from classification.cropping.images import DEFAULT_MAX_PIXELS
from classification.runtime import addresses, cli, outputs, parallel, progress, scratch
from classification.runtime.errors import ArtifactError
from classification.storage import azure, download, flags, places
from classification.storage.places import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from classification.artifacts.image_status import ImageStatus
    from classification.storage import ImageStore
    from classification.storage.digests import Md5
    from classification.storage.places import Manner
    from classification.storage.retrying import Patience


_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    url_or_path: str
    json_keys: list[str]
    account: str | None
    container: str | None
    sas_token: str | None
    output_csv: Path | None
    threads: int
    max_pixels: int
    images_dir: list[Place]
    base_url: list[Place]
    container_url: list[Place]
    megadb: Path | None
    tries: int
    timeout: int
    md5: Md5
    max_failures: int | None
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to look at images.

    Attributes:
        places: where they are, given by a person.
        megadb: a metadata store, or None.
        manner: how servers are asked.
        threads: number of images looked at at once.
        max_pixels: an image of more is bad.
        max_failures: more unreachable images than this end the run with exit code 4.
    """

    places: Sequence[Place]
    megadb: Path | None
    manner: Manner
    threads: int
    max_pixels: int
    max_failures: int | None


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("analyze_failed_images", __doc__)
    parser.add_argument(
        "url_or_path", help="list of images: text, JSON, or a step's log"
    )
    parser.add_argument(
        "-k",
        "--json-keys",
        nargs="*",
        default=[],
        metavar="KEY",
        help="keys of a JSON object that hold lists of images",
    )
    parser.add_argument(
        "-o",
        "--output-csv",
        type=outputs.file(kinds.IMAGE_STATUS),
        metavar="CSV",
        help="write image, status and reason of each",
    )
    parser.add_argument(
        "-t",
        "--threads",
        type=cli.positive_int,
        default=parallel.cores(),
        help="images looked at at once; a distant server wants more than there are cores "
        "(default: %(default)s, the cores)",
    )
    parser.add_argument(
        "--max-pixels",
        type=cli.positive_int,
        default=DEFAULT_MAX_PIXELS,
        help="an image of more pixels, width times height, is bad (default: %(default)s)",
    )
    flags.add_places(parser)
    _add_containers(parser)
    cli.add_max_failures(parser)
    return parser


def _add_containers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-a",
        "--account",
        help="storage account of a container that holds the images, with --container; "
        "the same as --container-url",
    )
    parser.add_argument("-c", "--container", help="name of that container")
    parser.add_argument(
        "-s",
        "--sas-token",
        metavar="TOKEN",
        help="token (SAS) of that container; others see it in the list of processes, so "
        "better use --container-url @FILE",
    )


def run(
    url_or_path: str,
    json_keys: Sequence[str],
    *,
    output_csv: Path | None,
    options: Options,
) -> None:
    """Looks at each image once, and prints how many are what.

    Raises:
        ArtifactError: the list breaks its format.
        ConfigurationError: a dataset is nowhere.
        StorageError: a store does not answer, or the table cannot be written.
        TooManyFailuresError: see ``cli.check_failures``.
    """
    names = sorted(set(_read_names(url_or_path, json_keys, options.manner.patience)))
    store = places.open_places(
        options.places,
        datasets={name.partition("/")[0] for name in names},
        megadb=options.megadb,
        manner=options.manner,
    )
    counts = Counter[Status]()
    rows = _look_at(names, store, options, counts)
    if output_csv is None:
        deque(rows, maxlen=0)
    else:
        image_status.write(output_csv, rows)
    _print(counts)
    _logger.info(
        "%d images, of which %d can be used%s",
        len(names),
        counts[Status.GOOD],
        "" if output_csv is None else f"; one by one: {output_csv}",
    )
    cli.check_failures(counts[Status.UNREACHABLE], len(names), options.max_failures)


def _read_names(
    url_or_path: str, json_keys: Sequence[str], patience: Patience
) -> list[str]:
    if not addresses.is_address(url_or_path):
        return image_list.read_any(Path(url_or_path), json_keys)
    with scratch.folder("ct-list-") as folder:
        copy = folder / "list"
        download.fetch(url_or_path, copy, patience=patience)
        try:
            return image_list.read_any(copy, json_keys)
        except ArtifactError as error:
            where = error.where.replace(str(copy), addresses.shown(url_or_path))
            raise ArtifactError(error.message, where=where) from error


def _look_at(
    names: Sequence[str],
    store: ImageStore,
    options: Options,
    counts: Counter[Status],
) -> Iterator[ImageStatus]:
    """Yields what is found of each image, in order, and counts it."""
    look = partial(diagnosis.diagnose, store=store, max_pixels=options.max_pixels)
    found = parallel.ordered_map(look, names, threads=options.threads)
    for one in progress.track(found, total=len(names), unit="images"):
        counts[one.status] += 1
        yield one


def _print(counts: Counter[Status]) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(("status", "images"))
    table.writerows((status, counts[status]) for status in Status)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if bool(args.account) != bool(args.container) or (
        args.sas_token and not args.container
    ):
        parser.error(
            "--account and --container belong together, and --sas-token to them"
        )
    if args.account and args.container:
        url = azure.container_url(args.account, args.container, args.sas_token or "")
        args.container_url.append(Place(url, is_container=True))
    return cli.exit_code(
        run,
        args.url_or_path,
        args.json_keys,
        output_csv=args.output_csv,
        options=Options(
            places=flags.places_of(args),
            megadb=args.megadb,
            manner=flags.manner_of(args),
            threads=args.threads,
            max_pixels=args.max_pixels,
            max_failures=args.max_failures,
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
