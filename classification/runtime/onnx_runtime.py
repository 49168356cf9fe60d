"""ONNX Runtime, which reports to nobody how it is used."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


@cache
def load() -> ModuleType:
    """Imports ``onnxruntime``, and turns off the reports that it would make to its makers.

    Some releases keep them in the user's cache folder, until there is a network.
    """
    import onnxruntime  # noqa: PLC0415 - heavy

    onnxruntime.disable_telemetry_events()
    module: ModuleType = onnxruntime
    return module
