"""``metrics.json``: what the accuracy of a classifier leaves out.

Written by ``evaluate_model`` and at the end of training; read by the model card and
``report_results``::

    {
     "format": "cameratraps-evaluation 1",
     "model_sha256": "5f0c…e1",
     "bootstrap": {"replicates": 1000, "seed": 0},
     "splits": {
      "test": {
       "crops": 52,
       "failed": 1,
       "locations": 2,
       "loss": {"value": 0.5, "low": 0.4, "high": 0.7},
       "acc_top1": {"value": 0.79, "low": 0.25, "high": 0.95},
       "acc_top3": {"value": 0.96, "low": 0.9, "high": 1.0},
       "balanced_accuracy": {"value": 0.7, "low": 0.2, "high": 0.9},
       "macro_f1": {"value": 0.68, "low": 0.2, "high": 0.9},
       "calibration_error": {"value": 0.08, "low": 0.03, "high": 0.3},
       "location_accuracy": {"value": 0.6, "low": 0.25, "high": 0.95},
       "hierarchy": {
        "right": {"value": 0.79, "low": 0.25, "high": 0.95},
        "higher": {"value": 0.1, "low": 0.05, "high": 0.2},
        "wrong": {"value": 0.11, "low": 0.0, "high": 0.5},
        "ranks": {"order": 0.98, "family": 0.9}
       }
      }
     }
    }

All but ``loss`` (nats) are **fractions**. ``balanced_accuracy`` and ``macro_f1`` are means
over the labels that have examples in the split, ``location_accuracy`` over locations;
``calibration_error`` is of the most probable label, in 15 bins. ``low`` and ``high`` hold
95 % of what locations drawn anew give; with fewer than some ten locations they are too
near. They are null where there are fewer than two; a value is null where there is no crop.

``hierarchy`` is null where no taxonomy was given. ``higher``: the label that was predicted
is another one, but what it stands for is above, or holds, all that the true label stands
for: less exact, not wrong. ``ranks`` says of each rank how often truth and prediction are
of the same taxon of that rank, among the crops whose true label is within one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from classification.artifacts import _json
from classification.runtime.errors import in_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILENAME = "metrics.json"

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A number, and where it would mostly lie had other locations been looked at.

    Attributes:
        value: None where there is no crop.
        low: lower end of the 95 % interval, or None.
        high: upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


class Hierarchy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How near predictions are along the taxonomy; shares of all crops.

    Attributes:
        right: the true label.
        higher: another label, which stands for something above the true one.
        wrong: any other.
        ranks: share of the same taxon, by rank, from the root down.
    """

    right: Estimate
    higher: Estimate
    wrong: Estimate
    ranks: dict[str, _Share]


class SplitMetrics(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """How good a classifier is on a split.

    Attributes:
        crops: number that was classified.
        failed: number that could not be read; they count in nothing.
        locations: number with a crop that was classified.
        loss: mean cross-entropy, in nats.
        acc_top1: share whose most probable label is right.
        acc_top3: share whose label is among the three most probable.
        balanced_accuracy: mean recall of labels.
        macro_f1: mean F1 of labels.
        calibration_error: expected calibration error.
        location_accuracy: mean accuracy of locations.
        hierarchy: nearness along the taxonomy, or None.
    """

    crops: _Count
    failed: _Count
    locations: _Count
    loss: Estimate
    acc_top1: Estimate
    acc_top3: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    calibration_error: Estimate
    location_accuracy: Estimate
    hierarchy: Hierarchy | None = None


class Bootstrap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How intervals were found.

    Attributes:
        replicates: number of draws; 0 for no intervals.
        seed: of the draws.
    """

    replicates: _Count = 1000
    seed: _Count = 0


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file.

    Attributes:
        model_sha256: of the weights file.
        bootstrap: how intervals were found.
        splits: what was found, by split, in the order asked for.
        format: this format and its version.
    """

    model_sha256: str
    bootstrap: Bootstrap
    splits: dict[str, SplitMetrics]
    format: Literal["cameratraps-evaluation 1"] = "cameratraps-evaluation 1"


def from_dict(document: Mapping[str, Any]) -> Evaluation:
    """Checks the document and returns what it says.

    Raises:
        ArtifactError: a key is missing, unknown or of the wrong type.
    """
    return _json.to_struct(document, Evaluation)


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Returns the document to write, keys in the order of the example."""
    document = msgspec.to_builtins(evaluation)
    order = ("format", "model_sha256", "bootstrap", "splits")
    return {key: document[key] for key in order}


def read(path: Path) -> Evaluation:
    """Reads and checks what was found."""
    with in_file(path):
        return from_dict(_json.read_object(path))


def write(path: Path, evaluation: Evaluation) -> None:
    """Writes what was found."""
    _json.write_object(path, to_dict(evaluation))
