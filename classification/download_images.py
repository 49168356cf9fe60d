"""Fetches the images of a list into a folder: from folders, from the web, by dataset.

Two kinds of list:
  txt   one full name a line, DATASET/PATH; the image is saved as STORE_DIR/DATASET/PATH
  json  entries with the keys file, dataset and --save-key, the name to save the image
        under; they may stand under --key of an object. A detections JSON is such a list:
        --key images --save-key file

What a list holds counts, not what it is called. Where the images are is said by
--images-dir, --base-url and --container-url, for all datasets or for one, or known by the
metadata store (import_metadata --images-dir, --base-url). Images that are in STORE_DIR
already are kept, so a run that was interrupted goes on where it was; --verify sees whether
they changed. Each file appears whole or not at all. An image that cannot be had is listed
with its reason in download_images_log_<time>.json, and the run goes on;
analyze_failed_images LOG --json-keys images_failed_download says more. A store that does
not answer for 25 images in a row ends the run.

Example:
    python download_images.py txt candidates.txt to_review --megadb megadb --threads 50
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from classification.artifacts import dataset_list, image_entries, image_list, step_log
from classification.cropping.existing import ExistingCrops
from classification.runtime import cli, containment, locking, outputs, progress
from classification.runtime.atomic import check_writable
from classification.runtime.errors import ArtifactError
from classification.storage import fetching, flags, places
from classification.storage.fetching import Errand, Folder
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from classification.artifacts.dataset_list import DatasetEntry
    from classification.artifacts.step_log import StepLog
    from classification.storage import ImageStore
    from classification.storage.digests import Md5
    from classification.storage.places import Manner, Place

STEP = "download_images"

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    type: Literal["json", "txt"]
    file_list: Path
    store_dir: Path
    save_key: str
    key: str | None
    only_new_images: bool
    check_existing_dir: Path | None
    verify: bool
    threads: int
    images_dir: list[Place]
    base_url: list[Place]
    container_url: list[Place]
    megadb: Path | None
    tries: int
    timeout: int
    md5: Md5
    max_failures: int | None
    logdir: Path
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Listing:
    """How a list is read.

    Attributes:
        kind: ``json`` or ``txt``.
        save_key: of a JSON entry, key of the name to save the image under.
        key: of the list in a JSON object, or None.
        only_new_images: pass over entries that are not marked new.
    """

    kind: Literal["json", "txt"]
    save_key: str = image_entries.SAVE_KEY
    key: str | None = None
    only_new_images: bool = False


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where images are, and how they are fetched.

    Attributes:
        places: given by a person.
        megadb: a metadata store, or None.
        manner: how servers are asked.
        at_hand: folder that may hold a file already, or None.
        verify: fetch anew what is there and changed where it comes from.
        threads: number of images fetched at once.
        max_failures: more failed images than this end the run with exit code 4.
    """

    places: Sequence[Place]
    megadb: Path | None
    manner: Manner
    at_hand: Path | None
    verify: bool = False
    threads: int
    max_failures: int | None


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser(STEP, __doc__, overwrite=False)
    parser.add_argument("type", choices=["json", "txt"], help="what the list is")
    parser.add_argument("file_list", type=Path, help="the list of images")
    parser.add_argument(
        "store_dir",
        type=outputs.folder(),
        help="folder for the images; made if missing",
    )
    parser.add_argument(
        "-s",
        "--save-key",
        default=image_entries.SAVE_KEY,
        metavar="KEY",
        help="json: key of the name to save an image under; the ending of its file is "
        "added where it lacks (default: %(default)s)",
    )
    parser.add_argument(
        "-k", "--key", help="json: key of the list (default: the list is all there is)"
    )
    parser.add_argument(
        "--only-new-images",
        action="store_true",
        help="json: fetch only images whose new_entry is true",
    )
    parser.add_argument(
        "--check-existing-dir",
        type=cli.existing_dir,
        metavar="DIR",
        help="folder that may hold an image under the name it is to be saved under; it "
        "is then linked, or copied where the disk has no links, instead of fetched",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="ask for the size and time of images that are in STORE_DIR already, and fetch "
        "anew those that changed",
    )
    parser.add_argument(
        "-t",
        "--threads",
        type=cli.positive_int,
        default=1,
        help="images fetched at once; a distant server wants many (default: %(default)s)",
    )
    flags.add_places(parser)
    cli.add_logdir(parser)
    cli.add_max_failures(parser)
    return parser


def run(
    file_list: Path,
    store_dir: Path,
    *,
    listing: Listing,
    options: Options,
    logdir: Path,
) -> None:
    """Fetches what is missing.

    Raises:
        ArtifactError: the list breaks its format, or two images are to be saved under
            one name.
        ConfigurationError: a dataset is nowhere.
        StorageError: the folder cannot be written, a store does not answer, or another
            run fetches the same list into the folder.
        TooManyFailuresError: see ``cli.check_failures``.
    """
    entries = {} if options.megadb is None else dataset_list.read(options.megadb)
    errands = _without_repeats(_read(file_list, listing, entries), file_list)
    store = _open_store(errands, options)
    check_writable(store_dir)
    log = _open_log(listing, options)
    folder = Folder(
        path=store_dir,
        existing=ExistingCrops(store_dir),
        verify=options.verify,
        at_hand=options.at_hand,
        alike=containment.find_alike(errand.target for errand in errands),
    )
    with locking.only_run(store_dir, STEP, file_list.resolve()):
        try:
            fetching.fetch_missing(
                progress.track(errands, total=len(errands), unit="images"),
                store,
                folder,
                threads=options.threads,
                log=log,
            )
        finally:
            _finish(log, store_dir, logdir)
    failed = log.counts[fetching.FAILED]
    cli.check_failures(failed, len(errands), options.max_failures)


def _read(
    path: Path, listing: Listing, entries: Mapping[str, DatasetEntry]
) -> Iterator[Errand]:
    """Yields each image of the list, and the name to save it under."""
    if listing.kind == "txt":
        for name in image_list.read_text(path):
            yield Errand(name, name)
        return
    known = {normal(name): entry for name, entry in entries.items()}
    unknown = dataset_list.DatasetEntry()
    for entry in image_entries.read(path, save_key=listing.save_key, key=listing.key):
        if listing.only_new_images and not entry.is_new:
            continue
        image = entry.file
        if entry.dataset:
            place = known.get(normal(entry.dataset), unknown)
            image = place.name_of(entry.dataset, entry.file)
        yield Errand(image, entry.save_as)


def _without_repeats(errands: Iterable[Errand], path: Path) -> list[Errand]:
    image_by_target: dict[str, str] = {}
    for image, target in errands:
        other = image_by_target.setdefault(target, image)
        if other != image:
            raise ArtifactError(
                f"{image!r} and {other!r} are both to be saved as {target!r}",
                where=str(path),
            )
    return [Errand(image, target) for target, image in image_by_target.items()]


def _open_store(errands: Iterable[Errand], options: Options) -> ImageStore:
    return places.open_places(
        options.places,
        datasets={errand.image.partition("/")[0] for errand in errands},
        megadb=options.megadb,
        manner=options.manner,
    )


def _open_log(listing: Listing, options: Options) -> StepLog:
    return step_log.StepLog(
        step=STEP,
        options={
            "type": listing.kind,
            "only_new_images": listing.only_new_images,
            **places.manner_to_log(options.manner),
            "threads": options.threads,
        },
    )


def _finish(log: StepLog, store_dir: Path, logdir: Path) -> None:
    counts = log.counts
    path = step_log.write(logdir, log)
    _logger.info(
        "%d images fetched into %s, %d linked, %d were there already; %d of %d failed; "
        "log: %s",
        counts[fetching.FETCHED],
        store_dir,
        counts[fetching.LINKED],
        counts[fetching.EXISTING],
        counts[fetching.FAILED],
        counts[fetching.IMAGES],
        path,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(
        run,
        args.file_list,
        args.store_dir,
        listing=Listing(
            kind=args.type,
            save_key=args.save_key,
            key=args.key,
            only_new_images=args.only_new_images,
        ),
        options=Options(
            places=flags.places_of(args),
            megadb=args.megadb,
            manner=flags.manner_of(args),
            at_hand=args.check_existing_dir,
            verify=args.verify,
            threads=args.threads,
            max_failures=args.max_failures,
        ),
        logdir=args.logdir,
    )


if __name__ == "__main__":
    raise SystemExit(main())
