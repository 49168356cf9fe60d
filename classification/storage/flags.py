"""The flags that say where images are, the same in every command that reads some."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from classification.runtime import cli
from classification.storage import azure, digests, places
from classification.storage.places import Manner, Place
from classification.storage.web import IMAGE_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classification.storage.digests import Md5


class MannerArguments(Protocol):
    """What ``add_manner`` puts into a namespace."""

    tries: int
    timeout: int
    md5: Md5


class RemoteArguments(MannerArguments, Protocol):
    """What ``add_remote`` puts into a namespace."""

    base_url: list[Place]
    container_url: list[Place]


class PlaceArguments(RemoteArguments, Protocol):
    """What ``add_places`` puts into a namespace."""

    images_dir: list[Place]


class KeepingArguments(PlaceArguments, Protocol):
    """What ``add_places`` and ``add_keeping`` put into a namespace."""

    save_full_images: bool


def add_places(
    parser: argparse._ActionsContainer,
    *,
    container_flags: Sequence[str] = (),
    with_megadb: bool = True,
) -> None:
    """Declares the flags that say where images are, and how servers are asked.

    Args:
        parser: where to declare them.
        container_flags: other names of ``--container-url``.
        with_megadb: the metadata store may say so, too.
    """
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
    if with_megadb:
        cli.add_megadb(parser, "metadata store, which knows where each dataset is")
    add_remote(parser, container_flags=container_flags)


def add_remote(
    parser: argparse._ActionsContainer, *, container_flags: Sequence[str] = ()
) -> None:
    """Declares those of ``add_places`` that are about web addresses and containers."""
    parser.add_argument(
        "--base-url",
        type=_address,
        action="append",
        default=[],
        metavar="[DATASET=]URL",
        help="web address below which the images are, under the names of the list, or, "
        "after DATASET=, those of one dataset; may be repeated, and is asked after all "
        "folders",
    )
    parser.add_argument(
        *container_flags,
        "--container-url",
        type=partial(places.parse, is_container=True),
        action="append",
        default=[],
        metavar="[DATASET=]URL",
        help="address of an Azure container that holds the images, with its token (SAS); "
        "@FILE reads it from a file, which keeps it out of the list of processes "
        f"(default: the environment's {azure.ACCOUNT_VARIABLE}, "
        f"{azure.CONTAINER_VARIABLE} and {azure.TOKEN_VARIABLE}; empty for none)",
    )
    add_manner(parser)


def add_keeping(parser: argparse._ActionsContainer) -> None:
    """Declares ``--save-full-images``, beside the flags of ``add_places``."""
    parser.add_argument(
        "--save-full-images",
        action="store_true",
        help="keep images that are fetched from elsewhere in the first --images-dir, "
        "which is made if missing",
    )


def add_manner(parser: argparse._ActionsContainer) -> None:
    """Declares the flags that say how servers are asked."""
    parser.add_argument(
        "--tries",
        type=cli.positive_int,
        default=IMAGE_PATIENCE.tries,
        metavar="N",
        help="how often a server is asked for an image, with growing pauses, where it "
        "does not answer, or not with the whole of it (default: %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=cli.positive_int,
        default=round(IMAGE_PATIENCE.silence_s),
        metavar="SECONDS",
        help="how long a server may be silent (default: %(default)s); all tries of an "
        f"image together take no more than {IMAGE_PATIENCE.limit_s:g}",
    )
    parser.add_argument(
        "--md5",
        choices=digests.MODES,
        default="check",
        help="compare an image with the MD5 that the server says of it, where it says "
        "one (check); refuse one of which it says none (require); or pass over it (off); "
        "the length is always compared (default: %(default)s)",
    )


def add_verify(parser: argparse._ActionsContainer) -> None:
    """Declare ``--verify``, the same in every command that takes results of images up again."""
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare the bytes of all images with those of the earlier run, not only "
        "their size and time",
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
    """Returns where the command line, or the environment, says that images are."""
    return [*args.images_dir, *distant_places_of(args)]


def distant_places_of(args: RemoteArguments) -> list[Place]:
    """Returns those of ``places_of`` that are not on this machine."""
    containers = [place for place in args.container_url if place.where]
    if not args.container_url and (url := azure.from_environment()):
        containers = [Place(url, is_container=True)]
    return [*args.base_url, *containers]


def kept_in(args: KeepingArguments, parser: argparse.ArgumentParser) -> Path | None:
    """Returns the folder that keeps images from elsewhere; None where none does.

    Ends the command with a usage error where none is named that could.
    """
    if not args.save_full_images:
        return None
    if not args.images_dir:
        parser.error("--save-full-images needs --images-dir, where it keeps them")
    return Path(args.images_dir[0].where)


def manner_of(args: MannerArguments, *, keep: Path | None = None) -> Manner:
    """Returns how the command line says that servers are asked."""
    patience = replace(IMAGE_PATIENCE, tries=args.tries, silence_s=args.timeout)
    return Manner(patience=patience, md5=args.md5, keep=keep)
