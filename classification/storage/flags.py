"""The flags that say where images are, the same in every command that fetches some."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from classification.runtime import cli
from classification.storage import places
from classification.storage.web import IMAGE_PATIENCE

if TYPE_CHECKING:
    from classification.storage.download import Patience
    from classification.storage.places import Place


class PlaceArguments(Protocol):
    """What ``add_places`` puts into a namespace."""

    images_dir: list[Place]
    base_url: list[Place]
    tries: int
    timeout: int


def add_places(parser: argparse._ActionsContainer) -> None:
    """Declares the flags that say where images are, and how long servers are waited for."""
    parser.add_argument(
        "-i",
        "--images-dir",
        type=_folder,
        action="append",
        default=[],
        metavar="[DATASET=]DIR",
        help="folder that holds the images under the names of the list, or, after "
        "DATASET=, those of one dataset; may be repeated",
    )
    parser.add_argument(
        "--base-url",
        type=_address,
        action="append",
        default=[],
        metavar="[DATASET=]URL",
        help="web address below which the images are, as with --images-dir; may be "
        "repeated, and is asked after all folders",
    )
    cli.add_megadb(parser, "metadata store, which knows where each dataset is")
    parser.add_argument(
        "--tries",
        type=cli.positive_int,
        default=IMAGE_PATIENCE.tries,
        metavar="N",
        help="how often a server is asked for an image, with growing pauses, where it "
        "does not answer (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=cli.positive_int,
        default=round(IMAGE_PATIENCE.silence_s),
        metavar="SECONDS",
        help="how long a server may be silent (default: %(default)s)",
    )


def _folder(text: str) -> Place:
    place = places.parse(text)
    if place.is_remote:
        raise argparse.ArgumentTypeError("a web address; --base-url takes it")
    return place


def _address(text: str) -> Place:
    place = places.parse(text)
    if not place.is_remote:
        raise argparse.ArgumentTypeError("not an address of http or https")
    return place


def places_of(args: PlaceArguments) -> list[Place]:
    """Returns where the command line says that images are, folders first."""
    return [*args.images_dir, *args.base_url]


def patience_of(args: PlaceArguments) -> Patience:
    """Returns how long the command line says that servers are waited for."""
    return replace(IMAGE_PATIENCE, tries=args.tries, silence_s=args.timeout)
