"""Crops as a page shows them: a small picture, what is true, what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.reports.pictures import THUMBNAIL_SIDE_PX, inlined
from classification.reports.results_page import Said, Thumb
from classification.runtime.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from classification.measuring.answers import Answers
    from classification.measuring.by_label import Places
    from classification.reports.pictures import InlinePicture
    from classification.storage import ImageStore


class Album:
    """The pictures of crops, or why there are none."""

    def __init__(self, names: Sequence[str], store: ImageStore | None) -> None:
        """Reads and shrinks each crop, once."""
        self._found: dict[str, InlinePicture | ItemError] = {}
        if store is not None:
            self._found |= inlined(
                dict.fromkeys(names), store, side_px=THUMBNAIL_SIDE_PX
            )

    @property
    def gone(self) -> int:
        """Returns how many cannot be read."""
        return sum(isinstance(one, ItemError) for one in self._found.values())

    def find(self, name: str) -> tuple[InlinePicture | None, str]:
        """Returns a picture, or None and the reason."""
        found = self._found.get(name, ItemError("where the crops are is not known"))
        return (None, str(found)) if isinstance(found, ItemError) else (found, "")


def thumbs(
    answers: Answers, places: Places | None, album: Album
) -> Callable[[int], Thumb]:
    """Returns a function from a crop's place in the file to what is shown of it.

    Args:
        answers: of the file's crops.
        places: where they were taken, or None.
        album: their pictures.
    """

    def thumb(place: int) -> Thumb:
        name = answers.names[place]
        picture, reason = album.find(name)
        return Thumb(
            name=name,
            picture=picture,
            reason=reason,
            true=answers.labels[answers.true[place]],
            said=(said_of(answers, place),),
            location=_location(places, place),
        )

    return thumb


def _location(places: Places | None, place: int) -> str:
    return "" if places is None else places.names[places.codes[place]]


def said_of(answers: Answers, place: int) -> Said:
    """Returns what was said of the crop at a place in the file."""
    predicted = int(answers.guesses.predicted[place])
    return Said(
        answers.labels[predicted],
        float(answers.guesses.confidence[place]),
        predicted == answers.true[place],
    )
