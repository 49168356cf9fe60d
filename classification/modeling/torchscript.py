"""Opens TorchScript files: a traced network is translated to ONNX, not run.

A TorchScript file is a program. What tracing leaves of a network is data enough to write
it down as ONNX (``model_files.traced``), so it runs without torch and does nothing but
compute. All else needs trust, and torch (``torch_inference.from_torchscript``).
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from typing import TYPE_CHECKING

from classification.model_files import torch_files
from classification.model_files.pickles import DamagedFileError, NotDataError
from classification.modeling.onnx import OnnxClassifier
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from classification.model_files.traced import Translation
    from classification.modeling.inference import Resources
    from classification.modeling.manifest import Calibration
    from classification.modeling.preprocessing import Preprocessing

IMAGE_SIZE = 224  # what the original's --image-size is by default, in pixels

_OVERRIDE = "--trust-model loads it with torch, which runs whatever it says"
# What remains when torch's notes for debugging, such as a machine's folders, are left out.
_KEPT = re.compile(
    r"(?:\.data/)?version|byteorder|data\.pkl|constants\.pkl|(?:data|constants)/\d+"
    r"|code/__torch__(?:/\w+)*\.py"
)


def translate(data: bytes, image_size: int) -> Translation:
    """Translates a traced TorchScript file.

    Args:
        data: the bytes of the file.
        image_size: side of the input in pixels.

    Raises:
        ModelError: it is damaged, or more than a traced network; names the first such
            thing and the way round.
    """
    from classification.model_files import traced  # noqa: PLC0415 - onnx is heavy; only for such files

    try:
        archive = torch_files.read_torchscript(io.BytesIO(data))
        return traced.translate(archive, image_size)
    except NotDataError as error:
        raise ModelError(f"refused for {error}; {_OVERRIDE}") from error
    except DamagedFileError as error:
        raise ModelError(f"damaged TorchScript archive: {error}") from error


def open_classifier(
    data: bytes,
    preprocessing: Preprocessing,
    resources: Resources,
    categories: tuple[str, ...] | None = None,
    calibration: Calibration | None = None,
) -> OnnxClassifier:
    """Makes a classifier of the bytes of a traced TorchScript file, without torch.

    Args:
        data: the bytes of the file.
        preprocessing: what the input goes through.
        resources: device and threads.
        categories: names of the outputs; ``0``, ``1``, … by default.
        calibration: what its probabilities go through, or None.

    Raises:
        ModelError: see ``translate``, or it has another number of outputs.
        ConfigurationError: the device is not there.
    """
    translation = translate(data, preprocessing.image_size)
    names = categories or tuple(str(at) for at in range(translation.outputs))
    classifier = OnnxClassifier(
        translation.data, names, preprocessing, resources, calibration
    )
    classifier.fingerprint = hashlib.sha256(data).hexdigest()
    return classifier


def rebuild(data: bytes, image_size: int = IMAGE_SIZE) -> bytes:
    """Writes a traced TorchScript file anew, without torch's notes for debugging.

    Args:
        data: the bytes of the file.
        image_size: side of the input in pixels.

    Raises:
        ModelError: see ``translate``: ``run_classifier`` would not take it.
    """
    translate(data, image_size)
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as archive,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target,
    ):
        for info in archive.infolist():
            name = info.filename.partition("/")[2]
            if _KEPT.fullmatch(name):
                target.writestr(zipfile.ZipInfo(f"model/{name}"), archive.read(info))
    return buffer.getvalue()
