"""Asks a Batch Detection API: submits images, and how far their tasks are.

One call is one try, in bounded time, and follows no redirect, so that the token goes
nowhere else. Who calls decides what to try again.
"""

from __future__ import annotations

import http.client
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import urllib3

from classification.artifacts import _json, batch_response, batch_tasks
from classification.runtime.addresses import shown, without_tokens
from classification.runtime.cli import one_line
from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    PipelineError,
    StorageError,
)
from classification.storage.connection import InvalidAddressError, asking
from classification.storage.download import reason_of
from classification.storage.retrying import TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3.response import BaseHTTPResponse

    from classification.artifacts.batch_request import BatchRequest
    from classification.artifacts.batch_response import BatchResponse, BatchStatus

TOKEN_VARIABLE = "BATCH_DETECTION_API_TOKEN"  # noqa: S105 - a name

_MOST_BYTES = 1 << 20  # an answer is a few hundred
_CHUNK_BYTES = 1 << 16


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
            with asking(
                self._url_of(path),
                method="GET" if body is None else "POST",
                silence_s=self.silence_s,
                headers=self._headers(body),
                body=body,
                redirects=0,
            ) as answer:
                data = self._read_all(answer)
                if answer.status != http.HTTPStatus.OK:
                    raise self._failure_of(answer.status, data, is_task=body is None)
                return _parse(data)
        except InvalidAddressError:
            raise ConfigurationError(
                f"--batch-api {self}: not an address of http or https"
            ) from None
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise NoAnswerError(f"{self}: {reason_of(error)}") from None
        except ArtifactError as error:
            raise NoAnswerError(f"{self}: its answer: {error}") from None

    def _url_of(self, path: str) -> str:
        try:
            parts = urllib.parse.urlsplit(self.url)
        except ValueError as error:
            raise InvalidAddressError from error
        path = f"{parts.path.rstrip('/')}/{path}"
        return urllib.parse.urlunsplit(parts._replace(path=path))

    def _headers(self, body: bytes | None) -> dict[str, str]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return headers

    def _read_all(self, answer: BaseHTTPResponse) -> bytes:
        end_s = time.monotonic() + self.limit_s
        data = bytearray()
        while chunk := answer.read1(_CHUNK_BYTES, decode_content=False):
            data += chunk
            if len(data) > _MOST_BYTES:
                raise ArtifactError("too long")
            if time.monotonic() > end_s:
                raise TimeoutError
        return bytes(data)

    def _failure_of(self, status: int, data: bytes, *, is_task: bool) -> PipelineError:
        """Returns what an answer that is an error means.

        That a task is not there may pass, as while a service moves; an address does not.
        """
        try:
            said = _say(_parse(data))
        except ArtifactError:
            said = http.client.responses.get(status, "")
        text = f"{self}: HTTP {status}: {said}"
        if status == http.HTTPStatus.UNAUTHORIZED:
            text += f" ({TOKEN_VARIABLE} in the environment)"
        is_lost = is_task and status == http.HTTPStatus.NOT_FOUND
        may_pass = is_lost or status in TEMPORARY
        return (NoAnswerError if may_pass else RefusedError)(text)


def _parse(data: bytes) -> Mapping[str, Any]:
    document = _json.parse(data)
    if not isinstance(document, dict):
        raise ArtifactError("an object expected")
    return document


def _say(answer: Mapping[str, Any]) -> str:
    said = answer.get("error") or answer.get("message") or "no reason given"
    return one_line(without_tokens(str(said)))[:500]
