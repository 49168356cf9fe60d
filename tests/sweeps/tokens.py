"""Runs every step that is given a token, at DEBUG, and lets everything go wrong."""

from __future__ import annotations

import contextlib
import io
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import mock

from classification import (
    analyze_failed_images,
    cache_batchapi_outputs,
    crop_detections,
    detect_and_crop,
    download_images,
    import_metadata,
    json_validator,
)
from classification.artifacts import dataset_list
from classification.artifacts.dataset_list import DatasetEntry
from classification.runtime import parallel
from classification.storage import azure, connection
from detection import run_detector_batch
from detection.batch_client import TOKEN_VARIABLE
from tests.detection.detectors.graphs import red_detector
from tests.serving import serving as running_service
from tests.sweeps import Outcome
from tests.web import Reply, serving, serving_folder
from tests.world import (
    DEER_AND_BIRDS,
    photograph,
    save_jpeg,
    write_store,
    write_taxonomy,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

MARK = "MARKEDTOKEN7f3c"
TOKEN = f"sv=2020-10-02&se=2021-02-03T04%3A05%3A06Z&sp=r&sig={MARK}%2Fx%3D"
NAMES = [f"d/{number}.jpg" for number in range(3)]


def missing() -> str:
    return ""


@dataclass(frozen=True)
class World:
    """A folder with all that the steps read.

    Attributes:
        folder: where it is; steps write below ``out`` in it.
        url: address of the images, without a token.
    """

    folder: Path
    url: str

    @property
    def place(self) -> str:
        return f"{self.url}/images?{TOKEN}"

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def write_inputs(self) -> None:
        """Writes what the steps read; what holds a token is in ``given``."""
        detections = {
            "info": {"format_version": "1.6", "detector": "md_v9.0"},
            "detection_categories": {"1": "animal"},
            "images": [
                {
                    "file": name,
                    "detections": [
                        {"category": "1", "conf": 0.9, "bbox": [0, 0, 0.5, 0.5]}
                    ],
                }
                for name in NAMES
            ],
        }
        query = {
            name: {"dataset": "d", "class": "elk", "label": ["deer"]} for name in NAMES
        }
        response = {
            "TaskId": "images",
            "Status": {
                "request_status": "completed",
                "message": {
                    "output_file_urls": {
                        "detections": f"{self.url}/images/x.json?{TOKEN}"
                    }
                },
            },
        }
        for name, document in (
            ("detections.json", detections),
            ("queried_images.json", query),
            ("given/response.json", response),
            ("spec.json", {"deer": {"dataset_labels": {"d": ["deer"]}}}),
        ):
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(json.dumps(document))
        (self.folder / "names.txt").write_text("\n".join(NAMES))
        given = [f"{self.url}/images/{name}?{TOKEN}" for name in NAMES]
        (self.folder / "given/urls.txt").write_text("\n".join(given))
        (self.folder / "given/place").write_text(self.place)
        write_taxonomy(self.folder / "taxonomy.csv", DEER_AND_BIRDS)
        images = [
            {"file": name.removeprefix("d/"), "labels": ["deer"], "location": "1"}
            for name in NAMES
        ]
        write_store(self.folder / "megadb", {"d": images})
        (self.folder / "known").mkdir(exist_ok=True)
        entry = DatasetEntry(container=f"{self.url}/images/d")
        dataset_list.write(self.folder / "known", {"d": entry})
        red_detector(self.folder / "md_red_v9.0.onnx")


Step = tuple["Callable[[Sequence[str]], int]", "Callable[[World], list[str]]"]
# Those that come to the code in which the bug is; lists of containers are another's.
_ASKING = frozenset(
    {
        *("run_detector_batch, list", "crop_detections", "detect_and_crop"),
        *("detect_and_crop, environment", "json_validator", "download_images"),
        *("analyze_failed_images", "cache_batchapi_outputs"),
    }
)
_FEW = ["--tries", "2", "--timeout", "1"]

# Every step that takes an address: in a flag, a file, a list, the environment.
STEPS: dict[str, Step] = {
    "run_detector_batch, container": (
        run_detector_batch.main,
        lambda w: [w.path("md_red_v9.0.onnx"), w.place, w.path("out/d.json"), *_FEW],
    ),
    "run_detector_batch, list": (
        run_detector_batch.main,
        lambda w: [
            *(
                w.path("md_red_v9.0.onnx"),
                w.path("given/urls.txt"),
                w.path("out/d.json"),
            ),
            *_FEW,
        ],
    ),
    "run_detector_batch, file": (
        run_detector_batch.main,
        lambda w: [
            *(w.path("md_red_v9.0.onnx"), f"@{w.path('given/place')}"),
            *(w.path("out/d.json"), *_FEW),
        ],
    ),
    "crop_detections": (
        crop_detections.main,
        lambda w: [
            *(w.path("detections.json"), w.path("out/crops"), "-c", w.place, *_FEW),
            *(
                "-i",
                w.path("out/images"),
                "--save-full-images",
                "--logdir",
                w.path("out"),
            ),
        ],
    ),
    "detect_and_crop": (
        detect_and_crop.main,
        lambda w: [
            *(w.path("queried_images.json"), w.path("out"), "-c", w.path("out/cache")),
            *("--run-detector", "--detector", w.path("md_red_v9.0.onnx")),
            *("--container-url", w.place, "-p", w.path("out/crops"), *_FEW),
        ],
    ),
    "detect_and_crop, environment": (
        detect_and_crop.main,
        lambda w: [
            *(w.path("queried_images.json"), w.path("out"), "-c", w.path("out/cache")),
            *("--run-detector", "--detector", w.path("md_red_v9.0.onnx")),
            *("--megadb", w.path("known"), "-p", w.path("out/crops"), *_FEW),
        ],
    ),
    "json_validator": (
        json_validator.main,
        lambda w: [
            *(w.path("spec.json"), w.path("taxonomy.csv"), "-o", w.path("out")),
            *("--megadb", w.path("megadb"), "--check-blob-exists"),
            *("--base-url", w.place, *_FEW),
        ],
    ),
    "json_validator, container": (
        json_validator.main,
        lambda w: [
            *(w.path("spec.json"), w.path("taxonomy.csv"), "-o", w.path("out")),
            *("--megadb", w.path("megadb"), "--check-blob-exists"),
            *("--container-url", w.place, *_FEW),
        ],
    ),
    "download_images": (
        download_images.main,
        lambda w: [
            *("txt", w.path("names.txt"), w.path("out/saved"), "--base-url", w.place),
            *("--logdir", w.path("out"), *_FEW),
        ],
    ),
    "analyze_failed_images": (
        analyze_failed_images.main,
        lambda w: [
            *(f"{w.url}/images/names.txt?{TOKEN}", "-o", w.path("out/status.csv")),
            *("--account", w.url, "--container", "images", "--sas-token", TOKEN, *_FEW),
        ],
    ),
    "cache_batchapi_outputs": (
        cache_batchapi_outputs.main,
        lambda w: [
            *(w.path("given/response.json"), "-d", "d", "-c", w.path("out/cache")),
            *("--logdir", w.path("out")),
        ],
    ),
    "import_metadata": (
        import_metadata.main,
        lambda w: [
            *(w.path("images"), "--format", "folders", "--layout", "label"),
            *("--dataset", "d", "--megadb", w.path("out/megadb")),
            *("--base-url", w.place, "--container", w.place),
            *("--logdir", w.path("out")),
        ],
    ),
}


@contextlib.contextmanager
def _serving(folder: Path, fault: str) -> Iterator[str]:
    """Runs a server that goes wrong in one way, or the code that asks it."""
    if fault == "none":
        with serving_folder(folder) as web:
            yield web.url
    elif fault == "a bug":
        with (
            serving_folder(folder) as web,
            mock.patch.object(connection, "_manager_for", side_effect=_BugError),
        ):
            yield web.url
    elif fault == "nobody there":
        yield "http://127.0.0.1:1"
    else:
        with serving(_REPLIES[fault]) as web:
            yield web.url


class _BugError(RuntimeError):
    """An error of a library that quotes what it was given."""

    def __init__(self, parts: object) -> None:
        super().__init__(f"cannot handle {parts}")


_AZURE = (("x-ms-error-code", "AuthenticationFailed"),)
_REPLIES = {
    "403": Reply(status=403),
    "403 of Azure": Reply(status=403, headers=_AZURE),
    "401": Reply(status=401),
    "404": Reply(status=404),
    "500": Reply(status=500),
    "breaks off": Reply(b"abc", length=10),
    "no image": Reply(b"<html>"),
    "leads away": Reply(status=302, headers=(("Location", "file:///etc/x?a=b"),)),
}
FAULTS = ("none", "a bug", "nobody there", *_REPLIES)


def run(share: float, folder: Path) -> Outcome:
    cases = [(step, fault) for step in STEPS for fault in FAULTS]
    count = round(share * len(cases))
    cases = random.Random(7).sample(cases, count) if share < 1 else cases
    for name in NAMES:
        save_jpeg(folder / "images" / name, photograph(64, 48))
    (folder / "images/names.txt").write_text("\n".join(NAMES))
    codes: dict[int, int] = {}
    broken = []
    for number, (step, fault) in enumerate(cases):
        place = folder / str(number)
        (place / "out").mkdir(parents=True)
        (place / "images").symlink_to(folder / "images")
        with _serving(folder, fault) as url:
            code, shown = _run_step(World(place, url), step)
        codes[code] = codes.get(code, 0) + 1
        found = [str(p) for p in (place / "out").rglob("*") if _is_marked(p)]
        if MARK in shown:
            found.append("stderr or stdout")
        broken += [f"{step}, {fault}: the token is in {where}" for where in found]
        if (fault == "a bug" and step in _ASKING) != (code == 3):
            broken.append(f"{step}, {fault}: exit {code}: {shown[-300:]}")
    broken += _try_service(folder)
    figures = {
        "steps and ways to be given a token": len(STEPS),
        "ways to fail": len(FAULTS) - 1,
        "runs": len(cases) + 1,
        "exit codes": ", ".join(f"{code}: {codes[code]}" for code in sorted(codes)),
        "places where the token was found": len(broken),
    }
    return Outcome(figures=figures, broken=broken)


def _try_service(folder: Path) -> list[str]:
    """Lets a service with a token detect images behind another, some of which fail."""
    place, service_folder = folder / "client", folder / "service"
    (place / "out").mkdir(parents=True)
    token = f"{MARK}-of-the-service"
    with serving_folder(folder, doorkeeper=lambda path: 404 * ("2.jpg" in path)) as web:
        world = World(place, web.url)
        world.write_inputs()
        with running_service(
            place / "md_red_v9.0.onnx",
            service_folder,
            *("--allow-url", web.url, "--verbose"),
            **{TOKEN_VARIABLE: token},
        ) as service:
            environment = {TOKEN_VARIABLE: token}
            words = [world.path("queried_images.json"), world.path("out"), "--verbose"]
            words += ["-c", world.path("out/cache"), "--run-detector"]
            words += ["--batch-api", service.url, "--detector-version", "9.0"]
            words += ["--base-url", world.place, "-p", world.path("out/crops"), *_FEW]
            code, shown = _run_main(detect_and_crop.main, words, environment)
            shown += service.end()
    found = [str(p) for p in (place / "out").rglob("*") if _is_marked(p)]
    found += [str(p) for p in service_folder.rglob("*") if _is_marked(p)]
    found += ["stderr or stdout"] * (MARK in shown)
    broken = [f"detection service: the token is in {where}" for where in found]
    if code:
        broken.append(f"detection service: exit {code}: {shown[-500:]}")
    return broken


def _run_step(world: World, step: str) -> tuple[int, str]:
    """Runs a step at DEBUG; returns its exit code, and all that it showed."""
    world.write_inputs()
    main, words = STEPS[step]
    environment = {
        azure.ACCOUNT_VARIABLE: world.url,
        azure.CONTAINER_VARIABLE: "images/d",
        azure.TOKEN_VARIABLE: TOKEN,
    }
    is_known = "environment" in step
    return _run_main(main, words(world), environment if is_known else {})


def _run_main(
    main: Callable[[Sequence[str]], int],
    words: Sequence[str],
    environment: Mapping[str, str],
) -> tuple[int, str]:
    shown = io.StringIO()
    with (
        contextlib.redirect_stderr(shown),
        contextlib.redirect_stdout(shown),
        mock.patch.dict("os.environ", environment),
        mock.patch.object(parallel, "pause"),  # pauses show nothing
    ):
        try:
            code = main([*words, "--verbose"])
        except SystemExit as ended:  # of the parser
            code = int(ended.code or 0)
    return code, shown.getvalue()


def _is_marked(path: Path) -> bool:
    is_named = MARK in str(path)
    return is_named or (path.is_file() and MARK.encode() in path.read_bytes())
