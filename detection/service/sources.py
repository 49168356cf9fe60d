"""Where the images of a task come from: what is let in, in order, ready to be read."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import image_list, layout
from classification.artifacts.batch_request import MOST_IMAGES
from classification.runtime.addresses import is_address, shown
from classification.runtime.errors import AccessError, ArtifactError, ItemError
from classification.storage import ImageStore, download
from classification.storage.anywhere import DEFAULT_MANNER
from classification.storage.azure import AzureContainerStore
from classification.storage.download import DownloadError, NoAnswerError
from classification.storage.local import load_file, stamp_file
from classification.storage.web import WebStore, load_url, stamp_url
from detection import image_files
from detection.image_files import ImageFile, ImageList
from detection.service.admission import RefusedError

MOST_BYTES = 1 << 28  # of a list of images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from classification.artifacts.batch_request import BatchRequest
    from classification.runtime.contents import Stamp
    from classification.storage.places import Manner
    from detection.service.admission import Admission


def check(request: BatchRequest, admission: Admission) -> None:
    """Sees that everything that a request names is let in.

    Raises:
        RefusedError: something is not; says what.
        ArtifactError: it cannot be meant.
    """
    if request.place:
        admission.check(request.place)
        _check_place(request, admission)
    if request.list_url:
        admission.check_url(request.list_url)
    if request.place:
        _check_names(request, admission)
    else:
        _check_whole(request.images, admission)


def _check_place(request: BatchRequest, admission: Admission) -> None:
    is_here = not is_address(request.place)
    if is_here and not admission.resolve(request.place).is_dir():
        raise ArtifactError("no such folder", where="images_dir")


def _check_names(request: BatchRequest, admission: Admission) -> None:
    for index, name in enumerate(request.images):
        layout.checked_name(name, where=f"images[{index}]")
    if not is_address(request.place):
        admission.check_all([f"{request.place}/{name}" for name in request.images])


def _check_whole(images: Sequence[str], admission: Admission) -> None:
    admission.check_all(images)
    named = Counter(map(_name_of, set(images)))
    for name, count in named.items():
        if count > 1:
            raise ArtifactError(f"{count} addresses are {name!r} without their queries")


def fix(
    request: BatchRequest, admission: Admission, manner: Manner = DEFAULT_MANNER
) -> BatchRequest:
    """Returns the request with its images in it, so that they are the same ever after.

    Raises:
        PipelineError: the list cannot be had or is none, the folder is empty, or what
            they name is not let in.
    """
    if request.images:
        return request
    if request.list_url:
        fixed = request.with_images(_fetch_list(request.list_url, admission, manner))
        check(fixed, admission)
        return fixed
    found = list(_find(request.place, admission, manner))
    if not found:
        raise ArtifactError(f"no images in {shown(request.place)}")
    if len(found) > MOST_IMAGES:
        raise ArtifactError(
            f"{shown(request.place)} has more than {MOST_IMAGES} images"
        )
    return request.with_images(found)


def _find(place: str, admission: Admission, manner: Manner) -> Iterator[str]:
    """Yields the names of the images in a folder or a container."""
    if is_address(place):
        if not admission.may_ask(place):
            raise RefusedError(f"{shown(place)!r} is not let in")
        store = AzureContainerStore(place, patience=manner.patience)
        found = image_files.find_in(store)
    else:
        folder = admission.resolve(place)
        found = image_files.find_below(folder, _entering(admission))
    return (file.name for file in itertools.islice(found, MOST_IMAGES + 1))


def _entering(admission: Admission) -> Callable[[str], bool]:
    def may_enter(folder: str) -> bool:
        try:
            admission.resolve(folder)
        except RefusedError:
            return False
        return True

    return may_enter


def _fetch_list(url: str, admission: Admission, manner: Manner) -> list[str]:
    try:
        data = download.read(
            url,
            max_bytes=MOST_BYTES,
            patience=manner.patience,
            may_ask=admission.may_ask,
        )
    except (NoAnswerError, AccessError):
        raise
    except DownloadError as error:  # it will not pass
        raise RefusedError(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="ct-list-") as folder:
        path = Path(folder) / "images.json"
        path.write_bytes(data)
        try:
            images = image_list.read(path)
        except ArtifactError as error:
            where = error.where.replace(str(path), shown(url))
            raise ArtifactError(error.message, where=where) from error
    if len(images) > MOST_IMAGES:
        raise ArtifactError(f"{shown(url)} lists more than {MOST_IMAGES} images")
    return images


class AdmittedStore(ImageStore):
    """The images of a request, by path or address; reads nothing that is not let in."""

    def __init__(self, place: str, admission: Admission, manner: Manner) -> None:
        """Names the place that images are named below; empty where they stand alone."""
        self._prefix = f"{place}/" if place else ""
        self._admission = admission
        self._manner = manner
        self._web = (
            WebStore(
                place,
                patience=manner.patience,
                md5=manner.md5,
                may_ask=admission.may_ask,
            )
            if is_address(place)
            else None
        )

    def load(self, name: str) -> tuple[bytes, Stamp | None]:
        """Return the bytes and stamp of an image; see ``ImageStore.load``."""
        if self._web is not None:
            return self._web.load(name)
        if not self._prefix and is_address(name):
            may_ask = self._admission.may_ask
            manner = self._manner
            return load_url(
                name, patience=manner.patience, md5=manner.md5, may_ask=may_ask
            )
        return load_file(self._resolve(name))

    def stamp(self, name: str) -> Stamp | None:
        """Return the stamp of an image; see ``ImageStore.stamp``."""
        if self._web is not None:
            return self._web.stamp(name)
        if not self._prefix and is_address(name):
            may_ask = self._admission.may_ask
            return stamp_url(name, patience=self._manner.patience, may_ask=may_ask)
        return stamp_file(self._resolve(name))

    def exists(self, name: str) -> bool:
        """Says whether there is such an image; see ``ImageStore.exists``."""
        if self._web is not None:
            return self._web.exists(name)
        if not self._prefix and is_address(name):
            may_ask = self._admission.may_ask
            return download.exists(
                name, patience=self._manner.patience, may_ask=may_ask
            )
        try:
            return self._resolve(name).is_file()
        except ItemError:
            return False

    def _resolve(self, name: str) -> Path:
        try:
            return self._admission.resolve(self._prefix + name)
        except RefusedError as error:
            raise ItemError("leads to where nobody may look") from error


@contextmanager
def opened(
    request: BatchRequest, admission: Admission, manner: Manner = DEFAULT_MANNER
) -> Iterator[tuple[ImageList, AdmittedStore]]:
    """Gives the images of a request that was fixed, by name, and where to read them.

    What is given reads nothing that is not let in, whatever links and redirects have
    become of it meanwhile.
    """
    files = sorted(
        (ImageFile(_name_of(image), image) for image in set(request.images)),
        key=lambda file: file.name,
    )
    with ImageList.of(files) as images:
        yield images, AdmittedStore(request.place, admission, manner)


def _name_of(image: str) -> str:
    return shown(image) if is_address(image) else image
