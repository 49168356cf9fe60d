"""Reads ONNX files as data: the files that belong to a model, and its operators.

Nothing here runs a model, and the numbers of its tensors are not read, so that memory
does not grow with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from classification.runtime import protobuf
from classification.runtime.errors import ModelError
from classification.runtime.protobuf import DamagedMessageError

if TYPE_CHECKING:
    from pathlib import Path

KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Domains of the operators that ONNX Runtime itself brings."""

# Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_SCHEMA = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}
_NODE_OPERATOR, _NODE_DOMAIN = 4, 7
_FUNCTION_NAME, _FUNCTION_DOMAIN = 1, 10
_EXTERNAL_KEY, _EXTERNAL_VALUE = 1, 2
_IN_MEMORY = "_ORT_MEM_ADDR_"  # ONNX Runtime takes such a location for an address


@dataclass(slots=True)
class _Found:
    """What a file names.

    Attributes:
        locations: files of its tensors, as they are spelled in it.
        operators: domain and name of each operator that it uses.
        functions: domain and name of each function that it defines itself.
    """

    locations: set[str] = field(default_factory=set)
    operators: set[tuple[str, str]] = field(default_factory=set)
    functions: set[tuple[str, str]] = field(default_factory=set)


def files_of(model: Path) -> tuple[Path, ...]:
    """List the files that a model consists of.

    Args:
        model: an ONNX file.

    Returns:
        The file itself, then those of its external tensors, which lie beside it or
        below, sorted.

    Raises:
        ModelError: it cannot be read or is no ONNX file; or a file of its tensors is
            missing, or is not in the model's own folder.
    """
    return check(model, trust=True)


def check(model: Path, *, trust: bool) -> tuple[Path, ...]:
    """Check an ONNX file before it is run; return its files, as ``files_of`` does.

    Args:
        model: an ONNX file.
        trust: take operators of any domain.

    Raises:
        ModelError: as for ``files_of``; or an operator is of a domain that ONNX
            Runtime does not bring, and the model is not trusted.
    """
    try:
        with protobuf.opened(model) as message:
            found = _scan(message)
    except OSError as error:
        raise ModelError(f"cannot read {model}: {error.strerror}") from error
    except DamagedMessageError as error:
        raise ModelError(f"{model}: not an ONNX model, or damaged ({error})") from error
    if not trust:
        _check_operators(model, found)
    folder = model.parent.resolve()
    external = (_external_file(model, folder, one) for one in found.locations)
    return (model, *sorted(set(external)))


def _scan(message: protobuf.Message) -> _Found:
    found = _Found()
    kinds = set()
    for kind, values in message.parts("model", _SCHEMA):
        kinds.add(kind)
        if kind == "node":
            domain = message.text(values.get(_NODE_DOMAIN))
            found.operators.add((domain, message.text(values.get(_NODE_OPERATOR))))
        elif kind == "function":
            domain = message.text(values.get(_FUNCTION_DOMAIN))
            found.functions.add((domain, message.text(values.get(_FUNCTION_NAME))))
        elif kind == "external":
            key = message.text(values.get(_EXTERNAL_KEY))
            if key == "location":
                found.locations.add(message.text(values.get(_EXTERNAL_VALUE)))
    if "graph" not in kinds:
        raise DamagedMessageError("it holds no graph")
    return found


def _check_operators(model: Path, found: _Found) -> None:
    foreign = sorted(
        (domain, name)
        for domain, name in found.operators - found.functions
        if domain not in KNOWN_DOMAINS
    )
    if foreign:
        domain, name = foreign[0]
        raise ModelError(
            f"{model}: operator {name!r} is of the domain {domain!r}; only those of "
            "ONNX, ai.onnx.ml and com.microsoft are run. If you know where the file "
            "comes from, give --trust-model"
        )


def _external_file(model: Path, folder: Path, location: str) -> Path:
    """Return where a file of tensors is; it has to be in the model's folder."""
    named = f"{model}: its weights are in the file {location!r}"
    beside = model.parent / location
    try:
        real = beside.resolve()
        is_file = real.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # loop of links; a NUL
        raise ModelError(f"{named}, which cannot be read") from error
    inside = folder in real.parents and ".." not in location.replace("\\", "/").split(
        "/"
    )
    if not inside or _IN_MEMORY in location:
        raise ModelError(
            f"{named}; weights are read from the model's own folder alone, so export it "
            "with its weights beside it"
        )
    if not is_file:
        raise ModelError(f"{named}, which is not there; put it beside the model")
    return beside
