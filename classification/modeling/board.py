"""What happens while a classifier learns, written for TensorBoard.

The tags are the original's: ``lr``; ``<split>/loss``, ``<split>/acc_top1`` and
``<split>/acc_top3`` (percent); ``<split>/label_recall/<label>`` (0 to 1); the images
``confusion_matrix/<split>`` and ``<label>/<split>/<tp|fp|fn>`` with the text
``<label>/<split>/<tp|fp|fn>_files``. New are ``pr_curve/<split>/<label>`` and whatever
``scalar`` is given. The step is the epoch, counted from 0.

A label is one part of a tag: TensorBoard groups by ``/``, so this and ``:`` are written
``%2F`` and ``%3A``, and ``%`` itself ``%25``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, Self

from classification.modeling import figures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["tp", "fp", "fn"]
"""Right with the most certainty; wrongly predicted as the label; the label missed."""

_ESCAPED = str.maketrans({"%": "%25", "/": "%2F", ":": "%3A"})
_CURVE_POINTS = 127


def tag(*parts: str) -> str:
    """Returns a tag of these parts, each escaped, so that no two lists share a tag."""
    return "/".join(part.translate(_ESCAPED) for part in parts)


class Board:
    """An event file of TensorBoard that is being written.

    Use it as a context, or close it; only then is everything on the disk.
    """

    def __init__(self, logdir: Path, *, purge_step: int | None = None) -> None:
        """Starts a new event file.

        Args:
            logdir: the run's folder; made where it is missing.
            purge_step: of a resumed run: what earlier event files hold from this step
                on is not shown, since it is written again.
        """
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - a second

        self._writer = SummaryWriter(str(logdir), purge_step=purge_step)

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Writes what is pending and closes the file."""
        self.close()

    def close(self) -> None:
        """Writes what is pending and closes the file."""
        self._writer.close()

    def flush(self) -> None:
        """Writes what is pending, so that a kill loses nothing written before."""
        self._writer.flush()

    def scalar(self, name: str, value: float, step: int) -> None:
        """Writes one number; ``name`` is a whole tag (see ``tag``)."""
        self._writer.add_scalar(name, float(value), step)

    def epoch(  # noqa: PLR0913 - what an epoch is measured by
        self,
        split: str,
        step: int,
        *,
        loss: float,
        top1: float,
        top3: float,
        recall_by_label: Mapping[str, float] | None = None,
    ) -> None:
        """Writes how one epoch did on a split.

        Args:
            split: train, val or test.
            step: the epoch, from 0.
            loss: mean cross-entropy.
            top1: percent of examples whose label came first.
            top3: percent of examples whose label was among the first three.
            recall_by_label: 0 to 1; NaN, of a label without examples, is left out.
        """
        self.scalar(tag(split, "loss"), loss, step)
        self.scalar(tag(split, "acc_top1"), top1, step)
        self.scalar(tag(split, "acc_top3"), top3, step)
        for label, recall in (recall_by_label or {}).items():
            if not math.isnan(recall):
                self.scalar(tag(split, "label_recall", label), recall, step)

    def confusion(
        self, split: str, step: int, counts: NDArray[np.int64], labels: Sequence[str]
    ) -> None:
        """Writes the picture of a confusion matrix (see ``figures.confusion``)."""
        title = f"{split}, epoch {step}: examples and their percent of the true label"
        self._image(
            tag("confusion_matrix", split),
            figures.confusion(counts, labels, title),
            step,
        )

    def pr_curves(
        self,
        split: str,
        step: int,
        probabilities: NDArray[np.float32],
        true: NDArray[np.int64],
        labels: Sequence[str],
    ) -> None:
        """Writes precision against recall of each label that has examples.

        Args:
            split: train, val or test.
            step: the epoch, from 0.
            probabilities: [N, C], each row adding up to 1.
            true: [N] indices of labels.
            labels: C of them.
        """
        for index, label in enumerate(labels):
            is_label = true == index
            if is_label.any():
                self._writer.add_pr_curve(
                    tag("pr_curve", split, label),
                    is_label,
                    probabilities[:, index],
                    step,
                    num_thresholds=_CURVE_POINTS,
                )

    def examples(  # noqa: PLR0913 - three of them are one list of examples
        self,
        label: str,
        split: str,
        kind: Kind,
        step: int,
        *,
        images: Sequence[NDArray[np.uint8]],
        captions: Sequence[str],
        paths: Sequence[str],
    ) -> None:
        """Writes a row of crops, and where they are.

        Args:
            label: whose examples they are.
            split: train, val or test.
            kind: tp, fp or fn.
            step: the epoch, from 0.
            images: each [height, width, 3]; none writes nothing.
            captions: of a few lines, one for each image.
            paths: of the crops.
        """
        if not images:
            return
        name = tag(label, split, kind)
        self._image(name, figures.row(images, captions), step)
        text = "\n\n".join(_as_code(path) for path in paths)
        self._writer.add_text(f"{name}_files", text, step)

    def hparams(
        self,
        parameters: Mapping[str, bool | float | str],
        metrics: Mapping[str, float],
    ) -> None:
        """Writes what the run was told and how it ended, for comparing runs.

        They go into a folder of their own inside the run's, named by the time.

        Args:
            parameters: value by name, such as ``batch_size``.
            metrics: value by whole tag, such as ``hparam/val/loss``; NaN is left out.
        """
        known = {k: float(v) for k, v in metrics.items() if not math.isnan(v)}
        self._writer.add_hparams(dict(parameters), known)

    def _image(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        self._writer.add_image(name, image, step, dataformats="HWC")


def _as_code(path: str) -> str:
    """Keeps TensorBoard, which shows text as Markdown, from reading ``___`` as bold."""
    return f"`` {path} ``" if "`" in path else f"`{path}`"
