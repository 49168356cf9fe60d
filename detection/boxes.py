"""Boxes as fractions of their image."""

from __future__ import annotations

from typing import Annotated, Self

import msgspec

# Detectors round to four decimals, so a box may stick out by a hair; no more than this.
OVERHANG = 0.01

_Fraction = Annotated[float, msgspec.Meta(ge=-OVERHANG, le=1 + OVERHANG)]


class Box(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False
):
    """A box in fractions of the EXIF-upright image, each in [0, 1].

    In JSON it is the list ``[left, top, width, height]``, as MegaDetector writes it.
    """

    left: _Fraction
    top: _Fraction
    width: _Fraction
    height: _Fraction

    @property
    def right(self) -> float:
        """Returns the right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Returns the lower edge."""
        return self.top + self.height

    @classmethod
    def from_corners(cls, left: float, top: float, right: float, bottom: float) -> Self:
        """Returns the part of the rectangle that lies inside the image."""
        left, top = _clip(left), _clip(top)
        return cls(
            left,
            top,
            max(0.0, _clip(right) - left),
            max(0.0, _clip(bottom) - top),
        )


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))


def intersection_over_union(one: Box, other: Box) -> float:
    """Returns the shared area over the joint area, 0 where both are empty."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    shared = max(0.0, width) * max(0.0, height)
    joint = one.width * one.height + other.width * other.height - shared
    return min(1.0, shared / joint) if joint > 0 else 0.0
