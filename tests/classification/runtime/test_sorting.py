from __future__ import annotations

import tempfile
from operator import itemgetter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.runtime.errors import StorageError
from classification.runtime.sorting import sort_records

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = st.lists(
    st.tuples(st.sampled_from(["", "a", "B", "é", "b\n", "a/b"]), st.binary()),
    max_size=12,
)


@given(records=RECORDS, memory_bytes=st.sampled_from([1, 500, 1 << 20]))
def test_it_is_pythons_stable_sort_however_little_memory_there_is(
    records: list[tuple[str, bytes]], memory_bytes: int
) -> None:
    found = list(sort_records(iter(records), memory_bytes=memory_bytes))
    assert found == sorted(records, key=itemgetter(0))


def test_it_may_be_left_half_read() -> None:
    records = [(f"{number:04d}", b"x") for number in range(1000, 0, -1)]
    stream = sort_records(records, memory_bytes=1 << 12)
    assert next(stream) == ("0001", b"x")
    stream.close()  # type: ignore[attr-defined]  # a generator; the files close with it


def test_no_file_is_made_where_memory_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert list(sort_records([("b", b""), ("a", b"")])) == [("a", b""), ("b", b"")]
    with pytest.raises(StorageError) as refused:
        list(sort_records([("b", b""), ("a", b"")], memory_bytes=1))
    assert str(refused.value) == (
        "temporary file: No such file or directory (see TMPDIR)"
    )
