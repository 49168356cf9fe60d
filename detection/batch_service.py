"""Serves a detector to many users: the Batch Detection API over the detector of this machine.

MODEL is a model file, a name (run_detector_batch --list-models prints them), or
"default". Users submit lists of images, ask how far their tasks are, and download what
was found; detect_and_crop --batch-api does all of it. Tasks go through the detector one
at a time, in the order of submission. Images are read only from the folders and addresses
that --allow-root and --allow-url name; anything else is refused.

Reads:
  the images of the tasks
Writes:
  OUTPUT_DIR/tasks.sqlite                     the tasks; only this user can read it
  OUTPUT_DIR/<task id>/detections.json        every image of a task with its boxes
  OUTPUT_DIR/<task id>/journal                while the task is worked on
  OUTPUT_DIR/<task id>/batch_service_log_<time>.json

Killed at any moment and started again, it goes on with the image that it was at. Ctrl-C
and SIGTERM end it after the images in hand; a second one at once.

It listens on this machine alone. With another --host it needs a token of at least 16
characters, from --token-file or the environment's BATCH_DETECTION_API_TOKEN, and a proxy
before it that speaks https (docs/service.md).

Example:
  batch_service.py MDV5A served --trust-model --allow-root /data/cameras --port 8390
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import kinds
from classification.cropping.images import DEFAULT_MAX_PIXELS
from classification.runtime import cli, locking, outputs
from classification.runtime.atomic import check_writable
from classification.runtime.errors import ConfigurationError
from classification.runtime.model_digest import digest_of
from classification.storage import flags as places_flags
from detection import batch_client, batches, detectors, flags, models
from detection.batch_client import TOKEN_VARIABLE
from detection.service import http_api, task_table
from detection.service.admission import Admission
from detection.service.task_table import TaskTable
from detection.service.worker import Engine, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from classification.storage.digests import Md5
    from classification.storage.places import Manner

SHORTEST_TOKEN = 16
_LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    model: str
    output_dir: Path
    allow_root: list[Path]
    allow_url: list[str]
    host: str
    port: int
    public_url: str
    token_file: Path | None
    threshold: float
    max_pixels: int
    trust_model: bool
    batch_size: int
    loader_workers: int
    ncores: int | None
    image_size: int | None
    head: str | None
    device: str
    tries: int
    timeout: int
    md5: Md5
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to serve.

    Attributes:
        model: a model file, or a name of the model table.
        allow_roots: folders that images may be read from.
        allow_urls: prefixes of addresses that they may be read from.
        host: address to listen on.
        port: port to listen on; 0 for any that is free.
        public_url: address that users know the service by; empty for the one they ask.
        token_file: holds what each request has to carry; None for the environment's.
        work: how to take images through the detector.
        engine: how to run it.
        manner: how servers are asked for images.
    """

    model: str
    allow_roots: Sequence[Path]
    allow_urls: Sequence[str] = field(repr=False)
    host: str
    port: int
    public_url: str
    token_file: Path | None
    work: batches.Work
    engine: detectors.Options
    manner: Manner


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("batch_service", __doc__, overwrite=False)
    add = parser.add_argument
    add("model", metavar="MODEL", help='model file, name, or "default"')
    add(
        "output_dir",
        type=outputs.folder({task_table.FILENAME: kinds.DATABASE}),
        metavar="OUTPUT_DIR",
        help="folder of the tasks",
    )
    add(
        "--threshold",
        type=cli.fraction,
        default=batches.DEFAULT_THRESHOLD,
        help="least confidence of a box, where a task names none (default: %(default)s)",
    )
    add(
        "--max-pixels",
        type=cli.positive_int,
        default=DEFAULT_MAX_PIXELS,
        metavar="N",
        help="refuse an image of more pixels (default: %(default)s)",
    )
    add(
        "--trust-model",
        action="store_true",
        help="load a model that may run any code: a .pt, or operations of others",
    )
    _add_limits(parser)
    _add_listening(parser)
    flags.add_speed(parser)
    places_flags.add_manner(parser.add_argument_group("images at web addresses"))
    return parser


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what users may have read; without, nothing")
    add = group.add_argument
    add(
        "--allow-root",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="images in this folder and its folders; may be repeated",
    )
    add(
        "--allow-url",
        action="append",
        default=[],
        metavar="PREFIX",
        help="images below this address of http or https, part by part: "
        "https://a.org/b lets in https://a.org/b/c.jpg, not https://a.org/bc.jpg; may "
        "be repeated",
    )


def _add_listening(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("who may ask")
    add = group.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on; any but this machine's own needs a token "
        "(default: %(default)s)",
    )
    add(
        "--port",
        type=cli.non_negative_int,
        default=8390,
        help="port to listen on; 0 for any that is free (default: %(default)s)",
    )
    add(
        "--public-url",
        default="",
        metavar="URL",
        help="address that users know the service by, for the links to what was found "
        "(default: the one that they ask)",
    )
    add(
        "--token-file",
        type=cli.existing_file,
        metavar="FILE",
        help=f"file of the token (default: the environment's {TOKEN_VARIABLE})",
    )


def run(output_dir: Path, *, options: Options) -> None:
    """Serves until it is told to stop.

    Raises:
        PipelineError: no model, a folder that another service has or that cannot be
            written, an address that is taken, or one that needs a token.
        KeyboardInterrupt: Ctrl-C was what ended it.
    """
    token = _read_token(options)
    admission = Admission.of(options.allow_roots, options.allow_urls)
    if not (admission.roots or admission.prefixes):
        raise ConfigurationError(
            "no image can be read: give --allow-root or --allow-url, or both"
        )
    check_writable(output_dir)
    path = output_dir / task_table.FILENAME
    with locking.exclusive(path), TaskTable.open(path) as table:
        worker = Worker(
            table=table,
            folder=output_dir,
            engine=_load(options),
            admission=admission,
            manner=options.manner,
        )
        api = http_api.Api(
            table=table,
            worker=worker,
            token=token,
            public_url=options.public_url.rstrip("/"),
        )
        with _stopping(worker) as ended_by, _listening(options, api):
            worker.run()
    _logger.info("ended; unfinished tasks go on at the next start")
    if signal.SIGINT in ended_by:
        raise KeyboardInterrupt


def _read_token(options: Options) -> str:
    """Returns what each request has to carry; empty where nothing has to be."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    if options.token_file is not None:
        try:
            token = options.token_file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ConfigurationError(
                f"cannot read {options.token_file}: {error.strerror}"
            ) from error
    token = token.strip()
    way_out = f"--token-file or the environment's {TOKEN_VARIABLE} gives one"
    if not token and (options.token_file or options.host not in _LOCAL):
        raise ConfigurationError(f"--host {options.host} needs a token; {way_out}")
    if token and len(token) < SHORTEST_TOKEN:
        raise ConfigurationError(
            f"the token has less than {SHORTEST_TOKEN} characters; {way_out}"
        )
    if not batch_client.is_sendable(token):
        raise ConfigurationError("the token holds more than ASCII without spaces")
    return token


def _load(options: Options) -> Engine:
    model = detectors.runnable(models.resolve(options.model))
    return Engine(
        model=model,
        digest=digest_of(model.path),
        detector=detectors.load(model, options.engine),
        work=options.work,
        options=options.engine,
    )


@contextmanager
def _listening(options: Options, api: http_api.Api) -> Iterator[None]:
    with http_api.Server(options.host, options.port, api) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        _logger.info("%s listens on %s", api.worker.engine.model.name, server.url)
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _stopping(worker: Worker) -> Iterator[list[int]]:
    """Lets a signal end the work in peace, and a second one at once.

    Gives the list of the signals that came.
    """
    came: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        if came:
            os._exit(cli.EXIT_INTERRUPTED)  # every file is safe at any moment
        came.append(number)
        worker.stop()

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    args = cli.parse(parser, Arguments(), argv)
    if args.port >= 1 << 16:
        parser.error(f"--port {args.port}: there are {(1 << 16) - 1}")
    return cli.exit_code(run, args.output_dir, options=_options(args))


def _options(args: Arguments) -> Options:
    return Options(
        model=args.model,
        allow_roots=args.allow_root,
        allow_urls=args.allow_url,
        host=args.host,
        port=args.port,
        public_url=args.public_url,
        token_file=args.token_file,
        work=flags.work_of(args),
        engine=flags.engine_of(args),
        manner=places_flags.manner_of(args),
    )


if __name__ == "__main__":
    raise SystemExit(main())
