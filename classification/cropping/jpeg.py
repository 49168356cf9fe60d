"""Decodes only the part of a JPEG that is asked for, to the same pixels as the whole.

The rows above the part must still be read, bit by bit, but the costly steps (inverse
transform, colours) are skipped for them and for the columns beside it; the rows below
are not touched. That is what libjpeg-turbo offers, and nvImageCodec hands through; on the
CPU it needs neither a driver nor CUDA. Where it is not installed (it has no macOS wheel),
callers decode the whole image instead.

Only files that leave no room for doubt are decoded this way: baseline or extended
sequential, eight-bit, YCbCr, in one scan, with nothing but image data from the scan's
start to the end-of-image marker. A truncated file has no such marker, so it is refused
or let through by the same decoder as ever. Damage *below* the part goes unnoticed.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import re
import sys
import threading
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classification.runtime import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from classification.cropping.cut import Rectangle

# Colour is stored at half the resolution or less and interpolated from its neighbours;
# with one pixel more around it, a part's own pixels come out as in the whole. Eight are
# cheap, and leave no doubt.
MARGIN_PX = 8

MOST_SCANS = 100

_MARK = 0xFF  # begins every marker, and may be repeated
_START, _SCAN, _ADOBE, _END = 0xD8, 0xDA, 0xEE, 0xD9
_SEQUENTIAL = frozenset({0xC0, 0xC1})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_YCBCR = 1
_BITS = 8
_COMPONENTS = bytes((1, 2, 3))

# Within a scan, 0xFF is followed by 0 (a data byte), a restart marker, or another 0xFF.
_MARKER_AFTER_DATA = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

_logger = logging.getLogger(__name__)
_loading = threading.Lock()
_of_thread = threading.local()


def can_decode_part(data: bytes) -> bool:
    """Says whether ``decode_part`` may be asked: the file is plain, the decoder there."""
    return is_plain(data) and load_decoder() is not None


def is_plain(data: bytes) -> bool:
    """Says whether a part of the JPEG ``data`` is sure to decode as in the whole."""
    try:
        scan_start = _scan_start(data)
    except IndexError:  # it ends within its header
        return False
    if scan_start is None:
        return False
    marker = _MARKER_AFTER_DATA.search(data, scan_start)
    return marker is not None and data[marker.start() + 1] == _END


def has_many_scans(data: bytes) -> bool:
    """Says whether the JPEG ``data`` has more than ``MOST_SCANS`` scans.

    Each goes over all pixels, however few bytes it has itself: a file of 350 KB can keep
    a decoder busy for minutes. Photographs have one; progressive ones about ten.
    """
    if data.count(bytes((_MARK, _SCAN))) <= MOST_SCANS:
        return False  # and so it is with nearly all files, without a closer look
    scans, position = 0, 2
    while marker := _MARKER_AFTER_DATA.search(data, position):
        kind, start = data[marker.end() - 1], marker.end()
        if kind == _END:
            break
        scans += kind == _SCAN
        position = start + int.from_bytes(data[start : start + 2], "big")
    return scans > MOST_SCANS


def _scan_start(data: bytes) -> int | None:
    """Returns where the only scan's data begins, or None if the file is not plain."""
    frame_seen = False
    for marker, start, end in _segments(data):
        if marker in _FRAMES:
            if marker not in _SEQUENTIAL or not _is_eight_bit_ycbcr(data[start:end]):
                return None
            frame_seen = True
        elif marker == _ADOBE and not _is_ycbcr_by_adobe(data[start:end]):
            return None
        elif marker == _SCAN:
            whole = frame_seen and data[start] == len(_COMPONENTS)
            return end if whole else None
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields (marker, first byte, byte after the last) of each segment of the header."""
    if data[:2] != bytes((_MARK, _START)):
        return
    position = 2
    while data[position] == _MARK:
        while data[position] == _MARK:
            position += 1
        marker = data[position]
        length = data[position + 1] << 8 | data[position + 2]
        yield marker, position + 3, position + 1 + length
        position += 1 + length


def _is_eight_bit_ycbcr(frame: bytes) -> bool:
    bits, components, ids = frame[0], frame[5], frame[6::3]
    return (bits, components, ids) == (_BITS, len(_COMPONENTS), _COMPONENTS)


def _is_ycbcr_by_adobe(segment: bytes) -> bool:
    return not segment.startswith(b"Adobe") or segment[11] == _YCBCR


def decode_part(data: bytes, part: Rectangle) -> NDArray[np.uint8] | None:
    """Decodes a part of a plain JPEG, as stored: EXIF orientation is not applied.

    Args:
        data: the file; ``can_decode_part`` said yes to it.
        part: what to decode, inside the stored image, not empty. Its outermost
            ``MARGIN_PX`` pixels may differ from the whole image's, unless they are
            at the image's own border.

    Returns:
        Pixels of shape [part.height, part.width, 3], RGB, or None if the decoder would
        not do it (damaged data); the caller decodes the whole image then.
    """
    nvimgcodec = load_decoder()
    if nvimgcodec is None:
        return None
    try:
        region = nvimgcodec.Region(part.top, part.left, part.bottom, part.right)
        stream = nvimgcodec.CodeStream(data).get_sub_code_stream(region=region)
        image = _decoder_of_this_thread(nvimgcodec).decode(
            stream, params=nvimgcodec.DecodeParams(apply_exif_orientation=False)
        )
        pixels = None if image is None else np.asarray(image.cpu())
    except Exception:  # a native decoder fed with hostile bytes raises anything
        _logger.debug("nvImageCodec failed; decoding the whole image", exc_info=True)
        return None
    if pixels is None or pixels.shape != (part.height, part.width, 3):
        return None
    return pixels


def _decoder_of_this_thread(nvimgcodec: Any) -> Any:  # noqa: ANN401 - no types are shipped
    if not hasattr(_of_thread, "decoder"):
        _of_thread.decoder = nvimgcodec.Decoder(
            device_id=nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY,
            max_num_cpu_threads=1,
            backends=[nvimgcodec.Backend(nvimgcodec.CPU_ONLY)],
        )
    return _of_thread.decoder


def load_decoder() -> Any:  # noqa: ANN401 - no types are shipped
    """Returns the module ``nvidia.nvimgcodec``, or None where it is not installed."""
    with _loading:
        return _load()


@functools.cache
def _load() -> Any:  # noqa: ANN401 - no types are shipped
    is_there = sys.platform == "linux" and find_spec("nvidia") is not None
    spec = find_spec("nvidia.nvimgcodec") if is_there else None
    if spec is None or spec.origin is None:
        return None
    try:
        with _only_jpeg(Path(spec.origin).parent / "extensions"):
            module = importlib.import_module("nvidia.nvimgcodec")
    except ImportError as error:
        _logger.debug("nvImageCodec cannot be loaded: %s", error)
        return None
    return module if hasattr(module, "NVIMGCODEC_DEVICE_CPU_ONLY") else None


@contextmanager
def _only_jpeg(extensions: Path) -> Iterator[None]:
    """Lets nvImageCodec find its CPU JPEG codec alone.

    Its other codecs print to stderr that CUDA libraries are missing, and would be more
    native code that an image file can reach.
    """
    with scratch.folder("ct-codecs-") as folder:
        with scratch.told():
            for file in extensions.glob("libjpeg_turbo_ext.so*"):
                (folder / file.name).symlink_to(file)
        settings = {
            "NVIMGCODEC_EXTENSIONS_PATH": str(folder),
            "PYNVIMGCODEC_VERBOSITY": "0",
        }
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
