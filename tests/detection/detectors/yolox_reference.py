"""YOLOX-tiny written a second time, as torch modules: what the graph is compared with.

Attributes are named as the keys of the published state dict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTHS = (24, 48, 96, 192, 384)  # channels of stem, dark2 to dark5
_HEAD_WIDTH = 96
_LEVELS = range(3)


class _Conv(nn.Module):
    """Convolution, batch normalisation, SiLU; keeps the size where stride is 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(self.bn(self.conv(x)))


class _Focus(nn.Module):
    """Moves each 2 x 2 block of pixels into channels, then convolves."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _Conv(inputs * 4, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        # columns change slower than rows: left above, left below, right above, right below
        corners = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(corners, dim=1))


class _Bottleneck(nn.Module):
    def __init__(self, width: int, *, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = _Conv(width, width, 1)
        self.conv2 = _Conv(width, width, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class _CrossStage(nn.Module):
    """Sends half of the channels through bottlenecks and joins both halves."""

    def __init__(
        self, inputs: int, outputs: int, *, depth: int = 1, shortcut: bool = False
    ) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = _Conv(inputs, half, 1)
        self.conv2 = _Conv(inputs, half, 1)
        self.conv3 = _Conv(2 * half, outputs, 1)
        self.m = nn.Sequential(
            *(_Bottleneck(half, shortcut=shortcut) for _ in range(depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat((self.m(self.conv1(x)), self.conv2(x)), dim=1)
        out: Tensor = self.conv3(joined)
        return out


class _PyramidPooling(nn.Module):
    """Joins the maximum over windows of four sizes."""

    windows = (5, 9, 13)

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.conv1 = _Conv(width, half, 1)
        self.conv2 = _Conv(half * (1 + len(self.windows)), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        pooled = [
            nn.functional.max_pool2d(y, window, stride=1, padding=window // 2)
            for window in self.windows
        ]
        out: Tensor = self.conv2(torch.cat((y, *pooled), dim=1))
        return out


class _Darknet(nn.Module):
    """The backbone; gives features at strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        stem, two, three, four, five = _WIDTHS
        self.stem = _Focus(3, stem)
        self.dark2 = nn.Sequential(
            _Conv(stem, two, 3, 2), _CrossStage(two, two, shortcut=True)
        )
        self.dark3 = nn.Sequential(
            _Conv(two, three, 3, 2), _CrossStage(three, three, depth=3, shortcut=True)
        )
        self.dark4 = nn.Sequential(
            _Conv(three, four, 3, 2), _CrossStage(four, four, depth=3, shortcut=True)
        )
        self.dark5 = nn.Sequential(
            _Conv(four, five, 3, 2), _PyramidPooling(five), _CrossStage(five, five)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.dark3(self.dark2(self.stem(x)))
        middle = self.dark4(fine)
        return fine, middle, self.dark5(middle)


class _Pyramid(nn.Module):
    """Passes coarse features down to the fine ones, and fine ones up again."""

    def __init__(self) -> None:
        super().__init__()
        _, _, three, four, five = _WIDTHS
        self.backbone = _Darknet()
        self.lateral_conv0 = _Conv(five, four, 1)
        self.C3_p4 = _CrossStage(2 * four, four)
        self.reduce_conv1 = _Conv(four, three, 1)
        self.C3_p3 = _CrossStage(2 * three, three)
        self.bu_conv2 = _Conv(three, three, 3, 2)
        self.C3_n3 = _CrossStage(2 * three, four)
        self.bu_conv1 = _Conv(four, four, 3, 2)
        self.C3_n4 = _CrossStage(2 * four, five)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = self.backbone(x)
        coarse = self.lateral_conv0(coarse)
        middle = self.reduce_conv1(self.C3_p4(_join(_doubled(coarse), middle)))
        fine = self.C3_p3(_join(_doubled(middle), fine))
        middle = self.C3_n3(_join(self.bu_conv2(fine), middle))
        coarse = self.C3_n4(_join(self.bu_conv1(middle), coarse))
        return fine, middle, coarse


class _DecoupledHead(nn.Module):
    """Says of each cell: box (raw), objectness, probability of each class."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        width = _HEAD_WIDTH
        self.stems = nn.ModuleList(_Conv(inputs, width, 1) for inputs in _WIDTHS[2:])
        self.cls_convs = nn.ModuleList(_two_convs(width) for _ in _LEVELS)
        self.reg_convs = nn.ModuleList(_two_convs(width) for _ in _LEVELS)
        self.cls_preds = nn.ModuleList(nn.Conv2d(width, classes, 1) for _ in _LEVELS)
        self.reg_preds = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in _LEVELS)
        self.obj_preds = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in _LEVELS)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        levels = [self._level(at, x).flatten(2) for at, x in enumerate(features)]
        return torch.cat(levels, dim=2).transpose(1, 2)

    def _level(self, at: int, x: Tensor) -> Tensor:
        x = self.stems[at](x)
        box_features = self.reg_convs[at](x)
        return torch.cat(
            (
                self.reg_preds[at](box_features),
                self.obj_preds[at](box_features).sigmoid(),
                self.cls_preds[at](self.cls_convs[at](x)).sigmoid(),
            ),
            dim=1,
        )


def _two_convs(width: int) -> nn.Sequential:
    return nn.Sequential(_Conv(width, width, 3), _Conv(width, width, 3))


def _doubled(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _join(one: Tensor, other: Tensor) -> Tensor:
    return torch.cat((one, other), dim=1)


class YoloxTiny(nn.Module):
    """YOLOX-tiny.

    Input: RGB pixels from 0 to 255, float32 [N, 3, height, width], sides multiples of
    32. Output: ``heads.Head.YOLOX_RAW``, float32 [N, cells, 5 + classes].
    """

    def __init__(self, classes: int = 1) -> None:
        """Builds the network with random weights."""
        super().__init__()
        self.backbone = _Pyramid()
        self.head = _DecoupledHead(classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the raw output of every cell, fine cells first, row by row."""
        out: Tensor = self.head(self.backbone(x))
        return out


def random_network(classes: int = 1, *, seed: int = 0) -> YoloxTiny:
    """Returns a network whose weights are random, and differ in every channel."""
    torch.manual_seed(seed)
    network = YoloxTiny(classes)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()
