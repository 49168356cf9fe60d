"""Says in words why an image is selected, or why it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.labels.outcomes import Outcome
from classification.labels.wording import some_of
from taxonomy.graph import DatasetLabel, normal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from classification.artifacts.label_spec import LabelSpec
    from classification.labels.wanted import Entry, Wanted


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One image of a metadata store, and what became of it.

    Attributes:
        name: its full name.
        dataset: what it is from.
        table: where it stands, such as ``row 7 of caltech.parquet``.
        labels: what the dataset calls what is seen.
        level: ``image`` or ``sequence``: what those who labelled it looked at, or None.
        location: where the camera stood, or None.
        correction: the right class, as a correction has it; empty for unknown; None
            where there is no correction.
        outcome: what became of it.
    """

    name: str
    dataset: str
    table: str
    labels: tuple[str, ...]
    level: str | None
    location: str | None
    correction: str | None
    outcome: Outcome

    @property
    def pair(self) -> DatasetLabel | None:
        """Returns the one label that counts, or None where there is not just one."""
        if self.correction is not None:
            label = normal(self.correction)
        elif len(self.labels) == 1:
            label = self.labels[0]
        else:
            return None
        return DatasetLabel(normal(self.dataset), label) if label else None


def explain(
    case: Case,
    spec_by_label: Mapping[str, LabelSpec],
    wanted_by_label: Mapping[str, Wanted],
    *,
    min_locs: int | None,
) -> Iterator[str]:
    """Yields lines: what became of the image, what is known of it, and which rules met.

    Args:
        case: the image.
        spec_by_label: the specification.
        wanted_by_label: what each label of it takes.
        min_locs: the least number of locations of a label, or None.
    """
    labels = [
        label for label, wanted in wanted_by_label.items() if case.pair in wanted.pairs
    ]
    yield f"{case.name}: {_verdict(case, labels, spec_by_label, min_locs)}"
    level = f" (of the {case.level})" if case.level else ""
    location = "no location" if case.location is None else f"location {case.location!r}"
    named = ", ".join(map(repr, case.labels)) or "none"
    yield f"  {case.table}: labels {named}{level}, {location}"
    if case.correction is not None:
        right = repr(case.correction) if case.correction else "unknown"
        yield f"  corrected: the right label is {right}"
    for wanted in wanted_by_label.values():
        yield from _rules(wanted.include, case.pair, "takes")
        if any(case.pair in entry.pairs for entry in wanted.include):
            yield from _rules(wanted.exclude, case.pair, "excludes")


def _rules(
    entries: tuple[Entry, ...], pair: DatasetLabel | None, verb: str
) -> Iterator[str]:
    for entry in entries:
        if pair in entry.pairs:
            yield f"  {entry.where} ({entry.name}) {verb} {pair}"


def _verdict(
    case: Case,
    labels: list[str],
    spec_by_label: Mapping[str, LabelSpec],
    min_locs: int | None,
) -> str:
    shown = " and ".join(map(repr, labels))
    if case.outcome == Outcome.TAKEN:
        return f"selected as {shown}"
    limits = [f"{spec_by_label[label].max_count} of {label!r}" for label in labels]
    reason_by_outcome = {
        Outcome.NOT_WANTED: _why_not_wanted(case),
        Outcome.NO_IMAGE_NAME: "its name does not end as that of an image",
        Outcome.NOT_THERE: "there is no such file (--check-blob-exists)",
        Outcome.TOO_FEW_LOCATIONS: f"{shown} has fewer than {min_locs} locations "
        "(--min-locs)",
        Outcome.NOT_DRAWN: "it is not among the images that were drawn, "
        f"{' and '.join(limits)} (max_count)",
    }
    return f"not selected: {reason_by_outcome[case.outcome]}"


def _why_not_wanted(case: Case) -> str:
    if case.pair is not None:
        return f"no label wants {case.pair}"
    if case.correction is not None:
        return "its label is wrong, and nobody knows the right one"
    if not case.labels:
        return "it has no label"
    return f"it has several labels, {some_of(case.labels)}; one is needed"
