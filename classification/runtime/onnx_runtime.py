"""ONNX Runtime, which reports to nobody how it is used, and opens nothing but ONNX."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classification.runtime import containment
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    Provider = str | tuple[str, dict[str, int]]

_ERRORS, _NOTHING = 3, 4  # how much is logged


@cache
def load() -> ModuleType:
    """Import ``onnxruntime`` with its reports to its makers turned off.

    The environment, which ``classification/__init__.py`` sets, turns them off on Linux
    and macOS before it is imported; on Windows its own function does.
    """
    import onnxruntime  # noqa: PLC0415 - heavy

    onnxruntime.disable_telemetry_events()
    module: ModuleType = onnxruntime
    return module


def open_session(
    model: bytes | Path,
    providers: Sequence[Provider] = ("CPUExecutionProvider",),
    *,
    threads: int = 1,
    folder: Path | None = None,
    quiet: bool = False,
) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """Open a model to be run.

    Args:
        model: an ONNX file that ``onnx_files`` has checked, or the bytes of one.
        providers: what it runs on, the best first.
        threads: processor threads of one run.
        folder: where the files of external tensors are, for a model given as bytes.
        quiet: log no errors either; all of them are raised.

    Raises:
        ModelError: its path is not UTF-8.
        Exception: onnxruntime's errors share no base class but this.
    """
    if isinstance(model, Path) and not containment.is_utf8(str(model.absolute())):
        raise ModelError(
            f"{model}: a name in its path is not UTF-8, which ONNX Runtime does not "
            "open; rename that folder or file"
        )
    settings = load().SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _NOTHING if quiet else _ERRORS
    # Threads that wait for work by spinning take the cores from those that decode.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # It would take a file of its own format for an ONNX file, and nothing has read that.
    settings.add_session_config_entry("session.load_model_format", "ONNX")
    if folder is not None and containment.is_utf8(str(folder.resolve())):
        settings.add_session_config_entry(
            "session.model_external_initializers_file_folder_path",
            os.fspath(folder.resolve()),
        )
    return load().InferenceSession(model, settings, providers=list(providers))
