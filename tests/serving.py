"""The detection service as a process of its own, and what a test asks it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from PIL import Image

from classification.runtime.model_digest import digest_of
from detection import batches, detectors, models
from detection.service.worker import Engine
from tests.commands import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What a service said."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def document(self) -> Any:  # noqa: ANN401 - JSON of any shape
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.document["error"])


def ask(
    url: str,
    method: str = "GET",
    body: object = None,
    headers: Mapping[str, str] = JSON,
) -> Answer:
    """Asks once; ``body`` is sent as it is where it is bytes, as JSON otherwise."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), dict(answer.getheaders()))
    finally:
        connection.close()


@dataclass
class Service:
    """A running service.

    Attributes:
        process: the process.
        url: its address.
        folder: of its tasks.
    """

    process: subprocess.Popen[str]
    url: str
    folder: Path

    def submit(self, **request: object) -> str:
        answer = ask(f"{self.url}/request_detections", "POST", request)
        assert answer.status == 200, answer
        task_id: str = answer.document["request_id"]
        return task_id

    def status(self, task_id: str) -> dict[str, Any]:
        answer = ask(f"{self.url}/task/{task_id}")
        assert answer.status == 200, answer
        status: dict[str, Any] = answer.document["Status"]
        return status

    def wait(self, *task_ids: str) -> list[dict[str, Any]]:
        """Waits until tasks have ended; returns how they did."""
        for task_id in task_ids:
            end_s = time.monotonic() + 60
            while self.status(task_id)["request_status"] == "running":
                assert time.monotonic() < end_s, self.status(task_id)
                time.sleep(0.01)
        return [self.status(task_id) for task_id in task_ids]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self, number: int = signal.SIGTERM) -> str:
        """Ends it as an init system does; returns what it said."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        return said


def start(model: Path, folder: Path, *flags: object, **environment: str) -> Service:
    """Starts a service on a free port."""
    line = [sys.executable, "-m", "detection.batch_service", model, folder, "--port", 0]
    process = subprocess.Popen(
        [str(word) for word in (*line, *flags)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    if " listens on " not in first:
        process.kill()
    assert " listens on " in first, first + process.communicate()[1]
    return Service(process, first.split()[-1], folder)


@contextmanager
def serving(
    model: Path, folder: Path, *flags: object, **environment: str
) -> Iterator[Service]:
    """Runs a service in the block."""
    service = start(model, folder, *flags, **environment)
    try:
        yield service
    finally:
        service.kill()


def engine(model: Path, **work: Any) -> Engine:  # noqa: ANN401 - fields of any type
    """Loads a detector as the service does."""
    options = detectors.Options(device="cpu")
    found = models.resolve(str(model))
    return Engine(
        model=found,
        digest=digest_of(model),
        detector=detectors.load(found, options),
        work=batches.Work(**{"threshold": 0.005} | work),
        options=options,
    )


def draw(folder: Path, count: int) -> list[str]:
    """Draws images, each redder than the one before; returns their names below it."""
    names = [f"{'ab'[number % 2]}/{number:03}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        colour = (255 * number // count, 90, 90)
        Image.new("RGB", (80, 60), colour).save(folder / name)
    return sorted(names)
