"""The crops of one image: opens it once, cuts each, saves each whole or not at all."""

from __future__ import annotations

import errno
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from classification.cropping.cut import Shape, plan
from classification.cropping.images import DEFAULT_MAX_PIXELS, open_image
from classification.cropping.pictures import open_picture
from classification.runtime import containment
from classification.runtime.atomic import replacing
from classification.runtime.errors import ItemError, StorageError
from classification.storage.local import read_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from classification.cropping.cut import Cut
    from classification.cropping.pictures import Picture
    from classification.cropping.wanted import WantedCrop
    from classification.storage import ImageStore

# Pillow's own default, with which the crops of every published classifier were saved.
DEFAULT_JPEG_QUALITY = 75

# What disks say of a name that they have no files of, such as a?.jpg on a memory card.
_NAME_REFUSED = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How crops are cut and saved.

    Attributes:
        shape: how a crop is laid around its box.
        jpeg_quality: 1 to 100; chroma is always halved in both directions (4:2:0).
        max_pixels: images of more pixels are not opened.
        apply_exif: boxes are fractions of the upright image.
        check_existing: a crop that exists counts only if it can be decoded.
    """

    shape: Shape = Shape.RECTANGLE
    jpeg_quality: int = DEFAULT_JPEG_QUALITY
    max_pixels: int = DEFAULT_MAX_PIXELS
    apply_exif: bool = True
    check_existing: bool = False


@dataclass(slots=True)
class Harvest:
    """What became of one image's crops.

    Attributes:
        image: the image's name.
        new: number of crops that were written.
        existing: number of crops that were there already.
        failures: (image or crop, reason) of what could not be done.
        notes: (image or crop, remark): an image read in an unusual way, a box that
            holds no pixel.
    """

    image: str
    new: int = 0
    existing: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)


def harvest(
    image: str,
    wanted: Sequence[WantedCrop],
    *,
    store: ImageStore,
    crops_dir: Path,
    settings: Settings,
) -> Harvest:
    """Cuts and saves the crops of one image that are missing.

    Args:
        image: name of the image in ``store``.
        wanted: its crops that are not known to exist.
        store: where the image is read, once, and only if a crop is missing.
        crops_dir: root of the crops; folders are made as needed.
        settings: how to cut and save.

    Raises:
        StorageError: the crops folder cannot be written, or the store reached.
    """
    result = Harvest(image)
    missing = list(wanted)
    if settings.check_existing:
        missing = [crop for crop in wanted if not is_decodable(crops_dir / crop.name)]
        result.existing = len(wanted) - len(missing)
    if not missing:
        return result
    try:
        picture = open_picture(
            store.read(image),
            max_pixels=settings.max_pixels,
            apply_exif=settings.apply_exif,
        )
        if picture.note:
            result.notes.append((image, picture.note))
        _cut_all(picture, missing, crops_dir, settings, result)
    except ItemError as error:
        result.failures.append((image, str(error)))
    return result


def is_decodable(crop: Path) -> bool:
    """Says whether the file exists and holds a whole image."""
    try:
        open_image(read_file(crop))
    except ItemError:
        return False
    return True


def _cut_all(
    picture: Picture,
    crops: Sequence[WantedCrop],
    crops_dir: Path,
    settings: Settings,
    result: Harvest,
) -> None:
    planned = _plan_all(picture, crops, settings.shape, result)
    if not planned:
        return
    parts = picture.read([cut.source for _, cut in planned])
    for (name, cut), part in zip(planned, parts, strict=True):
        crop = cut.render(part.image, left=part.left, top=part.top)
        try:
            path = containment.inside(crops_dir, name)
            save_crop(path, crop, settings.jpeg_quality)
        except ItemError as error:
            result.failures.append((name, str(error)))
        else:
            result.new += 1


def _plan_all(
    picture: Picture, crops: Sequence[WantedCrop], shape: Shape, result: Harvest
) -> list[tuple[str, Cut]]:
    planned = []
    for crop in crops:
        try:
            planned.append((crop.name, plan(crop.box, picture.size, shape)))
        except ItemError as error:
            result.notes.append((crop.name, str(error)))
    return planned


def save_crop(path: Path, crop: Image.Image, jpeg_quality: int) -> None:
    """Writes a crop as JPEG, without any metadata of the image it comes from.

    Raises:
        ItemError: this crop cannot be written: the disk has no files of its name, or
            its sides are too long.
        StorageError: no crop can be written: the folder or the disk refuses.
    """
    data = _encode(crop, jpeg_quality)
    try:
        with replacing(path, sync=False) as file:
            file.write(data)
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _NAME_REFUSED:
            raise ItemError(f"its name is refused: {cause.strerror}") from error
        raise


def _encode(crop: Image.Image, jpeg_quality: int) -> bytes:
    crop.info.clear()  # Pillow would copy the image's comment
    buffer = io.BytesIO()
    try:
        crop.save(buffer, "JPEG", quality=jpeg_quality)
    except OSError as error:
        raise ItemError(f"cannot be saved as JPEG: {error}") from error
    return buffer.getvalue()
