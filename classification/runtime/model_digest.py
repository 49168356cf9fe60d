"""What tells a model from every other: a digest of all files that it consists of."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from classification.runtime import onnx_files
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path


def digest_of(model: Path) -> str:
    """Return the SHA-256 of a model's file, or of those of all its files.

    An ONNX model may have its weights in files of their own. Where there are several
    files, it is the SHA-256 of their hex digests, one a line, the model's first.

    Args:
        model: a model file of any kind.

    Raises:
        ModelError: a file of it is missing, cannot be read, or lies elsewhere.
    """
    is_onnx = model.suffix.lower() == ".onnx"
    files = onnx_files.files_of(model) if is_onnx else (model,)
    digests = [_sha256_of(file) for file in files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _sha256_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
