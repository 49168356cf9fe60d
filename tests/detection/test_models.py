from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from functools import partial
from http.server import (
    BaseHTTPRequestHandler,
    SimpleHTTPRequestHandler,
    ThreadingHTTPServer,
)
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from classification.artifacts.layout import training_suffix
from classification.runtime.errors import ModelError, StorageError
from classification.runtime.registry import CACHE_VARIABLE, RegistryFile
from classification.storage.retrying import Patience
from detection import models
from detection.models import Download, KnownModel, find, resolve, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator

V5A = models.MODELS[2]
DATA = b"weights " * 1000


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server for ``tmp_path/web``; yields its address."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / V5A.file).write_bytes(DATA)
    yield from serve(partial(QuietHandler, directory=str(folder)))


def serve(handler: object) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]  # a partial of a class
    server.daemon_threads = False  # so that closing waits for answers
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def here(known: KnownModel, url: str) -> KnownModel:
    """The model as if it were published at ``url`` with the content of the tests."""
    digest = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    return replace(
        known, source=Download(f"{url}/{known.file}"), checksum=f"md5:{digest}"
    )


class TestTable:
    def test_no_two_models_share_a_spelling(self) -> None:
        spellings = [
            Path(text).stem.casefold()
            if text.endswith((".pt", ".pb"))
            else text.casefold()
            for known in models.MODELS
            for text in {known.name, *known.aliases}
        ]
        assert len(spellings) == len(set(spellings))

    @pytest.mark.parametrize("known", models.MODELS, ids=lambda known: known.name)
    def test_every_spelling_finds_its_model(self, known: KnownModel) -> None:
        spellings = (known.name, known.version, known.file, *known.aliases)
        for text in (*spellings, known.converted_file, f"/models/{known.file}"):
            assert find(text) is known
            assert find(text.upper()) is known

    @pytest.mark.parametrize("known", models.MODELS, ids=lambda known: known.name)
    def test_facts_make_sense(self, known: KnownModel) -> None:
        assert training_suffix(known.version) == f"mdv{known.version}"
        assert list(known.categories) == [
            str(at + 1) for at in range(len(known.categories))
        ]
        assert 0 < known.typical_threshold < 1
        assert (known.conservative_threshold or 0) < known.typical_threshold
        algorithm, _, digest = known.checksum.partition(":")
        assert (
            not known.checksum or len(digest) == 2 * hashlib.new(algorithm).digest_size
        )
        if isinstance(known.source, Download):
            assert known.source.url.endswith(f"/{known.file}")

    def test_names_of_the_command_line(self) -> None:
        names = (
            "default",
            "MDV4",
            "MDV5A",
            "MDV5B",
            "MD1000-redwood",
            "MDv1000-sorrel",
        )
        assert [known.name for name in names if (known := find(name))] == [
            "megadetector_lite-20220528",
            "md_v4.1.0.pb",
            "md_v5a.0.0.pt",
            "md_v5b.0.0.pt",
            "md_v1000.0.0-redwood.pt",
            "md_v1000.0.0-sorrel.pt",
        ]

    def test_an_unknown_name_is_none(self) -> None:
        assert find("MDV6") is None
        assert find("") is None

    def test_the_printed_table(self) -> None:
        paragraphs = models.table().split("\n\n")
        assert len(paragraphs) == len(models.MODELS)
        assert paragraphs[1] == (
            "md_v4.1.0.pb  (also: MDV4, MDV4.1, v4.1, megadetector_v4.1, megadetector_v4_1_0)\n"
            "  version    4.1\n"
            "  finds      animal, person, vehicle\n"
            "  input      1024 px\n"
            "  threshold  typical 0.8, conservative 0.3\n"
            "  licence    MIT (MegaDetector); TensorFlow is Apache-2.0\n"
            "  source     https://github.com/agentmorris/MegaDetector/releases/download/v4.1/md_v4.1.0.pb\n"
            "  checksum   none published; that of the first file that comes is kept\n"
            "  note       TensorFlow frozen graph: extra [tensorflow]"
        )
        assert "zamba==2.7.2 (package registry)" in paragraphs[0]


@pytest.mark.parametrize(
    ("detector", "version"),
    [
        ("megadetector_v4.1", "4.1"),
        ("md_v4.1.0.pb", "4.1"),
        ("md_v5a.0.0.pt", "5a.0.0"),
        ("md_v5a.0.0", "5a.0.0"),
        ("md_v5b.0.1.pt", "5b.0.1"),
        ("MDV5A", "5a.0.0"),
        ("md_v1000.0.0-redwood.pt", "1000.0.0-redwood"),
        ("megadetector_lite-20220528", "lite-20220528"),
        ("my_v2_detector_v7.2.onnx", "7.2"),
        ("MDV6", "6"),
        ("MDV6-yolov9-c", "6-yolov9-c"),
        ("detectorv3.pt", "3"),
        ("megadetector_v5_camonly_mosaic_xlarge_dist_5a_last", "5a.0.0"),
        ("unknown", None),
        ("vision", None),
        ("", None),
    ],
)
def test_d30_every_name_of_a_detector_tells_its_version(
    detector: str, version: str | None
) -> None:
    assert version_of(detector) == version


class TestFiles:
    def test_a_file_of_ones_own(self, tmp_path: Path) -> None:
        path = tmp_path / "deer_v2.1.onnx"
        path.write_bytes(b"x")
        model = resolve(str(path))
        assert (model.path, model.name) == (path, "deer_v2.1.onnx")
        assert (model.version, model.known, model.metadata()) == ("2.1", None, {})

    def test_a_file_of_the_table_has_its_name_in_any_form(self, tmp_path: Path) -> None:
        path = tmp_path / "md_v5a.0.0.onnx"
        path.write_bytes(b"x")
        model = resolve(str(path))
        assert (model.name, model.version) == ("md_v5a.0.0.pt", "5a.0.0")
        assert model.metadata() == {
            "megadetector_version": "v5a.0.0",
            "typical_detection_threshold": 0.2,
            "conservative_detection_threshold": 0.05,
        }

    def test_a_threshold_that_nobody_published_is_left_out(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "md_v1000.0.0-larch.pt"
        path.write_bytes(b"x")
        assert resolve(str(path)).metadata() == {
            "megadetector_version": "v1000.0.0-larch",
            "typical_detection_threshold": 0.3,
        }

    def test_a_version_that_is_a_name_takes_no_v(self, tmp_path: Path) -> None:
        path = tmp_path / "megadetector_lite-20220528.onnx"
        path.write_bytes(b"x")
        metadata = resolve(str(path)).metadata()
        assert metadata["megadetector_version"] == "lite-20220528"

    def test_another_file_that_goes_by_a_known_name(self, tmp_path: Path) -> None:
        path = tmp_path / "yolox_tiny_640_20220528.pth"
        path.write_bytes(b"not 40,571,013 bytes")
        assert resolve(str(path)).known is None

    @pytest.mark.parametrize(
        "model", ["no/such/md_v5a.0.0.pt", "mine.onnx", "x/default"]
    )
    def test_a_file_that_is_not_there(self, model: str) -> None:
        with pytest.raises(ModelError) as error:
            resolve(model)
        assert str(error.value) == (
            f"no such model file: {model} (--list-models prints the names there are)"
        )

    def test_a_name_that_is_not_there(self) -> None:
        with pytest.raises(ModelError) as error:
            resolve("MDV5C")
        assert str(error.value) == (
            "no model file and no known model: MDV5C; near: MDV5, MDV5B, MDV5A "
            "(--list-models prints the names there are)"
        )
        with pytest.raises(ModelError) as error:
            resolve("qqq")
        assert str(error.value) == (
            "no model file and no known model: qqq (--list-models prints the names there are)"
        )


class TestDownload:
    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(models, "PATIENCE", Patience(tries=2, pause_s=0.01))

    def test_a_model_is_downloaded_once(
        self, cache: Path, web: str, tmp_path: Path
    ) -> None:
        known = here(V5A, web)
        assert models.fetch(known) == cache / "md_v5a.0.0.pt"
        assert (cache / "md_v5a.0.0.pt").read_bytes() == DATA
        (tmp_path / "web" / V5A.file).unlink()
        assert models.fetch(known) == cache / "md_v5a.0.0.pt"

    def test_a_mirror_stands_in(
        self, cache: Path, web: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(models.MIRROR_VARIABLE, web + "/")
        with pytest.raises(ModelError) as error:
            resolve("MDV5A")  # the tests' file is not MegaDetector
        assert str(error.value) == (
            f"{web}/md_v5a.0.0.pt is not what was expected: its md5 is "
            f"{hashlib.md5(DATA, usedforsecurity=False).hexdigest()}, not "
            f"ec1d7603ec8cf642d6e0cd008ba2be8c; fetch it in another way and put it at {cache / 'md_v5a.0.0.pt'}"
        )
        assert list(cache.iterdir()) == []

    def test_a_file_put_there_by_hand_is_taken(self, cache: Path) -> None:
        cache.mkdir()
        (cache / "md_v5a.0.0.pt").write_bytes(b"x")
        assert resolve("mdv5a").path == cache / "md_v5a.0.0.pt"

    def test_its_onnx_form_comes_first(self, cache: Path) -> None:
        cache.mkdir()
        for name in ("md_v5a.0.0.pt", "md_v5a.0.0.onnx"):
            (cache / name).write_bytes(b"x")
        model = resolve("MDV5A")
        assert model.path == cache / "md_v5a.0.0.onnx"
        assert model.name == "md_v5a.0.0.pt"

    def test_of_a_model_without_a_checksum_the_first_digest_is_kept(
        self, cache: Path, web: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        known = replace(here(V5A, web), checksum="")
        path = models.fetch(known)
        assert path.read_bytes() == DATA
        kept = cache / f"{path.name}.sha256"
        digest = hashlib.sha256(DATA).hexdigest()
        assert kept.read_text() == f"{digest}  {path.name}\n"
        assert "no SHA-256 of it is published" in caplog.text
        assert models.fetch(known) == path

    def test_what_differs_from_the_first_that_came_is_refused(
        self, cache: Path, web: str, tmp_path: Path
    ) -> None:
        known = replace(here(V5A, web), checksum="")
        path = models.fetch(known)
        path.unlink()
        (tmp_path / "web" / V5A.file).write_bytes(b"another file")
        for _ in range(2):  # as it arrives, and as it lies there
            with pytest.raises(StorageError, match="is not the file that came first"):
                models.fetch(known)
        (cache / f"{path.name}.sha256").unlink()
        assert models.fetch(known).read_bytes() == b"another file"

    def test_a_page_that_is_not_there(self, cache: Path, web: str) -> None:
        known = here(models.MODELS[1], web)
        assert refusal(known) == (
            f"cannot download {web}/md_v4.1.0.pb: HTTP 404 Not Found; "
            f"fetch it in another way and put it at {cache / 'md_v4.1.0.pb'}"
        )

    def test_a_server_that_is_not_there(self, cache: Path) -> None:
        known = here(V5A, "http://127.0.0.1:1")
        assert refusal(known) == (
            "cannot download http://127.0.0.1:1/md_v5a.0.0.pt: Connection refused (try 2 of 2); "
            f"fetch it in another way and put it at {cache / 'md_v5a.0.0.pt'}"
        )

    @pytest.mark.parametrize(
        ("length", "body", "reason"),
        [
            (len(DATA), DATA[:50], f"50 of {len(DATA)} bytes came"),
            (0, b"", "nothing came"),
        ],
    )
    def test_a_download_that_breaks_off(
        self, cache: Path, length: int, body: bytes, reason: str
    ) -> None:
        class Breaking(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        for address in serve(Breaking):
            assert refusal(here(V5A, address)) == (
                f"cannot download {address}/md_v5a.0.0.pt: {reason} (try 2 of 2); "
                f"fetch it in another way and put it at {cache / 'md_v5a.0.0.pt'}"
            )
        assert list(cache.iterdir()) == []

    def test_an_answer_that_is_no_http(self, cache: Path) -> None:
        class Babbling(BaseHTTPRequestHandler):
            def handle(self) -> None:
                self.rfile.readline()
                self.wfile.write(b"nonsense\r\n\r\n")

        for address in serve(Babbling):
            assert "cannot download" in refusal(here(V5A, address))
        assert list(cache.iterdir()) == []

    def test_only_the_web_is_asked(self, cache: Path, tmp_path: Path) -> None:
        (tmp_path / V5A.file).write_bytes(DATA)
        known = here(V5A, tmp_path.as_uri())
        assert refusal(known).endswith(
            f": not an address of http or https; fetch it in another way and put it at {cache / V5A.file}"
        )


def refusal(known: KnownModel) -> str:
    with pytest.raises(ModelError) as error:
        models.fetch(known)
    return str(error.value)


def test_a_model_out_of_a_package_is_kept_where_the_registry_room_keeps_it(
    cache: Path,
) -> None:
    digest = hashlib.sha256(DATA).hexdigest()
    source = RegistryFile(
        package="zamba", version="2.7.2", member="a/lite.pth", sha256=digest
    )
    kept = cache / "zamba-2.7.2" / "lite.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(DATA)
    assert models.fetch(replace(models.MODELS[0], source=source)) == kept


def test_whether_a_model_is_here(cache: Path, tmp_path: Path) -> None:
    assert not models.is_here("MDV5A")
    assert not models.is_here(str(tmp_path / "own.onnx"))
    (tmp_path / "own.onnx").write_bytes(DATA)
    assert models.is_here(str(tmp_path / "own.onnx"))
    for file in (V5A.file, V5A.converted_file):
        cache.mkdir(exist_ok=True)
        (cache / file).write_bytes(DATA)
        assert models.is_here("MDV5A")
        (cache / file).unlink()
