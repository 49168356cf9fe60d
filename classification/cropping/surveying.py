"""What crops are like as pictures: how large, and by what light they were taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from classification.cropping import images, infrared
from classification.storage.each import read_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from classification.runtime.errors import ItemError
    from classification.storage import ImageStore


class Seen(NamedTuple):
    """A crop as a picture.

    Attributes:
        width: in pixels, as the file's header says.
        height: likewise.
        is_grey: it has no colour of its own; see ``infrared``.
    """

    width: int
    height: int
    is_grey: bool


def survey(
    names: Iterable[str], store: ImageStore
) -> Iterator[tuple[str, Seen | ItemError]]:
    """Yields what each crop is like, in the order given; or why it cannot be read.

    A few crops for each processor core are in memory at a time, each decoded no larger
    than it must be.

    Raises:
        StorageError: the store as a whole cannot be reached.
    """
    return read_each(names, store, look_at)


def look_at(data: bytes) -> Seen:
    """Returns what the bytes of an image file show.

    Raises:
        ItemError: it cannot be read; says why.
    """
    width, height = images.read_header(data).size
    picture = images.open_image(data, least_side_px=infrared.SIDE_PX).image
    return Seen(width, height, infrared.colour_of(picture) < infrared.GREY)
