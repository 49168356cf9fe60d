from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from classification.cropping import jpeg
from classification.cropping.cut import Rectangle
from tests.world import jpeg_bytes, photograph, pixels

needs_decoder = pytest.mark.skipif(
    jpeg.load_decoder() is None, reason="nvImageCodec is not installed"
)
SCENE = photograph(200, 150)


def encoded(scene: Image.Image = SCENE, **options: object) -> bytes:
    buffer = io.BytesIO()
    scene.save(buffer, "JPEG", **options)  # type: ignore[arg-type]  # what Pillow takes
    return buffer.getvalue()


PLAIN = encoded()


@needs_decoder
@given(
    width=st.integers(1, 150),
    height=st.integers(1, 150),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0", "4:1:1"]),
    restarts=st.booleans(),
    data=st.data(),
)
@settings(max_examples=80)
def test_the_pixels_of_a_part_are_those_of_the_whole(
    *, width: int, height: int, subsampling: str, restarts: bool, data: st.DataObject
) -> None:
    options = {"restart_marker_rows": 1} if restarts else {}
    file = encoded(
        SCENE.crop((0, 0, width, height)), subsampling=subsampling, **options
    )
    left, top = (
        data.draw(st.integers(0, width - 1)),
        data.draw(st.integers(0, height - 1)),
    )
    inner = Rectangle(
        left,
        top,
        data.draw(st.integers(left + 1, width)),
        data.draw(st.integers(top + 1, height)),
    )
    part = inner.grown(jpeg.MARGIN_PX).clipped((width, height))
    decoded = jpeg.decode_part(file, part)
    assert decoded is not None
    whole = pixels(Image.open(io.BytesIO(file)))
    cut = inner.moved(-part.left, -part.top)
    assert np.array_equal(
        decoded[cut.top : cut.bottom, cut.left : cut.right],
        whole[inner.top : inner.bottom, inner.left : inner.right],
    )


@needs_decoder
def test_orientation_is_left_to_the_caller() -> None:
    file = jpeg_bytes(SCENE, orientation=6)
    decoded = jpeg.decode_part(file, Rectangle(0, 0, 200, 150))
    assert decoded is not None
    assert decoded.shape == (150, 200, 3)


def test_a_camera_file_is_plain() -> None:
    assert jpeg.is_plain(PLAIN)
    assert jpeg.is_plain(encoded(restart_marker_rows=2, comment=b"\xff\xd9 trap 4"))
    assert jpeg.is_plain(PLAIN + b"\0\0trailing bytes of a camera")


def with_frame_byte(position: int, value: int) -> bytes:
    file = bytearray(PLAIN)
    file[file.index(b"\xff\xc0") + 4 + position] = value
    return bytes(file)


@pytest.mark.parametrize(
    ("what", "file"),
    [
        ("truncated in its pixels", PLAIN[:-500]),
        ("truncated in its header", PLAIN[:100]),
        ("empty", b""),
        ("another format", b"\x89PNG\r\n\x1a\n" + bytes(50)),
        ("progressive", encoded(progressive=True)),
        ("grey", encoded(SCENE.convert("L"))),
        ("CMYK", encoded(SCENE.convert("CMYK"))),
        ("RGB without a transform", encoded(keep_rgb=True)),
        ("12 bits", with_frame_byte(0, 12)),
        ("components of other names", with_frame_byte(6, ord("R"))),
        ("a scan of its own for each colour", PLAIN.replace(b"\xff\xda\0\x0c\3", b"\xff\xda\0\x0c\1")),
        ("a marker amid the data", PLAIN[:-400] + b"\xff\xc4" + PLAIN[-398:]),
        ("no frame", PLAIN.replace(b"\xff\xc0", b"\xff\xe5")),
    ],
)  # fmt: skip
def test_other_files_are_not(what: str, file: bytes) -> None:
    assert not jpeg.is_plain(file), what


@needs_decoder
def test_a_part_outside_the_image_is_refused_quietly() -> None:
    assert jpeg.decode_part(PLAIN, Rectangle(5, 5, 5, 5)) is None
    assert jpeg.decode_part(b"no image", Rectangle(0, 0, 5, 5)) is None


@needs_decoder
def test_loading_is_silent_and_leaves_the_environment_alone() -> None:
    code = (
        "import os; before = dict(os.environ)\n"
        "from classification.cropping import jpeg\n"
        "assert jpeg.load_decoder() is not None\n"
        "assert dict(os.environ) == before\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=os.environ
    )
    assert done.stdout + done.stderr == b""


def test_without_the_decoder_nothing_is_plain_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jpeg, "load_decoder", lambda: None)
    assert not jpeg.can_decode_part(PLAIN)
    assert jpeg.decode_part(PLAIN, Rectangle(0, 0, 5, 5)) is None
