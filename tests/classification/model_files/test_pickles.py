from __future__ import annotations

import io
import pickle

import pytest

from classification.model_files import pickles
from classification.model_files.pickles import (
    Class,
    DamagedFileError,
    Function,
    NotDataError,
    Record,
)
from tests import hostile_archives as hostile


def names(name: str) -> object:
    if name == "collections.OrderedDict":
        return Function(name, dict)
    if name == "net.Net":
        return Class(name)
    raise NotDataError(name)


def load(data: bytes) -> object:
    return pickles.load(io.BytesIO(data), names, lambda id_: ("persistent", id_))


VALUE = {
    "numbers": [0, 255, 256, 65_536, -1, 1 << 31, -(1 << 70), 1.5, float("inf")],
    "texts": ("", "a", "ä€", "x" * 300, b"", b"bytes", b"b" * 300),
    "constants": (None, True, False, ()),
    "containers": [[], {}, [1], (1, 2, 3, 4), {1: {2: [3]}}, {1, 2}],
    "twice": [("same", 1)] * 2,
}


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_data_is_what_python_reads(protocol: int) -> None:
    value = dict(VALUE)
    if protocol == 3:  # sets are calls there
        value["containers"] = []
    assert load(pickle.dumps(value, protocol)) == value


def test_several_pickles_in_one_file() -> None:
    file = io.BytesIO(pickle.dumps([1], 4) + pickle.dumps({"a": 2}, 4))
    found = [pickles.load(file, names, lambda id_: id_) for _ in range(2)]
    assert found == [[1], {"a": 2}]


def test_an_object_becomes_a_record() -> None:
    state = hostile.mapping(w=hostile.integer(7))
    found = load(hostile.pickled(hostile.named("net", "Net") + b")\x81" + state + b"b"))
    assert isinstance(found, Record)
    assert (found.name, found.attributes) == ("net.Net", {"w": 7})


def test_values_that_are_referred_to_stay_one() -> None:
    found = load(pickle.dumps([VALUE, VALUE], 4))
    assert isinstance(found, list)
    assert found[0] is found[1]


def test_a_list_in_itself_is_no_harm() -> None:
    found = load(hostile.pickled(b"]q\x00h\x00a"))
    assert isinstance(found, list)
    assert found[0] is found


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (b"", DamagedFileError, "makes no sense"),
        (b"h\x09", DamagedFileError, "makes no sense"),
        (b"X\xff\xff\xff\x7f", DamagedFileError, "more than 32 MiB"),
        (b"X\x02\x00\x00\x00\xff\xff", DamagedFileError, "makes no sense"),
        (b"K", DamagedFileError, "ends in the middle|makes no sense"),
        (b"}]Ns", NotDataError, "a key of the type list"),
        (
            b"}" + hostile.integer(1 << 61) + b"Ns",
            NotDataError,
            "a key of the type int",
        ),
        (b"}Na", DamagedFileError, "dict in the place of list"),
        (b"]" * 600_000, DamagedFileError, "more than 500000 instructions"),
        (b"cos\nsystem\n", NotDataError, "os.system"),
        (b"(cos\nsystem\no", NotDataError, "os.system"),
        (b"\x82\x01", NotDataError, "the pickle instruction"),
        (b"cnet\nNet\n(tR", NotDataError, "a call of net.Net"),
        (b"X\x01\x00\x00\x00a(tR", NotDataError, "a call of str"),
        (b"cnet\nNet\n(K\x01t\x81", NotDataError, "that takes arguments"),
        (b"c" + b"a" * 2000 + b"\nb\n", DamagedFileError, "a name .* does not end"),
        (b"T\xff\xff\xff\xff", DamagedFileError, "a text of negative length"),
        (
            b"ccollections\nOrderedDict\n(K\x01K\x02K\x03tR",
            DamagedFileError,
            "does not fit",
        ),
    ],
)
def test_what_is_no_data_ends_the_read(
    code: bytes, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        load(hostile.pickled(code))


def test_a_far_reference_costs_nothing() -> None:
    assert load(hostile.pickled(b"Nr\xff\xff\xff\x7f")) is None
