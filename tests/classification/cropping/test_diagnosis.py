from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageFile

from classification.artifacts.image_status import ImageStatus, Status
from classification.cropping import diagnosis
from classification.runtime.errors import (
    AccessError,
    ItemError,
    StorageError,
    UnreachableError,
)
from classification.storage import ImageStore
from classification.storage.local import LocalStore
from tests.world import jpeg_bytes, photograph

if TYPE_CHECKING:
    from pathlib import Path

# Formats whose decoders can begin before the end of the file is there.
FORMATS = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("GIF", {}),
    ("BMP", {}),
    ("TIFF", {}),
]


def encoded(kind: str, options: dict[str, bool]) -> bytes:
    buffer = io.BytesIO()
    photograph(160, 120).save(buffer, kind, **options)
    return buffer.getvalue()


def diagnose(folder: Path, data: bytes, name: str = "a.jpg") -> ImageStatus:
    (folder / name).write_bytes(data)
    return diagnosis.diagnose(name, LocalStore(folder))


def loads_leniently(data: bytes, monkeypatch: pytest.MonkeyPatch) -> bool:
    """What the original asks, with the switch of the whole process."""
    with monkeypatch.context() as patch:
        patch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        try:
            Image.open(io.BytesIO(data)).load()
        except (OSError, SyntaxError):
            return False
        return True


@pytest.mark.parametrize(("kind", "options"), FORMATS)
def test_a_whole_image_is_good(
    kind: str, options: dict[str, bool], tmp_path: Path
) -> None:
    found = diagnose(tmp_path, encoded(kind, options))
    assert found == ImageStatus("a.jpg", Status.GOOD)


@pytest.mark.parametrize(("kind", "options"), FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9, 0.99])
def test_d55_truncated_is_what_loads_only_with_truncated_loading(
    kind: str,
    options: dict[str, bool],
    share: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = encoded(kind, options)
    data = whole[: int(len(whole) * share)]
    found = diagnose(tmp_path, data)
    expected = loads_leniently(data, monkeypatch)
    assert (found.status is Status.TRUNCATED) == expected
    assert found.status in {Status.TRUNCATED, Status.BAD}
    assert found.reason
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_damage_in_the_middle_is_bad(tmp_path: Path) -> None:
    data = bytearray(encoded("PNG", {}))
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    assert diagnose(tmp_path, bytes(data)).status is Status.BAD


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<html>not found</html>", "not an image file"),
        (jpeg_bytes(Image.new("L", (8000, 7000))), "8000 x 7000 pixels are more"),
    ],
    ids=["empty", "html", "large"],
)
def test_what_cannot_be_used_is_bad(tmp_path: Path, data: bytes, reason: str) -> None:
    found = diagnose(tmp_path, data)
    assert found.status is Status.BAD
    assert reason in found.reason


@pytest.mark.parametrize("name", ["notes.txt", "a.jpg\n", "jpg", "a.jpg.part"])
def test_another_ending_is_no_image(tmp_path: Path, name: str) -> None:
    found = diagnosis.diagnose(name, LocalStore(tmp_path))
    assert found == ImageStatus(name, Status.NON_IMAGE)


def test_a_missing_image_is_nonexistent(tmp_path: Path) -> None:
    found = diagnosis.diagnose("z.jpg", LocalStore(tmp_path))
    assert found == ImageStatus("z.jpg", Status.NONEXISTENT, "no such file")


@pytest.mark.parametrize("error", [UnreachableError("HTTP 503"), ItemError("HTTP 403")])
def test_d10_what_cannot_be_told_is_not_taken_for_missing(error: Exception) -> None:
    class Closed(ImageStore):
        def load(self, _: str) -> tuple[bytes, None]:
            raise error

        def stamp(self, _: str) -> None:
            raise error

        def exists(self, _: str) -> bool:
            raise StorageError(str(error))

    found = diagnosis.diagnose("a.jpg", Closed())
    assert found == ImageStatus("a.jpg", Status.UNREACHABLE, str(error))


def test_a_closed_door_is_no_images_fault() -> None:
    class Shut(ImageStore):
        def load(self, _: str) -> tuple[bytes, None]:
            raise ItemError("HTTP 403")

        def stamp(self, _: str) -> None:
            raise ItemError("HTTP 403")

        def exists(self, _: str) -> bool:
            raise AccessError("the token has expired")

    with pytest.raises(AccessError):
        diagnosis.diagnose("a.jpg", Shut())
