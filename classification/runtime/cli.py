"""The shell every command shares: argument types, parsing, logging, exit codes.

A flag may be written with ``-`` or ``_``: ``--image-size`` and ``--image_size`` are
the same flag everywhere, whichever spelling the parser declares.
"""

from __future__ import annotations

import argparse
import atexit
import logging
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from classification.runtime import outputs, parallel, streams
from classification.runtime.addresses import redacted
from classification.runtime.errors import PipelineError, TooManyFailuresError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

EXIT_OK = 0
EXIT_FAILED = 1  # PipelineError: the user can act on it
EXIT_USAGE = 2  # argparse's own
EXIT_BUG = 3  # anything unforeseen; traceback printed
EXIT_TOO_MANY_FAILURES = 4  # TooManyFailuresError
EXIT_INTERRUPTED = 130  # 128 + SIGINT

_LONGEST_LINE = 2000
_IS_UTF_8 = sys.getfilesystemencoding() == "utf-8"
_NO_SUCH_NAME = (
    "error: %a: file names of this system are in %s, which has no such name; the "
    "environment's PYTHONUTF8=1 lets them be in UTF-8"
)
_INTERRUPTED = "interrupted; finished items are kept, run again to go on"

P = ParamSpec("P")
ArgumentsT = TypeVar("ArgumentsT", bound=argparse.Namespace)

_logger = logging.getLogger(__name__)


class Parser(argparse.ArgumentParser):
    """An argument parser that reads flags with ``-`` and ``_`` alike."""

    def __init__(
        self, module: str, description: str | None, *, overwrite: bool = True
    ) -> None:
        """Names the program after its module and keeps the description's lines.

        Args:
            module: of the command.
            description: its docstring.
            overwrite: declare ``--overwrite``, as all do that replace files.
        """
        super().__init__(
            prog=module.rpartition(".")[2],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--verbose", action="store_true", help="log details")
        if overwrite:
            self.add_argument(
                "--overwrite",
                action="store_true",
                help="write over files of another kind that have an output's name",
            )

    def parse_args(  # type: ignore[override]  # argparse overloads on namespace
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> argparse.Namespace:
        """Parses ``args``; says of too many words where they may come from."""
        words = list(sys.argv[1:] if args is None else args)
        parsed, surplus = self.parse_known_args(words, namespace)
        if surplus:
            hint = "" if surplus[0].startswith("-") else _expanded(words)
            self.error(f"unrecognized arguments: {' '.join(surplus)}{hint}")
        return parsed

    def parse_known_args(  # type: ignore[override]  # argparse overloads on namespace
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parses ``args`` after spelling each known flag as it was declared."""
        words = list(sys.argv[1:] if args is None else args)
        declared = {_plain(flag): flag for flag in self._option_string_actions}
        end = words.index("--") if "--" in words else len(words)
        spelled = [_respell(word, declared) for word in words[:end]] + words[end:]
        return super().parse_known_args(spelled, namespace)


def _expanded(words: Sequence[str]) -> str:
    """Says that several words are files of one folder, if they are."""
    files = map(Path, filter(os.path.isfile, words))
    for folder, number in Counter(path.parent for path in files).most_common(1):
        if number > 1:
            return (
                f" ({number} files of {folder} are among the words: if you wrote a "
                "pattern with *, the shell put the list of its files in its place; give "
                "the folder, or a file that lists them)"
            )
    return ""


def _plain(flag: str) -> str:
    return flag.replace("_", "-")


def _respell(word: str, declared: dict[str, str]) -> str:
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return declared.get(_plain(flag), flag) + equals + value


def fraction(text: str) -> float:
    """Parses a number in [0, 1], for ``type=``."""
    value = _number(text, float)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def positive_int(text: str) -> int:
    """Parses a whole number of at least 1, for ``type=``."""
    value = _number(text, int)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return value


def non_negative_int(text: str) -> int:
    """Parses a whole number of at least 0, for ``type=``."""
    value = _number(text, int)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return value


def existing_file(text: str) -> Path:
    """Parses the path of a file that exists, for ``type=``."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"no such file: {text}")
    return path


def existing_dir(text: str) -> Path:
    """Parses the path of a folder that exists, for ``type=``."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"no such folder: {text}")
    return path


def device(text: str) -> str:
    """Parses ``auto``, ``cpu``, ``cuda:N``, or its short forms, for ``type=``.

    Returns:
        ``auto``, ``cpu`` or ``cuda:N``; ``cuda`` means ``cuda:0``, and ``1`` ``cuda:1``.
    """
    name = f"cuda:{text}" if re.fullmatch(r"[0-9]+", text) else text
    name = "cuda:0" if name == "cuda" else name
    if not re.fullmatch(r"auto|cpu|cuda:[0-9]{1,3}", name):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu or cuda:N")
    return name


NOW = "now"
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


def completion_time(text: str) -> str:
    """Parses ``now`` or a time ``YYYY-mm-dd HH:MM:SS``, for ``type=``."""
    if text == NOW:
        return text
    try:
        return time.strftime(_TIME_FORMAT, time.strptime(text, _TIME_FORMAT))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not "now" or a time such as 2022-11-22 20:47:15'
        ) from None


def add_completion_time(parser: argparse._ActionsContainer, key: str) -> None:
    """Declares ``--completion-time``, which is left out of the file by default.

    Args:
        parser: where to declare it.
        key: the key that it adds to the file, for the help.
    """
    parser.add_argument(
        "--completion-time",
        type=completion_time,
        metavar="TIME",
        help=f'add {key}: "now" or "YYYY-mm-dd HH:MM:SS" (default: left out, so that '
        "the same input gives the same bytes)",
    )


def to_write(completed: str) -> str:
    """Returns the time to write into a file: the clock's for ``now``."""
    return time.strftime(_TIME_FORMAT) if completed == NOW else completed


NumberT = TypeVar("NumberT", int, float)


def _number(text: str, kind: Callable[[str], NumberT]) -> NumberT:
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not -math.inf < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return value


def add_logdir(parser: argparse.ArgumentParser) -> None:
    """Declares ``--logdir``, the folder of the step log: the working folder by default."""
    parser.add_argument(
        "--logdir",
        type=outputs.folder(),
        default=Path(),
        help="folder for the log (default: .)",
    )


MEGADB_VARIABLE = "CAMERATRAPS_MEGADB"


def add_megadb(parser: argparse._ActionsContainer, what: str) -> None:
    """Declares ``--megadb``, the metadata store that a step reads: the environment's.

    Args:
        parser: where to declare it.
        what: what the step has it for, for the help.
    """
    parser.add_argument(
        "--megadb",
        type=Path,
        metavar="DIR",
        default=os.environ.get(MEGADB_VARIABLE) or None,
        help=f"{what} (default: the environment's {MEGADB_VARIABLE})",
    )


def add_device(parser: argparse._ActionsContainer) -> None:
    """Declares ``--device``, which a network runs on: a GPU where there is one."""
    parser.add_argument(
        "--device",
        type=device,
        default="auto",
        help="auto, cpu, or cuda:N, also written N (default: %(default)s, a GPU if "
        "there is one)",
    )


def add_num_workers(parser: argparse._ActionsContainer) -> None:
    """Declares ``--num-workers``, threads beside a network: as many as there are cores."""
    parser.add_argument(
        "--num-workers",
        type=positive_int,
        default=parallel.cores(),
        help="threads that decode crops beside the network; no more than the processor "
        "has cores are used (default: %(default)s)",
    )


def add_max_failures(parser: argparse.ArgumentParser) -> None:
    """Declares ``--max-failures``, the same for every step that works item by item."""
    parser.add_argument(
        "--max-failures",
        type=non_negative_int,
        metavar="N",
        help="exit 4 if more than N items failed (default: no limit; "
        "a run in which every item failed always exits 4)",
    )


def check_failures(failed: int, total: int, max_failures: int | None) -> None:
    """Ends the step with exit code 4 where too many items failed.

    Args:
        failed: number of items that failed.
        total: number of items there were.
        max_failures: the most failures allowed, or None for no limit.

    Raises:
        TooManyFailuresError: more than ``max_failures`` failed, or every item did.
    """
    if max_failures is not None and failed > max_failures:
        raise TooManyFailuresError(
            f"{failed} of {total} items failed; --max-failures allows {max_failures}"
        )
    if total and failed == total:
        raise TooManyFailuresError(f"all {total} items failed; see the step log")


def parse(
    parser: argparse.ArgumentParser, arguments: ArgumentsT, argv: Sequence[str] | None
) -> ArgumentsT:
    """Fills ``arguments`` from the command line and turns on logging to stderr.

    Ends the process with exit code 1 where an output would destroy what it should not;
    see ``outputs.check``.
    """
    streams.prepare()
    parser.parse_args(argv, namespace=arguments)
    _start_logging(verbose=getattr(arguments, "verbose", False))
    outputs.fill_defaults(parser, arguments)
    if code := exit_code(outputs.check, parser, arguments):
        raise SystemExit(code)
    return arguments


class _Formatter(logging.Formatter):
    """Shows no token, not even one in the message or traceback of a library."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


def _start_logging(*, verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s %(message)s" if verbose else None))
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("filelock").setLevel(logging.WARNING)  # two lines a lock
    if not verbose:
        for chatty in ("PIL", "torch", "onnxscript", "onnx_ir", "timm"):
            logging.getLogger(chatty).setLevel(logging.WARNING)


def exit_code(run: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> int:
    """Calls ``run`` and turns how it ends into an exit code.

    Ctrl-C ends it in peace: what was begun is closed. A second one ends it at once, as a
    kill does, after which every file is whole and the next run goes on, too.
    """
    try:
        with _interruptible():
            run(*args, **kwargs)
            sys.stdout.flush()
    except PipelineError as error:
        _logger.error("error: %s", error_line(error))  # noqa: TRY400 - one line, no traceback
        return error.exit_code
    except KeyboardInterrupt:
        _say_interrupted()
        return EXIT_INTERRUPTED
    except Exception as error:
        if isinstance(error, UnicodeEncodeError) and not _IS_UTF_8:
            _logger.error(_NO_SUCH_NAME, error.object, error.encoding)  # noqa: TRY400 - no bug
            return EXIT_FAILED
        _logger.exception("unexpected error; this is a bug")
        return EXIT_BUG
    return EXIT_OK


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lets one Ctrl-C raise KeyboardInterrupt, and a second end the process at once.

    Where Ctrl-C is ignored, as behind ``nohup``, or somebody else's, it stays so.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def interrupt(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, _end_at_once)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_at_once(_: int, __: FrameType | None) -> None:
    with suppress(OSError):
        os.write(2, f"{_INTERRUPTED}\n".encode())
    os._exit(EXIT_INTERRUPTED)


def _say_interrupted() -> None:
    """Says so once; Ctrl-C while the interpreter ends adds nothing to it."""
    is_ours = signal.getsignal(signal.SIGINT) is _end_at_once
    if is_ours:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    _logger.error(_INTERRUPTED)
    if is_ours:
        signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_INTERRUPTED))
        # Behind the threads' end the interpreter takes handlers away.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def error_line(error: PipelineError) -> str:
    """Returns what is shown of an error: one line, of a length that a person reads."""
    text = one_line(str(error))
    if len(text) <= _LONGEST_LINE:
        return text
    half = _LONGEST_LINE // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]} … {left_out} more characters … {text[-half:]}"


def command_line(words: Sequence[str]) -> str:
    """Return a command as this system's shell takes it."""
    join = subprocess.list2cmdline if sys.platform == "win32" else shlex.join
    return join(words)


def one_line(text: str) -> str:
    """Returns ``text`` with line breaks and other control characters made visible."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
