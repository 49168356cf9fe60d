"""When to stop asking a store that does not answer."""

from __future__ import annotations

from classification.runtime.errors import StorageError

IN_A_ROW = 25  # a bad connection loses some images, and a broken one all


class Outage:
    """Counts how many images in a row got no answer, and ends the run at so many."""

    def __init__(self, limit: int = IN_A_ROW) -> None:
        """Begins with none."""
        self._limit = limit
        self._in_a_row = 0

    def note(self, reason: str) -> None:
        """Notes one image.

        Args:
            reason: why it got no answer; empty where the store answered, be it that it
                does not have the image.

        Raises:
            StorageError: so many in a row got none.
        """
        self._in_a_row = self._in_a_row + 1 if reason else 0
        if self._in_a_row == self._limit:
            raise StorageError(
                f"{self._limit} images in a row could not be reached, the last one: "
                f"{reason}; run again to go on"
            )
