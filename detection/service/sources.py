"""Where the images of a task come from: what is let in, in order, ready to be read."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from classification.artifacts import image_list, layout
from classification.artifacts.batch_request import MOST_IMAGES
from classification.runtime.addresses import shown
from classification.runtime.errors import ArtifactError, ItemError
from classification.storage import reach
from classification.storage.download import fetch
from classification.storage.local import read_file
from classification.storage.places import Place
from classification.storage.web import IMAGE_PATIENCE
from detection import image_files
from detection.image_files import ImageFile, ImageList
from detection.service.admission import RefusedError, is_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from classification.artifacts.batch_request import BatchRequest
    from classification.storage import ImageStore
    from classification.storage.download import Patience
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
    if is_address(request.place):
        if not (request.images or request.list_url):
            raise ArtifactError("a list of the images below the address expected")
    elif not admission.resolve(request.place).is_dir():
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
    request: BatchRequest, admission: Admission, patience: Patience = IMAGE_PATIENCE
) -> BatchRequest:
    """Returns the request with its images in it, so that they are the same ever after.

    Raises:
        PipelineError: the list cannot be had or is none, the folder is empty, or what
            they name is not let in.
    """
    if request.images:
        return request
    if request.list_url:
        fixed = request.with_images(_fetch_list(request.list_url, admission, patience))
        check(fixed, admission)
        return fixed
    folder = admission.resolve(request.place)
    found = [file.name for file in image_files.find_below(folder, _entering(admission))]
    if not found:
        raise ArtifactError(f"no images in {request.place}")
    return request.with_images(found)


def _entering(admission: Admission) -> Callable[[str], bool]:
    def may_enter(folder: str) -> bool:
        try:
            admission.resolve(folder)
        except RefusedError:
            return False
        return True

    return may_enter


def _fetch_list(url: str, admission: Admission, patience: Patience) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="ct-list-") as folder:
        path = Path(folder) / "images.json"
        try:
            with reach.limited_to(admission.check_opening):
                fetch(url, path, patience=patience)
            images = image_list.read(path)
        except ItemError as error:
            raise RefusedError(str(error)) from error
        except ArtifactError as error:
            where = error.where.replace(str(path), shown(url))
            raise ArtifactError(error.message, where=where) from error
    if len(images) > MOST_IMAGES:
        raise ArtifactError(f"{shown(url)} lists more than {MOST_IMAGES} images")
    return images


@contextmanager
def opened(
    request: BatchRequest, admission: Admission, patience: Patience = IMAGE_PATIENCE
) -> Iterator[tuple[ImageList, Callable[[str], bytes]]]:
    """Gives the images of a request that was fixed, by name, and how to read one.

    What is given reads nothing that is not let in, whatever links and redirects have
    become of it meanwhile; it raises as ``ImageStore.read`` does.
    """
    read = _reading(request.place, admission, patience)
    files = sorted(
        (ImageFile(_name_of(image), image) for image in set(request.images)),
        key=lambda file: file.name,
    )
    with ImageList.of(files) as images:
        yield images, read


def _name_of(image: str) -> str:
    return shown(image) if is_address(image) else image


def _reading(
    place: str, admission: Admission, patience: Patience
) -> Callable[[str], bytes]:
    if is_address(place):
        store = Place(place).open(patience)
        return _limited(store.read, admission)
    prefix = f"{place}/" if place else ""
    fetched = _limited(_read_address(patience), admission)

    def read(image: str) -> bytes:
        if not place and is_address(image):
            return fetched(image)
        try:
            path = admission.resolve(prefix + image)
        except RefusedError as error:
            raise ItemError("leads to where nobody may look") from error
        return read_file(path)

    return read


def _limited(
    read: Callable[[str], bytes], admission: Admission
) -> Callable[[str], bytes]:
    def read_limited(image: str) -> bytes:
        with reach.limited_to(admission.check_opening):
            return read(image)

    return read_limited


def _read_address(patience: Patience) -> Callable[[str], bytes]:
    """Returns how to read a whole address: a name below the address of its folder."""

    @lru_cache(maxsize=64)
    def open_folder(url: str) -> ImageStore:
        return Place(url).open(patience)

    def read(url: str) -> bytes:
        parts = urlsplit(url)
        folder, _, name = parts.path.rpartition("/")
        store = open_folder(urlunsplit(parts._replace(path=f"{folder}/")))
        return store.read(unquote(name, errors="surrogateescape"))

    return read
