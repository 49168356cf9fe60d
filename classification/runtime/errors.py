"""Every failure a command reports, and the exit code it ends with.

::

    PipelineError                exit 1
    ├── ArtifactError            a file of the pipeline is missing or malformed
    ├── StorageError             an image store could not be reached or read
    │   ├── AccessError          it refuses whoever asks: a token that has expired, say
    │   └── HeldError            another run is at the same work
    ├── ConfigurationError       options that parse but contradict each other
    ├── ModelError               a model that is missing, refused or of another kind
    │   └── MissingExtraError    a package of an extra is not installed
    └── TooManyFailuresError     exit 4: more items failed than --max-failures allows

    ItemError                    one item failed; the run goes on (never ends a command)
    ├── AbsentError              its store does not have it
    └── UnreachableError         its store gave no answer, so that nothing is known of it

The failure of a single item (an image, a crop) is no PipelineError: whoever works
through items catches ItemError, records its reason in the step log, and goes on.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class PipelineError(Exception):
    """A failure the user can act on; printed as one line, without a traceback."""

    exit_code = 1


class ArtifactError(PipelineError):
    """A pipeline file that is missing or breaks its format.

    Attributes:
        where: address inside the document, such as ``images[3].bbox``; empty for
            the file as a whole.
        message: what is wrong, without the address.
    """

    def __init__(self, message: str, *, where: str = "") -> None:
        """Says what is wrong, and where."""
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where
        self.message = message


class StorageError(PipelineError):
    """An image store that cannot be reached or read."""


class AccessError(StorageError):
    """An image store that lets nobody in with this token, or without one.

    It is never the fault of an image, and no other image would fare better.
    """


class HeldError(StorageError):
    """A file that another run holds."""


class ConfigurationError(PipelineError):
    """Options that parse but contradict each other or the files they name."""


class ModelError(PipelineError):
    """A model that is missing, refused, damaged or of another kind than expected."""


class MissingExtraError(ModelError):
    """A package that an optional feature needs is not installed."""

    def __init__(self, what: str, *, extra: str) -> None:
        """Says what needs the extra, and the line that installs it."""
        super().__init__(
            f"{what} needs an extra: pip install 'cameratraps-classifier[{extra}]'"
        )
        self.extra = extra


class TooManyFailuresError(PipelineError):
    """The step is done, but more items failed than ``--max-failures`` allows."""

    exit_code = 4


class ItemError(Exception):
    """One item (an image, a crop) cannot be used; the text is the reason alone."""


class AbsentError(ItemError):
    """An image that its store does not have; another may."""


class UnreachableError(ItemError):
    """An image of which nothing is known: its store gave no answer."""


@contextmanager
def in_file(path: Path) -> Iterator[None]:
    """Puts the file's name before the address of any ArtifactError raised inside.

    Raises:
        ArtifactError: with ``where`` = ``<path>: <address inside>``.
    """
    try:
        yield
    except ArtifactError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise ArtifactError(error.message, where=where) from error
