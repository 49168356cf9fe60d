"""Asks a Batch Detection API: submits images, and how far their tasks are.

One call is one try, in bounded time, and follows no redirect, so that the token goes
nowhere else. Who calls decides what to try again.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from classification.artifacts import _json, batch_response, batch_tasks
from classification.runtime.addresses import shown, without_tokens
from classification.runtime.cli import one_line
from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    PipelineError,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from classification.artifacts.batch_request import BatchRequest
    from classification.artifacts.batch_response import BatchResponse, BatchStatus

TOKEN_VARIABLE = "BATCH_DETECTION_API_TOKEN"  # noqa: S105 - a name

_MOST_BYTES = 1 << 20  # an answer is a few hundred
_CHUNK_BYTES = 1 << 16
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


def is_sendable(token: str) -> bool:
    """Says whether a token fits into a header: ASCII, without spaces and controls."""
    return token.isascii() and token.isprintable() and " " not in token


class NoAnswerError(StorageError):
    """The service gave no answer, or one that may be another soon."""


class RefusedError(PipelineError):
    """The service understood, and will not."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """A Batch Detection API.

    Attributes:
        url: its address of http or https, such as ``http://gpu1:8390``; never shown
            whole.
        token: what it wants to see; empty for nothing.
        silence_s: how long it may be silent.
        limit_s: how long one call may take, beside sending the images.
    """

    url: str = field(repr=False)
    token: str = field(default="", repr=False)
    silence_s: float = 120
    limit_s: float = 600

    def submit(self, request: BatchRequest) -> str:
        """Submits images; returns the id of their task.

        The same request is the same task until that has ended, so it may be tried again.

        Raises:
            NoAnswerError: there was no answer.
            RefusedError: the service will not.
        """
        answer = self._ask("request_detections", request.encode())
        if "request_id" not in answer and answer.get("error"):
            raise RefusedError(f"{self}: {_say(answer)}")
        where = f"{self}: request_id"
        return batch_tasks.checked_id(answer.get("request_id"), where=where)

    def ask(self, task_id: str) -> BatchStatus | BatchResponse:
        """Returns how far a task is, or where its detections are.

        Raises:
            NoAnswerError: there was no answer, or none that tells.
            RefusedError: the service does not want to tell us.
        """
        answer = self._ask(f"task/{task_id}")
        try:
            status = batch_response.status_from_dict(answer)
            if status.task != task_id:
                raise ArtifactError(f"it is of {status.task}")  # noqa: TRY301 - as all that is no answer
            if status.status == batch_response.COMPLETED:
                return batch_response.from_dict(answer)
        except ArtifactError as error:
            said = one_line(without_tokens(str(error)))
            raise NoAnswerError(f"{self}: task {task_id}: {said}") from error
        return status

    def __str__(self) -> str:
        """Returns the address as it may be shown."""
        return shown(self.url)

    def _ask(self, path: str, body: bytes | None = None) -> Mapping[str, Any]:
        if not is_sendable(self.token):
            raise ConfigurationError(
                f"the token in {TOKEN_VARIABLE} holds more than ASCII without spaces"
            )
        try:
            return self._read(self._request(path, body))
        except urllib.error.HTTPError as error:
            raise self._explain(error, is_task=body is None) from None
        except (ValueError, http.client.InvalidURL):  # whose texts quote the address
            raise ConfigurationError(
                f"--batch-api {self}: not an address of http or https"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError(f"{self}: {_reason(error)}") from None
        except ArtifactError as error:
            raise NoAnswerError(f"{self}: its answer: {error}") from None

    def _request(self, path: str, body: bytes | None) -> urllib.request.Request:
        parts = urllib.parse.urlsplit(self.url)
        path = f"{parts.path.rstrip('/')}/{path}"
        request = urllib.request.Request(  # noqa: S310 - the opener below knows the web alone
            urllib.parse.urlunsplit(parts._replace(path=path)), data=body
        )
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        return request

    def _read(self, request: urllib.request.Request) -> Mapping[str, Any]:
        opener = urllib.request.OpenerDirector()
        opener.addheaders = [("User-Agent", "cameratraps")]
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            opener.add_handler(handler)
        with opener.open(request, timeout=self.silence_s) as answer:
            return _parse(self._read_all(answer))

    def _read_all(self, answer: http.client.HTTPResponse) -> bytes:
        end_s = time.monotonic() + self.limit_s
        data = bytearray()
        while chunk := answer.read1(_CHUNK_BYTES):
            data += chunk
            if len(data) > _MOST_BYTES:
                raise ArtifactError("too long")
            if time.monotonic() > end_s:
                raise TimeoutError
        if answer.length:
            raise ArtifactError("it breaks off")
        return bytes(data)

    def _explain(
        self, error: urllib.error.HTTPError, *, is_task: bool
    ) -> PipelineError:
        """Returns what an answer that is an error means.

        That a task is not there may pass, as while a service moves; an address does not.
        """
        with closing(error):
            try:
                said = _say(_parse(error.read(_MOST_BYTES)))
            except (ArtifactError, OSError, http.client.HTTPException):
                said = http.client.responses.get(error.code, "")
        text = f"{self}: HTTP {error.code}: {said}"
        if error.code == http.HTTPStatus.UNAUTHORIZED:
            text += f" ({TOKEN_VARIABLE} in the environment)"
        is_lost = is_task and error.code == http.HTTPStatus.NOT_FOUND
        may_pass = is_lost or error.code in _PASSING
        return (NoAnswerError if may_pass else RefusedError)(text)


def _parse(data: bytes) -> Mapping[str, Any]:
    document = _json.parse(data)
    if not isinstance(document, dict):
        raise ArtifactError("an object expected")
    return document


def _say(answer: Mapping[str, Any]) -> str:
    said = answer.get("error") or answer.get("message") or "no reason given"
    return one_line(without_tokens(str(said)))[:500]


def _reason(error: Exception) -> str:
    """Says what went wrong in our words; another's might quote the address."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        error = error.reason
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
