"""``label_spec.json``: what each label of a classifier, or each target, consists of.

Written by ``csv_to_json`` and by hand; read by ``json_validator`` and
``map_classification_categories``::

    {
     "cervid": {
      "dataset_labels": {"idfg": ["elk", "prong"]},
      "taxa": [
       {"level": "family", "name": "cervidae", "datasets": ["idfg"]}
      ],
      "max_count": 50000,
      "prioritize": [["idfg_swwlf_2019"], ["idfg"]]
     },
     "bird": {
      "taxa": [{"level": "class", "name": "aves"}],
      "exclude": {"taxa": [{"level": "genus", "name": "meleagris"}]}
     }
    }

``taxa`` takes everything at or below a taxon, in all datasets or in those that
``datasets`` lists; ``dataset_labels`` takes exactly the labels it names; ``exclude`` has
the same two keys and is subtracted. Where a taxon's name stands in two kingdoms,
``"kingdom": "animalia"`` beside ``level`` says which is meant. ``max_count`` is the most
**images**, not crops, to take; ``prioritize`` lists datasets to take them from first and
needs ``max_count``. Names of datasets, dataset labels, levels and taxa are compared
without regard to case; they are kept here as written.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from classification.artifacts import _json
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FILENAME = "label_spec.json"

_SELECTION_KEYS = ("dataset_labels", "taxa")
_LABEL_KEYS = (*_SELECTION_KEYS, "exclude", "max_count", "prioritize")
_TAXON_KEYS = ("level", "name", "kingdom", "datasets")


@dataclass(frozen=True, kw_only=True, slots=True)
class TaxonEntry:
    """One entry of ``taxa``: a taxon and what is below it.

    Attributes:
        level: rank, such as ``family``.
        name: scientific name.
        kingdom: set only to tell apart two taxa of the same level and name.
        datasets: the datasets that the entry is limited to, or None for all.
    """

    level: str
    name: str
    kingdom: str | None = None
    datasets: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Taxa and dataset labels that are taken, or left out, together.

    Attributes:
        dataset_labels: labels by dataset, in the order written.
        taxa: in the order written.
    """

    dataset_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    taxa: tuple[TaxonEntry, ...] = ()

    def __bool__(self) -> bool:
        """Says whether anything is selected."""
        return bool(self.taxa) or any(self.dataset_labels.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSpec:
    """What one label consists of.

    Attributes:
        include: what it takes; never empty.
        exclude: what is subtracted; may be empty.
        max_count: the most images to take, or None for no limit.
        prioritize: datasets to take images from first, one tuple a level; empty for
            no preference.
    """

    include: Selection
    exclude: Selection = field(default_factory=Selection)
    max_count: int | None = None
    prioritize: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuses a label that takes nothing, and numbers that mean nothing."""
        if not self.include:
            raise ArtifactError("selects nothing; give it taxa or dataset_labels")
        if self.max_count is not None and self.max_count < 1:
            raise ArtifactError("expected a number above 0", where="max_count")
        if self.prioritize and self.max_count is None:
            raise ArtifactError("needs max_count", where="prioritize")


def from_dict(document: Mapping[str, Any]) -> dict[str, LabelSpec]:
    """Returns the specification of each label, in file order.

    Raises:
        ArtifactError: the document breaks the format; with the address, such as
            ``bear.taxa[0].level``.
    """
    if not document:
        raise ArtifactError("expected at least one label")
    if "" in document:
        raise ArtifactError("a label without a name")
    return {label: _label_spec(value, label) for label, value in document.items()}


def to_dict(spec_by_label: Mapping[str, LabelSpec]) -> dict[str, Any]:
    """Returns the document to write; the keys of each label in a fixed order."""
    return {label: _label_document(spec) for label, spec in spec_by_label.items()}


def read(path: Path) -> dict[str, LabelSpec]:
    """Reads and checks a label specification; returns it label by label."""
    with in_file(path):
        return from_dict(_json.read_object(path))


def write(
    path: Path, spec_by_label: Mapping[str, LabelSpec], *, indent: int | None = None
) -> None:
    """Writes a label specification, labels in the order given.

    Args:
        path: the file; it appears whole or not at all.
        spec_by_label: what to write.
        indent: spaces a level is indented by, or None for one line.
    """
    _json.write_object(path, to_dict(spec_by_label), indent=indent)


@contextmanager
def at_label(label: str) -> Iterator[None]:
    """Puts the label before the address of any ArtifactError raised inside."""
    try:
        yield
    except ArtifactError as error:
        where = f"{label}.{error.where}" if error.where else label
        raise ArtifactError(error.message, where=where) from None


def _label_spec(value: object, where: str) -> LabelSpec:
    document = _object(value, _LABEL_KEYS, where)
    exclude = Selection()
    if "exclude" in document:
        excluded = f"{where}.exclude"
        exclude = _selection(
            _object(document["exclude"], _SELECTION_KEYS, excluded), excluded
        )
        if not exclude:
            raise ArtifactError(
                "selects nothing; give it taxa or dataset_labels", where=excluded
            )
    include = _selection(document, where)
    max_count = _max_count(document.get("max_count"), f"{where}.max_count")
    prioritize = _prioritize(document.get("prioritize", []), f"{where}.prioritize")
    with at_label(where):
        return LabelSpec(
            include=include,
            exclude=exclude,
            max_count=max_count,
            prioritize=prioritize,
        )


def _selection(document: Mapping[str, Any], where: str) -> Selection:
    taxa = document.get("taxa", [])
    if not isinstance(taxa, list):
        raise ArtifactError("expected a list", where=f"{where}.taxa")
    return Selection(
        dataset_labels=_dataset_labels(
            document.get("dataset_labels", {}), f"{where}.dataset_labels"
        ),
        taxa=tuple(
            _taxon_entry(value, f"{where}.taxa[{index}]")
            for index, value in enumerate(taxa)
        ),
    )


def _dataset_labels(value: object, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise ArtifactError(
            "expected an object: dataset -> list of its labels", where=where
        )
    return {
        _name(dataset, where): _names(labels, f"{where}.{dataset}")
        for dataset, labels in value.items()
    }


def _taxon_entry(value: object, where: str) -> TaxonEntry:
    document = _object(value, _TAXON_KEYS, where)
    for key in ("level", "name"):
        if key not in document:
            raise ArtifactError(f"{key} is missing", where=where)
    kingdom = datasets = None
    if "kingdom" in document:
        kingdom = _name(document["kingdom"], f"{where}.kingdom")
    if "datasets" in document:
        datasets = _names(document["datasets"], f"{where}.datasets")
        if not datasets:
            raise ArtifactError(
                "expected at least one dataset; leave the key out to mean all",
                where=f"{where}.datasets",
            )
    return TaxonEntry(
        level=_name(document["level"], f"{where}.level"),
        name=_name(document["name"], f"{where}.name"),
        kingdom=kingdom,
        datasets=datasets,
    )


def _max_count(value: object, where: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ArtifactError("expected a whole number", where=where)


def _prioritize(value: object, where: str) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list):
        raise ArtifactError("expected a list of lists of datasets", where=where)
    return tuple(
        _names(names, f"{where}[{index}]") for index, names in enumerate(value)
    )


def _object(value: object, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ArtifactError("expected an object", where=where)
    for key in value:
        if key not in keys:
            raise ArtifactError(
                f"unknown key; known are {', '.join(keys)}", where=f"{where}.{key}"
            )
    return value


def _names(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ArtifactError("expected a list of names", where=where)
    return tuple(_name(name, f"{where}[{index}]") for index, name in enumerate(value))


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ArtifactError("expected a name", where=where)
    return value


def _label_document(spec: LabelSpec) -> dict[str, Any]:
    document = _selection_document(spec.include)
    if spec.exclude:
        document["exclude"] = _selection_document(spec.exclude)
    if spec.max_count is not None:
        document["max_count"] = spec.max_count
    if spec.prioritize:
        document["prioritize"] = [list(level) for level in spec.prioritize]
    return document


def _selection_document(selection: Selection) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if selection.dataset_labels:
        document["dataset_labels"] = {
            dataset: list(labels)
            for dataset, labels in selection.dataset_labels.items()
        }
    if selection.taxa:
        document["taxa"] = [_taxon_document(entry) for entry in selection.taxa]
    return document


def _taxon_document(entry: TaxonEntry) -> dict[str, Any]:
    document: dict[str, Any] = {"level": entry.level, "name": entry.name}
    if entry.kingdom is not None:
        document["kingdom"] = entry.kingdom
    if entry.datasets is not None:
        document["datasets"] = list(entry.datasets)
    return document
