"""The crops of one image: those of something else, and those that are missing, are cut."""

from __future__ import annotations

import errno
import io
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from classification.artifacts import crop_record
from classification.artifacts.crop_index import Entry
from classification.artifacts.crop_record import ANOTHER_IMAGE, Geometry
from classification.cropping.cut import Shape, plan
from classification.cropping.images import DEFAULT_MAX_PIXELS, open_image
from classification.cropping.pictures import open_picture
from classification.runtime import containment
from classification.runtime.atomic import replacing
from classification.runtime.contents import Contents, Stamp, digest
from classification.runtime.errors import ItemError, StorageError
from classification.storage import changes
from classification.storage.local import read_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from classification.artifacts.crop_record import CropRecord
    from classification.cropping.cut import Cut
    from classification.cropping.pictures import Picture
    from classification.storage import ImageStore

# Pillow's own default, with which the crops of every published classifier were saved.
DEFAULT_JPEG_QUALITY = 75
DAMAGED = "damaged"

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

    @property
    def geometry(self) -> Geometry:
        """Return what of it shapes the pixels of a crop."""
        return Geometry(
            shape=self.shape.value,
            jpeg_quality=self.jpeg_quality,
            ignore_exif=not self.apply_exif,
        )


class Target(NamedTuple):
    """A crop that is wanted, and the one that is there.

    Attributes:
        name: its file, relative to the crops folder.
        record: what it is to be cut from; the digest of the image is not known yet.
        found: what is known of the crop that is there; None where there is none.
        reason: why that is another one than is wanted; empty where it may stay.
    """

    name: str
    record: CropRecord
    found: Entry | None = None
    reason: str = ""


class Written(NamedTuple):
    """A crop that was cut: its name, and what is known of it."""

    name: str
    entry: Entry


@dataclass(slots=True)
class Harvest:
    """What became of one image's crops.

    Attributes:
        image: the image's name.
        contents: what the image is now; None where it was not looked at.
        existing: crops that were there already, and stay.
        written: crops that were cut.
        removed: crops that were there, are of something else, and could not be cut anew.
        anew: why crops that were there were cut anew or removed, one reason for each.
        unseen: why the image could not be compared with the crops that are there.
        failures: (image or crop, reason) of what could not be done.
        notes: (image or crop, remark): an image read in an unusual way, a box that
            holds no pixel.
    """

    image: str
    contents: Contents | None = None
    existing: list[Target] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    anew: list[str] = field(default_factory=list)
    unseen: str = ""
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)


def harvest(  # noqa: PLR0913 - one image, and all that shapes its crops
    image: str,
    wanted: Sequence[Target],
    *,
    store: ImageStore,
    crops_dir: Path,
    settings: Settings,
    verify: bool = False,
) -> Harvest:
    """Cut and save the crops of one image that are missing or of something else.

    Args:
        image: name of the image in ``store``.
        wanted: its crops.
        store: where the image is read, once, if a crop is to be cut. Else only its stamp
            is asked for, if a crop knows that of the image it was cut from.
        crops_dir: root of the crops; folders are made as needed.
        settings: how to cut and save.
        verify: compare the image's bytes, whatever its stamp.

    Raises:
        StorageError: the crops folder cannot be written, or the store reached.
    """
    result = Harvest(image)
    if settings.check_existing:
        wanted = [_checked(crop, crops_dir) for crop in wanted]
    missing = [crop for crop in wanted if crop.found is None or crop.reason]
    kept = [crop for crop in wanted if crop.found and not crop.reason]
    data = None
    try:
        if missing:
            data, result.contents = _load(store, image)
        else:
            result.contents = _look(store, image, kept, result, verify=verify)
        if now := result.contents:
            stale = [crop for crop in kept if _is_of_another(crop, now)]
            kept = [crop for crop in kept if crop not in stale]
            missing += [crop._replace(reason=ANOTHER_IMAGE) for crop in stale]
        if missing:
            if data is None:
                data, result.contents = _load(store, image)
            picture = open_picture(
                data, max_pixels=settings.max_pixels, apply_exif=settings.apply_exif
            )
            if picture.note:
                result.notes.append((image, picture.note))
            _cut_all(picture, missing, crops_dir, settings, result)
    except ItemError as error:
        result.failures.append((image, str(error)))
    result.existing = kept
    result.anew = [crop.reason for crop in missing if crop.reason]
    _remove_stale(missing, crops_dir, result)
    return result


def _checked(crop: Target, crops_dir: Path) -> Target:
    if crop.found is None or crop.reason or is_decodable(crops_dir / crop.name):
        return crop
    return crop._replace(reason=DAMAGED)


def _load(store: ImageStore, image: str) -> tuple[bytes, Contents]:
    data, stamp = store.load(image)
    return data, Contents(digest(data), stamp)


def _look(
    store: ImageStore,
    image: str,
    kept: Sequence[Target],
    result: Harvest,
    *,
    verify: bool,
) -> Contents | None:
    """Return what the image of crops is now; None where they or the store tell nothing."""
    known = {
        Contents(record.image_digest, found.image)
        for crop in kept
        if (found := crop.found)
        and (record := found.record)
        and record.image_digest is not None
    }
    if not known:
        return None
    try:
        several = len(known) > 1  # a run that cut them anew was killed
        return changes.current(store, image, known.pop(), verify=verify or several)
    except ItemError as error:
        result.unseen = str(error)
        return None


def _is_of_another(crop: Target, contents: Contents) -> bool:
    """Say whether a crop that is there was cut from another image than there is now."""
    record = crop.found.record if crop.found else None
    return record is not None and record.image_digest not in {None, contents.digest}


def is_decodable(crop: Path) -> bool:
    """Says whether the file exists and holds a whole image."""
    try:
        open_image(read_file(crop))
    except ItemError:
        return False
    return True


def _remove_stale(missing: Sequence[Target], crops_dir: Path, result: Harvest) -> None:
    """Remove crops of something else that could not be cut anew.

    Raises:
        StorageError: one cannot be removed.
    """
    written = {crop.name for crop in result.written}
    for crop in missing:
        if crop.reason not in {"", DAMAGED} and crop.name not in written:
            remove_crop(crops_dir, crop.name)
            result.removed.append(crop.name)


def remove_crop(crops_dir: Path, name: str) -> None:
    """Remove a crop, if it is there.

    Raises:
        StorageError: it cannot be removed.
    """
    path = crops_dir / name
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot remove {path}: {error.strerror}") from error


def _cut_all(
    picture: Picture,
    crops: Sequence[Target],
    crops_dir: Path,
    settings: Settings,
    result: Harvest,
) -> None:
    planned = _plan_all(picture, crops, settings.shape, result)
    if not planned or result.contents is None:
        return
    image_digest, stamp = result.contents
    parts = picture.read([cut.source for _, cut in planned])
    for (wanted, cut), part in zip(planned, parts, strict=True):
        crop = cut.render(part.image, left=part.left, top=part.top)
        record = msgspec.structs.replace(wanted.record, image_digest=image_digest)
        try:
            path = containment.inside(crops_dir, wanted.name)
            saved = save_crop(path, crop, record)
        except ItemError as error:
            result.failures.append((wanted.name, str(error)))
        else:
            result.written.append(Written(wanted.name, Entry(saved, record, stamp)))


def _plan_all(
    picture: Picture, crops: Sequence[Target], shape: Shape, result: Harvest
) -> list[tuple[Target, Cut]]:
    planned = []
    for crop in crops:
        try:
            planned.append((crop, plan(crop.record.box, picture.size, shape)))
        except ItemError as error:
            result.notes.append((crop.name, str(error)))
    return planned


def save_crop(path: Path, crop: Image.Image, record: CropRecord) -> Stamp:
    """Write a crop as JPEG, with its record and no other metadata.

    Returns:
        The stamp of its file.

    Raises:
        ItemError: this crop cannot be written: the disk has no files of its name, or
            its sides are too long.
        StorageError: no crop can be written: the folder or the disk refuses.
    """
    data = crop_record.insert(_encode(crop, record.geometry.jpeg_quality), record)
    try:
        with replacing(path, sync=False, follow=False) as file:
            file.write(data)
            file.flush()
            status = os.fstat(file.fileno())
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _NAME_REFUSED:
            raise ItemError(f"its name is refused: {cause.strerror}") from error
        raise
    return Stamp(status.st_size, status.st_mtime_ns)


def _encode(crop: Image.Image, jpeg_quality: int) -> bytes:
    crop.info.clear()  # Pillow would copy the image's comment
    buffer = io.BytesIO()
    try:
        crop.save(buffer, "JPEG", quality=jpeg_quality)
    except OSError as error:
        raise ItemError(f"cannot be saved as JPEG: {error}") from error
    return buffer.getvalue()
