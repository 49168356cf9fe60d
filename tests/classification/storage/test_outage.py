from __future__ import annotations

import pytest

from classification.runtime.errors import StorageError
from classification.storage.outage import Outage


def test_so_many_in_a_row_end_the_run() -> None:
    outage = Outage(limit=3)
    for reason in ("timeout", "timeout", "", "timeout", "timeout"):
        outage.note(reason)
    with pytest.raises(StorageError) as raised:
        outage.note("HTTP 503")
    assert str(raised.value) == (
        "3 images in a row could not be reached, the last one: HTTP 503; run again to "
        "go on"
    )
