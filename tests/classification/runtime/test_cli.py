from __future__ import annotations

import argparse
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.runtime import cli
from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    PipelineError,
    TooManyFailuresError,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Arguments(argparse.Namespace):
    verbose: bool
    image_size: int
    relative: bool
    name: str
    rest: list[str]


def build_parser() -> cli.Parser:
    parser = cli.Parser("classification.some_step", "Does it.\n\n  Keeps lines.")
    parser.add_argument("--image-size", type=cli.positive_int, default=1)
    parser.add_argument("--output_relative", dest="relative", action="store_true")
    parser.add_argument("--name", default="")
    parser.add_argument("rest", nargs="*")
    return parser


def parse(*argv: str) -> Arguments:
    return build_parser().parse_args(argv, namespace=Arguments())


@pytest.mark.parametrize("flag", ["--image-size", "--image_size"])
def test_a_flag_is_read_with_either_dash(flag: str) -> None:
    assert parse(flag, "3").image_size == 3
    assert parse(f"{flag}=4").image_size == 4


@pytest.mark.parametrize("flag", ["--output_relative", "--output-relative"])
def test_whichever_spelling_is_declared(flag: str) -> None:
    assert parse(flag).relative


def test_values_and_words_after_a_double_dash_are_left_alone() -> None:
    args = parse("--name=a_b-c", "x_y", "--", "--image_size", "-z_")
    assert args.name == "a_b-c"
    assert args.rest == ["x_y", "--image_size", "-z_"]


def test_an_unknown_flag_and_an_abbreviation_are_usage_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for flag in ("--imagesize", "--image"):
        with pytest.raises(SystemExit) as ended:
            parse(flag, "3")
        assert ended.value.code == cli.EXIT_USAGE
        assert f"unrecognized arguments: {flag}" in capsys.readouterr().err


def test_help_keeps_the_lines_of_the_description(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    shown = capsys.readouterr().out
    assert shown.startswith("usage: some_step ")
    assert "Does it.\n\n  Keeps lines.\n" in shown


def test_the_parser_reads_sys_argv_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["some_step", "--image_size", "7"])
    args = build_parser().parse_args(namespace=Arguments())
    assert args.image_size == 7


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (cli.fraction, "0", 0.0),
        (cli.fraction, "1", 1.0),
        (cli.fraction, "0.25", 0.25),
        (cli.fraction, "5e-3", 0.005),
        (cli.positive_int, "1", 1),
        (cli.positive_int, "9" * 400, int("9" * 400)),
        (cli.non_negative_int, "0", 0),
    ],
)
def test_numbers_are_parsed(
    kind: Callable[[str], float], text: str, value: float
) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (cli.fraction, "1.01", "1.01 is not between 0 and 1"),
        (cli.fraction, "-0.1", "-0.1 is not between 0 and 1"),
        (cli.fraction, "nan", "nan is not a finite number"),
        (cli.fraction, "inf", "inf is not a finite number"),
        (cli.fraction, "half", "'half' is not a number"),
        (cli.fraction, "", "'' is not a number"),
        (cli.positive_int, "0", "0 is not a whole number above 0"),
        (cli.positive_int, "-3", "-3 is not a whole number above 0"),
        (cli.positive_int, "1.5", "'1.5' is not a number"),
        (cli.non_negative_int, "-1", "-1 is less than 0"),
    ],
)
def test_wrong_numbers_are_refused(
    kind: Callable[[str], float], text: str, message: str
) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        kind(text)
    assert str(refused.value) == message


@given(st.text(max_size=12))
def test_no_text_breaks_a_number(text: str) -> None:
    for kind in (cli.fraction, cli.positive_int, cli.non_negative_int):
        try:
            kind(text)
        except argparse.ArgumentTypeError as error:
            assert str(error)  # noqa: PT017 - refused or read, nothing else


def test_existing_paths(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.touch()
    assert cli.existing_file(str(file)) == file
    assert cli.existing_dir(str(tmp_path)) == tmp_path
    for kind, path, what in (
        (cli.existing_file, tmp_path, "file"),
        (cli.existing_file, tmp_path / "b", "file"),
        (cli.existing_dir, file, "folder"),
        (cli.existing_dir, tmp_path / "b", "folder"),
    ):
        with pytest.raises(argparse.ArgumentTypeError) as refused:
            kind(str(path))
        assert str(refused.value) == f"no such {what}: {path}"
    with pytest.raises(argparse.ArgumentTypeError):
        cli.existing_file("a\0b")


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("auto", "auto"),
        ("cpu", "cpu"),
        ("cuda", "cuda:0"),
        ("cuda:12", "cuda:12"),
        ("1", "cuda:1"),
    ],
)
def test_devices_are_written_in_either_way(text: str, device: str) -> None:
    assert cli.device(text) == device


def test_what_is_no_device_is_refused() -> None:
    for text in ("", "tpu", "cuda:", "cuda:x", "CPU", "cuda:0\n"):
        with pytest.raises(argparse.ArgumentTypeError) as refused:
            cli.device(text)
        assert str(refused.value) == f"{text!r} is not auto, cpu or cuda:N"


def test_max_failures_is_declared_with_no_limit() -> None:
    parser = cli.Parser("x", None)
    cli.add_max_failures(parser)
    assert parser.parse_args([]).max_failures is None
    assert parser.parse_args(["--max_failures", "0"]).max_failures == 0


@pytest.mark.parametrize(
    ("failed", "total", "limit"),
    [(0, 0, None), (0, 5, 0), (4, 5, None), (2, 5, 2), (0, 5, None)],
)
def test_failures_within_the_limit(failed: int, total: int, limit: int | None) -> None:
    cli.check_failures(failed, total, limit)


@pytest.mark.parametrize(
    ("failed", "total", "limit", "message"),
    [
        (3, 5, 2, "3 of 5 items failed; --max-failures allows 2"),
        (5, 5, 2, "5 of 5 items failed; --max-failures allows 2"),
        (1, 5, 0, "1 of 5 items failed; --max-failures allows 0"),
        (5, 5, None, "all 5 items failed; see the step log"),
        (5, 5, 5, "all 5 items failed; see the step log"),
    ],
)
def test_failures_beyond_the_limit(
    failed: int, total: int, limit: int | None, message: str
) -> None:
    with pytest.raises(TooManyFailuresError) as raised:
        cli.check_failures(failed, total, limit)
    assert str(raised.value) == message


def test_parse_fills_the_namespace_and_logs_plain_lines_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = cli.parse(build_parser(), Arguments(), ["--image_size", "5"])
    assert args.image_size == 5
    logging.getLogger("x").debug("hidden")
    logging.getLogger("x").info("shown")
    logging.getLogger("PIL.TiffImagePlugin").info("chatter")
    assert capsys.readouterr().err == "shown\n"


def test_verbose_logs_details(capsys: pytest.CaptureFixture[str]) -> None:
    cli.parse(build_parser(), Arguments(), ["--verbose"])
    logging.getLogger("x").debug("detail")
    assert capsys.readouterr().err == "DEBUG detail\n"


def returning(value: object) -> object:
    return value


def raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (PipelineError("no file"), cli.EXIT_FAILED, "error: no file\n"),
        (ConfigurationError("a\nb\x1b[31m"), 1, "error: a\\nb\\x1b[31m\n"),
        (TooManyFailuresError("3 of 5"), 4, "error: 3 of 5\n"),
        (
            KeyboardInterrupt(),
            130,
            "interrupted; finished items are kept, run again to go on\n",
        ),
    ],
)
def test_how_a_run_ends_gives_the_exit_code_and_one_line(
    error: BaseException, code: int, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.parse(build_parser(), Arguments(), [])
    assert cli.exit_code(raising, error) == code
    assert capsys.readouterr().err == shown


def test_a_run_that_ends_well_is_zero_whatever_it_returns() -> None:
    assert cli.exit_code(returning, 5) == cli.EXIT_OK
    assert cli.exit_code(returning, value=None) == cli.EXIT_OK


def test_a_bug_is_three_with_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    cli.parse(build_parser(), Arguments(), [])
    assert cli.exit_code(raising, ValueError("oh")) == cli.EXIT_BUG
    shown = capsys.readouterr().err
    assert shown.startswith("unexpected error; this is a bug\nTraceback")
    assert shown.endswith("ValueError: oh\n")


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    shown = cli.one_line(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1


def test_one_line_keeps_what_a_person_can_read() -> None:
    assert cli.one_line("a_b.JPG über 3 °C") == "a_b.JPG über 3 °C"


def test_completion_time_is_now_or_a_time() -> None:
    assert cli.completion_time("now") == cli.NOW
    assert cli.completion_time("2022-11-22 20:47:15") == "2022-11-22 20:47:15"
    with pytest.raises(argparse.ArgumentTypeError, match='not "now" or a time'):
        cli.completion_time("yesterday")


def test_only_now_asks_the_clock() -> None:
    assert cli.to_write("2022-11-22 20:47:15") == "2022-11-22 20:47:15"
    assert cli.completion_time(cli.to_write(cli.NOW)) != cli.NOW


def test_a_reader_that_has_enough_is_no_bug() -> None:
    program = (
        "import sys; from classification.runtime import cli, streams; "
        "streams.prepare(); sys.exit(cli.exit_code(lambda: sys.stdout.write('line\\n' * 100_000)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.readline()
        writer.stdout.close()
        assert writer.stderr.read() == b""
    assert writer.returncode == 0


@pytest.mark.parametrize("signals", [1, 2, 3])
def test_a_second_ctrl_c_does_not_wait_for_threads(signals: int) -> None:
    program = """
import argparse, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from classification.runtime import cli

def run():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(time.sleep, WAIT)
        print("begun", flush=True)
        time.sleep(60)

cli.parse(cli.Parser("x", ""), argparse.Namespace(), [])
sys.exit(cli.exit_code(run))
""".replace("WAIT", "0.5" if signals == 1 else "60")
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        _, shown = process.communicate(timeout=30)
    assert process.returncode == cli.EXIT_INTERRUPTED
    assert shown == "interrupted; finished items are kept, run again to go on\n"


def test_ctrl_c_stays_ignored_behind_nohup() -> None:
    program = (
        "import os, signal, sys; from classification.runtime import cli; "
        "signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "sys.exit(cli.exit_code(os.kill, os.getpid(), signal.SIGINT))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == cli.EXIT_OK


def test_the_metadata_store_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def parsed(*words: str) -> Path | None:
        parser = cli.Parser("x", None)
        cli.add_megadb(parser, "store")
        found: Path | None = parser.parse_args(words).megadb
        return found

    monkeypatch.delenv(cli.MEGADB_VARIABLE, raising=False)
    assert parsed() is None
    monkeypatch.setenv(cli.MEGADB_VARIABLE, "")
    assert parsed() is None
    monkeypatch.setenv(cli.MEGADB_VARIABLE, "theirs")
    assert parsed() == Path("theirs")
    assert parsed("--megadb", "mine") == Path("mine")


def test_a_long_error_is_cut_in_its_middle() -> None:
    line = cli.error_line(ArtifactError("x" * 100_000 + "\n", where="a.json"))
    assert line.startswith("a.json: xxx")
    assert line.endswith("xxx\\n")
    assert " … " in line
    assert len(line) < 2100


def test_a_command_line_is_quoted_as_the_shell_takes_it() -> None:
    words = ("python", "-m", "a.b", "my photos", "x")
    quote = '"' if cli.sys.platform == "win32" else "'"
    assert cli.command_line(words) == f"python -m a.b {quote}my photos{quote} x"
