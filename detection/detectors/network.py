"""A YOLO network as a detector, whatever runs it.

An engine brings a function from frames to raw outputs; what comes before and after, the
letterbox, the decoding and the suppression of overlapping boxes, is here and the same
for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from classification.runtime.errors import ModelError
from detection.detectors import Prepared
from detection.detectors.heads import Candidates, Head, decode
from detection.detectors.letterbox import GREY, Letterbox, Placement
from detection.detectors.manifest import NOTHING_TOLD, Manifest
from detection.detectors.suppression import suppress
from detection.records import MEGADETECTOR_CATEGORIES, Detection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Boxes of one category that share more of their area than this are one animal.
OVERLAP = 0.45

Forward: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Frames [N, 3, height, width] to outputs [N, rows, columns]."""


@dataclass(frozen=True, kw_only=True)
class NetworkDetector:
    """A detector around a network.

    Attributes:
        forward: runs the network.
        head: layout of its output.
        letterbox: how it wants its input.
        categories: name by category id, in the order of the network's classes.
        batched: several images at once are faster; without it each image is run alone,
            so that its result cannot depend on its neighbours.
    """

    forward: Forward
    head: Head
    letterbox: Letterbox
    categories: Mapping[str, str]
    batched: bool = False

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        """Fits an image into the network's frame; see ``Detector.prepare``."""
        return Prepared(
            pixels=self.letterbox.apply(image),
            width_px=image.shape[1],
            height_px=image.shape[0],
        )

    def detect(
        self, batch: Sequence[Prepared], *, threshold: float
    ) -> list[tuple[Detection, ...]]:
        """Finds the boxes of each image; see ``Detector.detect``."""
        found: dict[int, tuple[Detection, ...]] = {}
        for group in self._groups(batch):
            frames = np.stack([batch[at].pixels for at in group])
            for at, output in zip(group, self.forward(frames), strict=True):
                found[at] = self._read(output, batch[at], threshold)
        return [found[at] for at in range(len(batch))]

    def _groups(self, batch: Sequence[Prepared]) -> list[list[int]]:
        """Says which images of the batch run together: those of one frame size."""
        if not self.batched:
            return [[at] for at in range(len(batch))]
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for at, prepared in enumerate(batch):
            by_shape.setdefault(prepared.pixels.shape, []).append(at)
        return list(by_shape.values())

    def _read(
        self, output: NDArray[np.float32], image: Prepared, threshold: float
    ) -> tuple[Detection, ...]:
        place = self.letterbox.place(image.width_px, image.height_px)
        candidates = decode(
            self.head,
            output,
            height_px=place.frame_height,
            width_px=place.frame_width,
            threshold=threshold,
        )
        return to_detections(
            candidates,
            place,
            categories=tuple(self.categories),
            overlap=None if self.head.suppressed else OVERLAP,
        )


def to_detections(
    candidates: Candidates,
    place: Placement,
    *,
    categories: Sequence[str],
    overlap: float | None,
) -> tuple[Detection, ...]:
    """Turns what a network says into detections, surest first.

    Boxes that lie beside the image are left out.

    Args:
        candidates: boxes in pixels of the frame.
        place: where the image is in the frame.
        categories: category id of each class.
        overlap: see ``suppress``; None where overlapping boxes are gone already.

    Raises:
        ModelError: a box is of a class that has no category.
    """
    candidates = _finite(candidates)
    if overlap is None:
        order = np.argsort(-candidates.scores, kind="stable")
    else:
        order = suppress(
            candidates.corners,
            candidates.scores,
            candidates.categories,
            overlap=overlap,
        )
    if candidates.categories.size and candidates.categories.max() >= len(categories):
        raise ModelError(
            f"the model found class {candidates.categories.max()}, but names only {len(categories)} classes"
        )
    found = (
        Detection(
            category=categories[candidates.categories[at]],
            bbox=place.to_box(candidates.corners[at]),
            conf=round(min(1.0, float(candidates.scores[at])), 3),
        )
        for at in order
    )
    return tuple(one for one in found if one.bbox.width > 0 and one.bbox.height > 0)


def _finite(candidates: Candidates) -> Candidates:
    """Leaves out boxes that are no numbers, and filler rows of no class."""
    good = np.isfinite(candidates.corners).all(axis=1) & (candidates.categories >= 0)
    return Candidates(
        candidates.corners[good], candidates.scores[good], candidates.categories[good]
    )


def letterbox_of(
    head: Head,
    *,
    width_px: int,
    height_px: int,
    stride_px: int | None = None,
    told: Manifest = NOTHING_TOLD,
) -> Letterbox:
    """Returns the letterbox of a family, but for what the model says otherwise.

    YOLOX takes pixels of 0 to 255, blue first, at the frame's top left; the others take
    them from 0 to 1, red first, in its middle.

    Args:
        head: tells the family.
        width_px: of the frame, at most.
        height_px: of the frame, at most.
        stride_px: see ``Letterbox``.
        told: what the model says of channels and fill.
    """
    is_yolox = head in {Head.YOLOX, Head.YOLOX_RAW}
    return Letterbox(
        width_px=width_px,
        height_px=height_px,
        stride_px=stride_px,
        centred=not is_yolox,
        fill=GREY if told.fill is None else told.fill,
        divisor=1.0 if is_yolox else 255.0,
        channels=told.channels or ("BGR" if is_yolox else "RGB"),
    )


def categories_of(
    named: Mapping[str, str] | None, classes: int | None
) -> dict[str, str]:
    """Returns name by category id, in the order of the network's classes.

    A model that does not name its classes and has as many as MegaDetector has
    MegaDetector's; any other number of them is numbered.

    Args:
        named: what the model or the table says; may be None.
        classes: number of the network's classes; None where it is not known.

    Raises:
        ModelError: the names are not as many as the classes.
    """
    if named:
        if classes is not None and classes != len(named):
            raise ModelError(
                f"the model has {classes} classes, but {len(named)} are named"
            )
        return dict(named)
    if classes in {None, len(MEGADETECTOR_CATEGORIES)}:
        return dict(MEGADETECTOR_CATEGORIES)
    return {str(at + 1): f"class {at + 1}" for at in range(classes or 0)}
