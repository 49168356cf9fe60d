from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from classification import cache_batchapi_outputs
from classification.artifacts import detection_cache
from detection import batch_service, run_detector_batch
from detection.batch_client import TOKEN_VARIABLE
from tests.detection.detectors.graphs import red_detector
from tests.serving import JSON, Service, ask, draw, serving, start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN = "a-token-of-the-tests-0123456789"  # noqa: S105 - of no service


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return red_detector(tmp_path_factory.mktemp("model") / "md_red_v9.0.onnx")


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "md_slow_v3.0.onnx"
    return red_detector(path, layers=3)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw(tmp_path / "photos", 6)
    return tmp_path / "photos"


def expected(network: Path, images: Path, output: Path) -> bytes:
    """Returns what run_detector_batch writes of the same images."""
    flags = ("--recursive", "--output_relative_filenames", "--device", "cpu")
    line = (str(network), str(images), str(output), *flags)
    assert run_detector_batch.main(line) == 0
    return output.read_bytes()


def served(tmp_path: Path) -> Path:
    return tmp_path / "served"


def test_a_user_submits_waits_and_caches(
    network: Path, photos: Path, tmp_path: Path
) -> None:
    whole = expected(network, photos, tmp_path / "detections.json")
    with serving(network, served(tmp_path), "--allow-root", photos) as service:
        task_id = service.submit(
            request_name="x", caller="jane", images_dir=str(photos), model_version="9.0"
        )
        service.wait(task_id)
        answer = tmp_path / "batchapi_response" / "set.json"
        answer.parent.mkdir()
        answer.write_bytes(ask(f"{service.url}/task/{task_id}").body)
        line = f"{answer} --format response --dataset set -c {tmp_path}/mdcache"
        logdir = ["--logdir", str(tmp_path)]
        assert cache_batchapi_outputs.main(line.split() + logdir) == 0
        said = service.end()
    assert (served(tmp_path) / task_id / "detections.json").read_bytes() == whole
    file = detection_cache.open_file(tmp_path / "mdcache", "9.0", "set")
    assert file.image_count == 6
    assert said.splitlines()[-1] == "ended; unfinished tasks go on at the next start"
    assert service.process.returncode == 0


def test_behind_a_token_the_answer_is_enough_to_download(
    network: Path, photos: Path, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(f"{TOKEN}\n")
    flags = ("--allow-root", photos, "--token-file", token_file, "--host", "0.0.0.0")  # noqa: S104 - what is tried
    headers = JSON | {"Authorization": f"Bearer {TOKEN}"}
    with serving(network, served(tmp_path), *flags) as service:
        url = service.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - what is tried
        body = {"images_dir": str(photos)}
        assert ask(f"{url}/request_detections", "POST", body).status == 401
        answer = ask(f"{url}/request_detections", "POST", body, headers)
        task_url = f"{url}/task/{answer.document['request_id']}"
        end_s = time.monotonic() + 30
        while b'"running"' in (said := ask(task_url, headers=headers).body):
            assert time.monotonic() < end_s
        (tmp_path / "answer.json").write_bytes(said)
        line = f"{tmp_path}/answer.json --dataset set -c {tmp_path}/mdcache"
        logdir = ["--logdir", str(tmp_path)]
        assert cache_batchapi_outputs.main(line.split() + logdir) == 0
        assert TOKEN not in service.end()


def count_records(journal: Path) -> int:
    try:
        return max(0, journal.read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


def wait_for_records(service: Service, task_id: str, count: int) -> None:
    journal = service.folder / task_id / "journal"
    wait_until(lambda: count_records(journal) >= count)


def wait_until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.001)


def log_of(service: Service, task_id: str) -> dict[str, Any]:
    (path,) = (service.folder / task_id).glob("batch_service_log_*.json")
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_d37_ended_and_started_again_it_goes_on_from_there(
    name: str, slow: Path, tmp_path: Path
) -> None:
    how = signal.Signals[name]
    photos = tmp_path / "photos"
    draw(photos, 30)
    whole = expected(slow, photos, tmp_path / "detections.json")
    flags = ("--allow-root", photos, "--device", "cpu")
    service = start(slow, served(tmp_path), *flags)
    ids = [service.submit(request_name=name, images_dir=str(photos)) for name in "ab"]
    wait_for_records(service, ids[0], 5)
    if how == signal.SIGKILL:
        service.kill()
    else:
        service.end(how)
    codes = {signal.SIGKILL: -9, signal.SIGTERM: 0, signal.SIGINT: 130}
    assert service.process.returncode == codes[how]
    done = count_records(service.folder / ids[0] / "journal")
    assert 5 <= done < 30, "it was done before it ended"

    with serving(slow, served(tmp_path), *flags) as again:
        ended = again.wait(*ids)
        # It removes a journal right after it says that the task is completed.
        wait_until(lambda: not list(again.folder.glob("*/journal")))
    assert [status["request_status"] for status in ended] == ["completed"] * 2
    counts = log_of(again, ids[0])["counts"]
    assert counts["images_of_earlier_runs"] == done
    assert counts["images_of_this_run"] == 30 - done
    for task_id in ids:
        path = again.folder / task_id / "detections.json"
        assert path.read_bytes() == whole


def test_a_second_signal_ends_it_at_once(slow: Path, tmp_path: Path) -> None:
    draw(tmp_path / "photos", 2)
    flags = ("--allow-root", tmp_path / "photos")
    # One batch that takes long.
    service = start(slow, served(tmp_path), *flags, "--batch_size", "64")
    service.submit(images_dir=str(tmp_path / "photos"))
    service.process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    if service.process.poll() is None:
        service.process.send_signal(signal.SIGTERM)
    service.process.communicate(timeout=30)
    assert service.process.returncode in {0, 130}


def test_two_services_do_not_share_a_folder(
    network: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(network, served(tmp_path), "--allow-root", photos):
        line = [str(network), str(served(tmp_path)), "--allow-root", str(photos)]
        assert batch_service.main([*line, "--port", "0"]) == 1
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith(f"error: another run is writing {served(tmp_path)}/tasks.sqlite")
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "no image can be read: give --allow-root or --allow-url, or both"),
        ("--allow-root gone", "no such folder: gone (--allow-root)"),
        ("--allow-url file:///x", "--allow-url 'file:///x': it is no address of http"),
        ("--allow-url http://169.254.169.254/", "such an address is never asked"),
        ("--allow-root . --host 0.0.0.0", "--host 0.0.0.0 needs a token; --token-file"),
        ("--allow-root . --host ::", "--host :: needs a token; --token-file or"),
        ("--allow-root . --token-file short", "the token has less than 16 characters"),
        ("--allow-root . --token-file odd", "the token holds more than ASCII"),
        ("--allow-root . --token-file empty", "needs a token; --token-file or"),
        ("--allow-root . --port 1", "cannot listen on 127.0.0.1:1: "),
    ],
)
def test_what_cannot_be_served_is_one_line(  # noqa: PLR0913, PLR0917 - fixtures
    flags: str,
    message: str,
    network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "--port 1" in flags and os.geteuid() == 0:
        pytest.skip("root may listen on any port")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    (tmp_path / "short").write_text("secret")
    (tmp_path / "empty").touch()
    (tmp_path / "odd").write_text("a secret of many words")
    assert batch_service.main([str(network), "served", *flags.split()]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert message in said
    assert "secret" not in said


def test_the_token_may_be_in_the_environment(
    network: Path, photos: Path, tmp_path: Path
) -> None:
    with serving(
        network,
        served(tmp_path),
        "--allow-root",
        photos,
        **{TOKEN_VARIABLE: TOKEN},
    ) as service:
        assert ask(f"{service.url}/task/x").status == 401


def test_a_port_is_a_number_below_65536(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        batch_service.main(["default", "served", "--port", "65536"])
    assert ended.value.code == 2
    assert "--port 65536: there are 65535" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_told_before_it_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"gone.onnx {served(tmp_path)} --allow-root {tmp_path}"
    assert batch_service.main(line.split()) == 1
    assert "no such model file" in capsys.readouterr().err
