"""Every step that reads images reads those of containers and web addresses alike."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from classification import crop_detections, detect_and_crop
from classification.artifacts import dataset_list
from classification.artifacts.dataset_list import DatasetEntry
from detection import run_detector_batch
from tests.detection.detectors.graphs import red_detector
from tests.web import serving_folder
from tests.world import photograph, save_jpeg

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.azurite import Azurite

Capture = pytest.CaptureFixture[str]
SECRET = "sig=SECRET"  # noqa: S105 - looked for in all that is written
NAMES = [f"d/a/{number:02}.jpg" for number in range(12)]


class World:
    """Images in a folder, and the commands that read them from there or elsewhere."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.images = base / "images"
        self.model = red_detector(base / "md_red_v9.0.onnx")
        for number, name in enumerate(NAMES):
            scene = photograph(80, 60, seed=number)
            scene.paste((40 + 16 * number, 60, 60), (10, 10, 50, 40))
            save_jpeg(self.images / name, scene)

    def detect(self, images: object, output: str, *words: str) -> int:
        given = [str(self.model), str(images), str(self.base / output), "--recursive"]
        return run_detector_batch.main([*given, "--loader_workers", "2", *words])

    def detected(self, output: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.base / output).read_bytes())
        return document

    def detected_here(self) -> dict[str, Any]:
        assert self.detect(self.images, "here.json", "--output_relative_filenames") == 0
        return self.detected("here.json")

    def crop(self, crops: str, *words: str) -> int:
        given = [str(self.base / "here.json"), str(self.base / crops)]
        return crop_detections.main(
            [*given, "--logdir", str(self.base / "logs"), *words]
        )

    def files(self, folder: str) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.base / folder)): path.read_bytes()
            for path in sorted((self.base / folder).rglob("*.jpg"))
        }

    def log(self, folder: str = "logs") -> dict[str, Any]:
        logs = (self.base / folder).glob("*_log_*.json")
        newest = max(logs, key=lambda path: path.stat().st_mtime_ns)
        document: dict[str, Any] = json.loads(newest.read_bytes())
        return document

    def blobs(self) -> dict[str, bytes]:
        return {name: (self.images / name).read_bytes() for name in NAMES}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def closing_after(number: int, token: str) -> Callable[[str], int]:
    """Returns a doorkeeper who lets a token in so many times, and any other for ever."""
    seen = count(1)
    return lambda path: 403 if token in path and next(seen) > number else 0


def test_a_detector_looks_into_a_container(world: World, emulator: Azurite) -> None:
    here = world.detected_here()
    others = {"notes.txt": b"x", "d/b.jpg.part": b"x"}
    url = emulator.container("detect", world.blobs() | others)
    (world.base / "url").write_text(emulator.with_token(url))
    assert world.detect(f"@{world.base / 'url'}", "there.json") == 0
    assert world.detected("there.json") == here


def test_a_detector_looks_at_a_list_of_addresses(world: World) -> None:
    here = {image["file"]: image for image in world.detected_here()["images"]}
    with serving_folder(world.images) as web:
        given = [f"{web.url}/{name}?{SECRET}" for name in [*NAMES, "d/none.jpg"]]
        (world.base / "list.txt").write_text("\n".join(given))
        assert world.detect(world.base / "list.txt", "there.json") == 0
    *found, lost = world.detected("there.json")["images"]
    for image, name in zip(found, NAMES, strict=True):
        assert image == here[name] | {"file": f"{web.url}/{name}"}
    assert lost["file"] == f"{web.url}/d/none.jpg"
    assert lost["failure"] == "no such file"


def test_names_that_differ_only_where_a_token_is_are_refused(
    world: World, capsys: Capture
) -> None:
    (world.base / "list.txt").write_text("http://x/a.jpg?id=1\nhttp://x/a.jpg?id=2\n")
    assert world.detect(world.base / "list.txt", "there.json") == 1
    assert "two addresses of http://x/a.jpg differ" in capsys.readouterr().err


def test_an_expired_token_ends_the_run_once_and_a_new_one_goes_on(
    world: World, capsys: Capture
) -> None:
    def write_list(token: str) -> Path:
        path = world.base / "list.txt"
        path.write_text("\n".join(f"{web.url}/{name}?sig={token}" for name in NAMES))
        return path

    with serving_folder(world.images, doorkeeper=closing_after(6, "OLD")) as web:
        assert world.detect(write_list("NEW"), "whole.json") == 0
        web.asked.clear()
        assert world.detect(write_list("OLD"), "there.json") == 1
        errors = [
            line for line in capsys.readouterr().err.splitlines() if "error" in line
        ]
        assert errors == [
            f"error: {web.url} lets nobody in with this token: HTTP 403 Forbidden"
        ]
        assert not (world.base / "there.json").exists()
        assert (world.base / "there.json.journal").exists()
        web.asked.clear()
        assert world.detect(write_list("NEW"), "there.json") == 0
        assert len(web.asked) <= len(NAMES) - 3
    whole, there = (world.base / name for name in ("whole.json", "there.json"))
    assert there.read_bytes() == whole.read_bytes()
    assert all(
        image["detections"] is not None
        for image in world.detected(there.name)["images"]
    )


def test_crops_of_a_container_are_those_of_a_folder(
    world: World, emulator: Azurite
) -> None:
    world.detected_here()
    assert world.crop("crops", "-i", str(world.images)) == 0
    url = emulator.with_token(emulator.container("crops", world.blobs()), "r")
    assert world.crop("from_container", "-c", url) == 0
    assert world.files("from_container") == world.files("crops") != {}
    assert world.log()["num_new_downloads"] == len(NAMES)
    assert "sig=" not in json.dumps(world.log())


def test_full_images_are_kept_and_not_fetched_again(world: World) -> None:
    world.detected_here()
    kept = ("-i", str(world.base / "kept"), "--save-full-images")
    with serving_folder(world.images) as web:
        words = (*kept, "-c", f"{web.url}?{SECRET}")
        assert world.crop("crops", *words) == 0
        assert world.files("kept") == world.blobs()
        (world.base / "crops" / next(iter(world.files("crops")))).unlink()
        web.asked.clear()
        assert world.crop("crops", *words) == 0
        assert web.asked == []
    assert world.log()["num_new_downloads"] == 0
    assert world.log()["num_new_crops"] == 1


def test_d39_an_image_that_is_here_is_never_overwritten(world: World) -> None:
    world.detected_here()
    mine = save_jpeg(world.base / "kept" / NAMES[0], photograph(80, 60, seed=99))
    before = mine.read_bytes()
    with serving_folder(world.images) as web:
        kept = ("-i", str(world.base / "kept"), "--save-full-images")
        assert world.crop("crops", *kept, "-c", web.url) == 0
    assert mine.read_bytes() == before


def test_an_expired_token_fails_no_image(world: World, capsys: Capture) -> None:
    world.detected_here()
    with serving_folder(world.images, doorkeeper=closing_after(3, SECRET)) as web:
        words = ("-c", f"{web.url}?{SECRET}", "--threads", "1")
        assert world.crop("crops", *words) == 1
    assert capsys.readouterr().err.endswith(
        f"error: {web.url} lets nobody in with this token: HTTP 403 Forbidden\n"
    )
    assert len(world.files("crops")) >= 3
    with serving_folder(world.images) as web:
        assert world.crop("crops", "-c", f"{web.url}?{SECRET}") == 0
    assert world.log()["counts"]["images_failed"] == 0


def test_d40_an_image_out_of_reach_is_listed_and_the_run_goes_on(world: World) -> None:
    world.detected_here()
    with serving_folder(
        world.images, doorkeeper=lambda path: 503 if NAMES[3] in path else 0
    ) as web:
        assert world.crop("crops", "-c", web.url, "--tries", "1") == 0
    [failure] = world.log()["failures"]
    assert failure["item"] == NAMES[3]
    assert failure["reason"].endswith("HTTP 503 Service Unavailable (try 1 of 1)")


def write_query(world: World) -> None:
    query = {
        name: {"dataset": "d", "class": "elk", "label": ["deer"]} for name in NAMES
    }
    (world.base / "queried_images.json").write_text(json.dumps(query))


def test_a_token_that_expires_while_detecting_fails_no_image(world: World) -> None:
    write_query(world)

    def harvest(place: str, url: str) -> int:
        given = [str(world.base / "queried_images.json"), str(world.base / place)]
        given += ["-c", str(world.base / place), "--run-detector", "--threads", "1"]
        given += ["--detector", str(world.model), "--container-url", url]
        return detect_and_crop.main(given)

    with serving_folder(world.images, doorkeeper=closing_after(5, "OLD")) as web:
        assert harvest("whole", f"{web.url}?sig=NEW") == 0
        assert harvest("out", f"{web.url}?sig=OLD") == 1
        assert not list((world.base / "out").rglob("d.json"))
        web.asked.clear()
        assert harvest("out", f"{web.url}?sig=NEW") == 0
        assert len(web.asked) == len(NAMES) - 5
    [whole], [out] = ((world.base / p).rglob("d.json") for p in ("whole", "out"))
    assert out.read_bytes() == whole.read_bytes()


def test_a_metadata_store_leads_to_containers(world: World, emulator: Azurite) -> None:
    write_query(world)
    below = {name.removeprefix("d/"): data for name, data in world.blobs().items()}
    url = emulator.container("dataset", below)
    entry = DatasetEntry(container=url)
    (world.base / "megadb").mkdir()
    dataset_list.write(world.base / "megadb", {"d": entry})

    def cut(place: str, *words: str) -> dict[str, bytes]:
        given = [str(world.base / "queried_images.json"), str(world.base / place)]
        given += ["-c", str(world.base / place / "cache"), "--run-detector"]
        given += ["--detector", str(world.model), "--cropped-images-dir"]
        given += [str(world.base / place / "crops"), *words]
        assert detect_and_crop.main(given) == 0
        return world.files(f"{place}/crops")

    here = cut("here", "--images-dir", str(world.images))
    assert len(here) >= len(NAMES)
    known = ("--megadb", str(world.base / "megadb"))
    given = ("--container-url", f"d={emulator.with_token(url, 'r')}")
    kept = ("--images-dir", str(world.base / "kept"), "--save-full-images")
    assert cut("there", *known, *given, *kept) == here
    assert world.log("there")["num_new_downloads"] == len(NAMES)
    assert world.files("kept") == world.blobs()
    assert cut("alone", *given) == here
    # Once to detect, and once more to crop, since nothing was kept.
    assert world.log("alone")["num_new_downloads"] == 2 * len(NAMES)
