r"""Imports metadata: which image shows what, where and when, into one metadata store.

Reads one of
  coco       a COCO Camera Traps JSON
  camtrapdp  a Camtrap DP package: its folder, its zip, or its datapackage.json
  lila       LILA's table of all its images, lila_image_urls_and_labels.csv: all its
             datasets, or the one that --dataset names
  csv        a CSV table of your own; --columns says which column holds what
  folders    a folder of images whose folders say what they show, see --layout
and recognizes which by itself; with --boxes also a separate file of boxes. JSON and CSV
may be gzipped, or alone in a zip. docs/metadata.md says what is read of each, and what is
not.

Writes, into the folder --megadb, DATASET.parquet with a row for each image,
DATASET.left_out.csv with all that was left out and why, and datasets.json. Importing a
dataset again replaces it whole; the same input gives the same bytes. A run that was
killed has changed nothing, or is done again in the same way.

Examples:
  import_metadata.py caltech.json --boxes caltech_boxes.json --megadb megadb \
      --dataset caltech --images-dir /data/caltech
  import_metadata.py images.csv --megadb megadb --dataset cajambre \
      --columns file=filename,label=genus+species,location=placename,datetime=timestamp \
      --join deployments.csv:deployment_id
  import_metadata.py lila_image_urls_and_labels.csv.zip --megadb megadb \
      --dataset "Caltech Camera Traps" --images-dir /data/caltech
  import_metadata.py --megadb megadb --list
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec

from classification.artifacts import image_table, layout, left_out, step_log
from classification.artifacts.dataset_list import DatasetEntry
from classification.megadb import (
    camtrap_dp,
    coco_camera_traps,
    csv_columns,
    csv_rows,
    finishing,
    folders,
    lila_csv,
    locations,
    megadetector_boxes,
    plain_csv,
    standards,
    store,
)
from classification.megadb.staging import Staging
from classification.megadb.standards import Source, Standard
from classification.runtime import atomic, cli, outputs
from classification.runtime.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from classification.artifacts.dataset_list import LocationRule
    from classification.megadb.finishing import Imported
    from classification.megadb.standards import Reader

T = TypeVar("T")

_LISTED = (
    *("dataset", "images", "labelled", "boxed", "labels", "locations"),
    *("location_from", "source"),
)

_CALLED = {
    Standard.COCO: "COCO Camera Traps JSON",
    Standard.LILA: "LILA's table",
    Standard.CAMTRAP_DP: "Camtrap DP packages",
    Standard.CSV: "CSV tables of your own",
    Standard.FOLDERS: "folders of images",
}

# So many images are looked for below --images-dir.
_SAMPLE = 100

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    source: Path | None
    megadb: Path
    dataset: str | None
    format: str | None
    boxes: Path | None
    box_threshold: float | None
    no_own_boxes: bool
    machine_labels: bool
    images_dir: Path | None
    base_url: str | None
    container: str | None
    path_prefix: str
    location_from: LocationRule
    columns: dict[str, tuple[str, ...]]
    join: csv_columns.Join | None
    delimiter: str
    encoding: str
    dates: str | None
    layout: tuple[str, ...] | None
    listing: bool
    max_failures: int | None
    cloud: str | None
    logdir: Path
    verbose: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to import.

    Attributes:
        entry: where the images are, and how a location is made.
        max_failures: more images left out than this end the run with exit code 4.
    """

    entry: DatasetEntry
    max_failures: int | None


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("import_metadata", __doc__, overwrite=False)
    parser.add_argument(
        "source", type=Path, nargs="?", help="the metadata: a file, or a folder"
    )
    parser.add_argument(
        "--megadb",
        type=outputs.folder(),
        required=True,
        metavar="DIR",
        help="folder of the metadata store; made if missing",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="name of the dataset in the store; of a source that holds several, the one "
        "to import (default: all of these)",
    )
    parser.add_argument(
        "--list",
        dest="listing",
        action="store_true",
        help="print what is in the store to stdout, and import nothing",
    )
    _add_reading(parser)
    _add_table(parser)
    _add_places(parser)
    cli.add_logdir(parser)
    cli.add_max_failures(parser)
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=[standard.value for standard in Standard],
        help="how the source is written down (default: as it looks)",
    )
    parser.add_argument(
        "--boxes",
        type=cli.existing_file,
        metavar="JSON",
        help="a separate file of boxes, which replace those that its images had: COCO "
        "Camera Traps bounding boxes, or MegaDetector's detections, which then count as "
        "drawn by people (cache_batchapi_outputs keeps their confidences)",
    )
    parser.add_argument(
        "--box-threshold",
        type=cli.fraction,
        metavar="CONF",
        help="take MegaDetector's boxes of at least this confidence (default: "
        f"{megadetector_boxes.DEFAULT_THRESHOLD})",
    )
    parser.add_argument(
        "--no-own-boxes",
        action="store_true",
        help="leave the boxes of a COCO Camera Traps JSON out; its labels count",
    )
    parser.add_argument(
        "--machine-labels",
        action="store_true",
        help="take what a machine classified in a Camtrap DP package, too (default: "
        "only what people did)",
    )
    parser.add_argument(
        "--location-from",
        choices=locations.RULES,
        default=locations.COLUMN,
        help="what a location is, for splits: what the source calls so, each sequence, "
        "each day at a site, or each folder (default: %(default)s)",
    )
    parser.add_argument(
        "--layout",
        type=_argument(folders.parse_layout),
        metavar="FOLDERS",
        help="what the folders of images mean, from the top, of label, location, "
        "sequence and * for nothing, such as location/label "
        f"(default: {folders.DEFAULT_LAYOUT})",
    )


def _add_table(parser: argparse.ArgumentParser) -> None:
    table = parser.add_argument_group("CSV tables of your own")
    table.add_argument(
        "--columns",
        type=_argument(csv_columns.parse_columns),
        default={},
        metavar="ROLE=COLUMN,...",
        help=f"which column holds what: of {', '.join(csv_columns.ROLES)}; + joins "
        "columns, as in label=genus+species (default: columns of these names)",
    )
    table.add_argument(
        "--join",
        type=_argument(csv_columns.parse_join),
        metavar="TABLE.csv:COLUMN",
        help="a second table, joined by the columns that both have (separated by "
        "commas; site=place where their names differ); its columns can be used, too",
    )
    table.add_argument(
        "--delimiter",
        type=_delimiter,
        default=",",
        help="what stands between cells, or tab (default: %(default)s)",
    )
    table.add_argument(
        "--encoding",
        default=csv_rows.UTF_8,
        help="of the text, such as cp1252 (default: %(default)s)",
    )
    table.add_argument(
        "--dates",
        choices=[order.value for order in plain_csv.DateOrder],
        help="what stands first in dates such as 8/5/2012 (default: as the dates of "
        "the table show, else they count as unknown)",
    )


def _add_places(parser: argparse.ArgumentParser) -> None:
    places = parser.add_argument_group("where the images are")
    places.add_argument(
        "--images-dir",
        type=cli.existing_dir,
        metavar="DIR",
        help="the folder that the files' names start from",
    )
    places.add_argument(
        "--base-url",
        metavar="URL",
        help="what the files' names are appended to; in LILA's table, what the URLs "
        "begin with before them (default there: as the URLs show)",
    )
    places.add_argument(
        "--cloud",
        choices=[cloud.value for cloud in lila_csv.Cloud],
        help="whose URLs to take of LILA's table, where an image has them (default: "
        f"{lila_csv.Cloud.GCP.value})",
    )
    places.add_argument(
        "--container",
        metavar="URL",
        help="URL of a container; a token in it is not kept",
    )
    places.add_argument(
        "--path-prefix",
        type=_path_prefix,
        default="",
        metavar="PATH",
        help="folders between any of these and the files' names",
    )


def _argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Returns ``parse`` for ``type=``, which keeps the text of its errors."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _delimiter(text: str) -> str:
    delimiter = "\t" if text in {"tab", "\\t"} else text
    if len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii():
        raise argparse.ArgumentTypeError(f"{text!r} is not one character, nor tab")
    return delimiter


def _path_prefix(text: str) -> str:
    prefix = PurePosixPath(text.replace("\\", "/").strip("/")).as_posix()
    prefix = "" if prefix == "." else prefix
    try:
        return layout.checked_name(prefix) if prefix else ""
    except ArtifactError as error:
        raise argparse.ArgumentTypeError(error.message) from None


def run(
    source: Source,
    *,
    megadb: Path,
    logdir: Path,
    options: Options,
) -> None:
    """Imports the datasets of a source into a store.

    Raises:
        ArtifactError: the source breaks its standard, or the store its format.
        ConfigurationError: the options contradict the source.
        StorageError: the store cannot be written, or another import writes it.
        TooManyFailuresError: see ``cli.check_failures``.
    """
    log = _open_log(source, options)
    with store.hold(megadb), standards.open_source(source, work_dir=megadb) as reader:
        for dataset in reader.datasets:
            store.check_name(megadb, dataset)
        for dataset in reader.datasets:
            entry = _placed(options.entry, reader.base_url(dataset))
            imported = _import(reader, dataset, megadb, entry)
            _record(log, dataset, imported)
            _describe(megadb, dataset, imported, options.entry.location_from)
    path = step_log.write(logdir, log)
    _logger.info(
        "%d images of %d datasets in %s; %d images left out, and %d other items; log: %s",
        log.counts["images"],
        log.counts["datasets"],
        megadb,
        log.counts["images_left_out"],
        log.counts["other_items_left_out"],
        path,
    )
    failed = log.counts["images_left_out"]
    cli.check_failures(failed, failed + log.counts["images"], options.max_failures)


def _placed(entry: DatasetEntry, base_url: str | None) -> DatasetEntry:
    """Returns where a dataset's images are: as the user says, else as the source."""
    behind = f"{entry.path_prefix}/" if entry.path_prefix else ""
    is_said = entry.root or entry.base_url or entry.container
    if base_url is None or is_said or not base_url.endswith(f"/{behind}"):
        return entry
    return msgspec.structs.replace(entry, base_url=base_url.removesuffix(behind))


def _import(
    reader: Reader, dataset: str, megadb: Path, entry: DatasetEntry
) -> Imported:
    # A killed run leaves the table, what it left out and the store's list as they were.
    with Staging.open(megadb) as staging, atomic.together():
        reader.stage(dataset, staging)
        imported = finishing.finish(
            staging, dataset=dataset, location_from=entry.location_from, megadb=megadb
        )
        if entry.root:
            files = finishing.sample_files(staging, _SAMPLE)
            _look_for(Path(entry.root) / entry.path_prefix, files)
        entry = msgspec.structs.replace(entry, images=imported.images)
        store.put(megadb, dataset, entry)
    return imported


def _look_for(folder: Path, files: Sequence[str]) -> None:
    """Says so where none of the files is below the folder."""
    if files and not any((folder / file).is_file() for file in files):
        _logger.warning(
            "none of %d images that were looked for is there, such as %s; --images-dir "
            "and --path-prefix say where they are",
            len(files),
            folder / files[0],
        )


def _open_log(source: Source, options: Options) -> step_log.StepLog:
    return step_log.StepLog(
        step="import_metadata",
        options={
            "source": str(source.path),
            "format": source.standard.value,
            "boxes": str(source.boxes) if source.boxes else None,
            "box_threshold": source.found.threshold if source.boxes else None,
            "own_boxes": source.coco.boxes,
            "machine_labels": source.package.machine_labels,
            "cloud": source.cloud.value,
            "location_from": options.entry.location_from,
            "columns": {
                role: "+".join(names) for role, names in source.table.columns.items()
            },
        },
        counts={
            "datasets": 0,
            "images": 0,
            "images_left_out": 0,
            "other_items_left_out": 0,
        },
        extra={"datasets": {}},
    )


def _record(log: step_log.StepLog, dataset: str, imported: Imported) -> None:
    log.extra["datasets"][dataset] = dataclasses.asdict(imported)
    log.counts["datasets"] += 1
    log.counts["images"] += imported.images
    log.counts["images_left_out"] += imported.images_left_out
    log.counts["other_items_left_out"] += (
        sum(imported.left_out.values()) - imported.images_left_out
    )


def _describe(
    megadb: Path, dataset: str, imported: Imported, location_from: LocationRule
) -> None:
    """Says what a dataset holds, what was left out, and what a split would stumble on."""
    _logger.info(
        "%s: %d images at %d locations, %d labelled with %d labels, %d with all boxes",
        image_table.path_of(megadb, dataset),
        imported.images,
        imported.locations,
        imported.labelled,
        imported.labels,
        imported.boxed,
    )
    if imported.left_out:
        reasons = (f"{count} x {reason}" for reason, count in imported.left_out.items())
        _logger.info(
            "%s lists what was left out: %s",
            left_out.path_of(megadb, dataset),
            "; ".join(reasons),
        )
    if imported.straddling:
        _logger.info(
            "%s: %d sequences stand at several locations", dataset, imported.straddling
        )
    if imported.locations <= 1 and location_from == locations.COLUMN:
        _logger.warning(
            "%s: %s location, so it cannot be split by location; --location-from "
            "sequence, day or folder makes some",
            dataset,
            "a single" if imported.locations else "no",
        )


def print_list(megadb: Path) -> None:
    """Prints what is in a store.

    Raises:
        ArtifactError: there is no store, or it is damaged.
    """
    rows = [_LISTED, *map(msgspec.structs.astuple, store.summarize(megadb))]
    texts = [[cli.one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row, cells in zip(rows, texts, strict=True):
        line = (
            cell.rjust(width) if isinstance(value, int) else cell.ljust(width)
            for cell, width, value in zip(cells, widths, row, strict=True)
        )
        sys.stdout.write("  ".join(line).rstrip() + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if args.listing:
        if args.source is not None:
            parser.error("--list imports nothing; leave the source out")
        return cli.exit_code(print_list, args.megadb)
    if args.source is None:
        parser.error("the source is missing; or --list what is in the store")
    return cli.exit_code(_run, args, args.source)


def _run(args: Arguments, path: Path) -> None:
    standard = Standard(args.format) if args.format else standards.recognize(path)
    _check_options(args, standard)
    entry = _to_entry(args, path if standard == Standard.FOLDERS else None)
    source = Source(
        path=path,
        standard=standard,
        dataset=args.dataset.strip() if args.dataset else None,
        boxes=args.boxes,
        found=megadetector_boxes.Options(
            megadetector_boxes.DEFAULT_THRESHOLD
            if args.box_threshold is None
            else args.box_threshold
        ),
        coco=coco_camera_traps.Options(boxes=not args.no_own_boxes),
        package=camtrap_dp.Options(machine_labels=args.machine_labels),
        table=plain_csv.Options(
            columns=args.columns,
            join=args.join,
            form=csv_rows.Form(args.delimiter, args.encoding),
            date_order=plain_csv.DateOrder(args.dates) if args.dates else None,
        ),
        layout=args.layout or folders.parse_layout(folders.DEFAULT_LAYOUT),
        cloud=lila_csv.Cloud(args.cloud or lila_csv.Cloud.GCP),
        root=_url_of_files(entry),
    )
    run(
        source,
        megadb=args.megadb,
        logdir=args.logdir,
        options=Options(entry=entry, max_failures=args.max_failures),
    )


def _check_options(args: Arguments, standard: Standard) -> None:
    """Refuses options that say nothing about the source."""
    given = {
        "--columns": (args.columns, Standard.CSV),
        "--join": (args.join, Standard.CSV),
        "--dates": (args.dates, Standard.CSV),
        "--delimiter": (args.delimiter != ",", Standard.CSV),
        "--encoding": (args.encoding != csv_rows.UTF_8, Standard.CSV),
        "--layout": (args.layout, Standard.FOLDERS),
        "--cloud": (args.cloud, Standard.LILA),
        "--no-own-boxes": (args.no_own_boxes, Standard.COCO),
        "--machine-labels": (args.machine_labels, Standard.CAMTRAP_DP),
    }
    for flag, (value, meant) in given.items():
        if value and standard != meant:
            raise ConfigurationError(
                f"{flag} is for {_CALLED[meant]}, and {args.source} is read as "
                f"{standard}; --format {meant} says otherwise"
            )
    if args.box_threshold is not None and not (
        args.boxes and megadetector_boxes.is_megadetector(args.boxes)
    ):
        raise ConfigurationError(
            "--box-threshold is for MegaDetector's detections, and "
            + (f"{args.boxes} holds none" if args.boxes else "there is no --boxes")
        )


def _url_of_files(entry: DatasetEntry) -> str | None:
    """Returns what files are appended to, if the user gave a base URL."""
    if entry.base_url is None:
        return None
    return entry.base_url + (f"{entry.path_prefix}/" if entry.path_prefix else "")


def _to_entry(args: Arguments, folder: Path | None) -> DatasetEntry:
    root = args.images_dir or folder
    base_url = _without_token(args.base_url, "--base-url")
    container = _without_token(args.container, "--container")
    return DatasetEntry(
        root=str(root.absolute()) if root else None,
        base_url=base_url.rstrip("/") + "/" if base_url else None,
        container=container.rstrip("/") if container else None,
        path_prefix=args.path_prefix,
        location_from=args.location_from,
    )


def _without_token(url: str | None, flag: str) -> str | None:
    """Returns a URL without its query, which may let whoever reads the store in.

    Raises:
        ConfigurationError: it is no URL of the web, or holds a password.
    """
    if not url:
        return None
    parts = urlsplit(url)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or "@" in parts.netloc
    ):
        raise ConfigurationError(f"{flag}: an https:// address without a user expected")
    if parts.query or parts.fragment:
        _logger.warning("%s: what follows the ? is not kept: it may be a token", flag)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


if __name__ == "__main__":
    raise SystemExit(main())
