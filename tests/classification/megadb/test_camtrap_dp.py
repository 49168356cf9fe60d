from __future__ import annotations

import csv
import gzip
import itertools
import json
import random
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from classification.artifacts import image_table
from classification.megadb import camtrap_dp, clock, finishing
from classification.megadb.camtrap_dp import Options
from classification.megadb.staging import Staging
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

Row = Mapping[str, object]
Rows = Sequence[Row]

DEPLOYMENTS: Rows = [
    {"deploymentID": "d1", "locationID": "ridge"},
    {"deploymentID": "d2", "locationID": ""},
]


def image(id_: str, second: int, deployment: str = "d1", **more: object) -> Row:
    return {
        "mediaID": id_,
        "deploymentID": deployment,
        "timestamp": f"2020-05-30T04:00:{second:02}+02:00",
        "filePath": f"media/{id_}.jpg",
        "fileName": f"{id_}.jpg",
        "fileMediatype": "image/jpeg",
        **more,
    }


def of_image(media: str, type_: str = "animal", **more: object) -> Row:
    return {
        "deploymentID": "d1",
        "mediaID": media,
        "observationLevel": "media",
        "observationType": type_,
        "classificationMethod": "human",
        **more,
    }


def of_event(first: int, last: int, type_: str = "animal", **more: object) -> Row:
    """An event between two seconds, told in UTC, which the images are not."""
    return {
        "deploymentID": "d1",
        "eventStart": f"2020-05-30T02:00:{first:02}Z",
        "eventEnd": f"2020-05-30T02:00:{last:02}Z",
        "observationLevel": "event",
        "observationType": type_,
        "classificationMethod": "human",
        **more,
    }


def box(x: object, y: object, width: object, height: object) -> Row:
    return {"bboxX": x, "bboxY": y, "bboxWidth": width, "bboxHeight": height}


COLUMNS = {
    "deployments": ["deploymentID", "locationID"],
    "media": list(image("", 0)),
    "observations": [
        *of_event(0, 0),
        *("mediaID", "eventID", "scientificName", "count"),
        *box(0, 0, 0, 0),
    ],
}


def write_table(path: Path, columns: Sequence[str], rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def package(
    folder: Path,
    media: Rows,
    observations: Rows = (),
    deployments: Rows = DEPLOYMENTS,
    **more: object,
) -> Path:
    """Writes a package into a folder, which is made."""
    folder.mkdir()
    rows = {"deployments": deployments, "media": media, "observations": observations}
    for name, columns in COLUMNS.items():
        write_table(folder / f"{name}.csv", columns, rows[name])
    resources = [{"name": name, "path": f"{name}.csv"} for name in COLUMNS]
    describe(folder, resources, **more)
    return folder


def describe(folder: Path, resources: object, **more: object) -> None:
    document = {"resources": resources, **more}
    (folder / "datapackage.json").write_text(json.dumps(document), encoding="utf-8")


@dataclass(frozen=True)
class Staged:
    images: dict[str, dict[str, Any]]
    labels: set[tuple[str, str, str]]
    boxes: set[tuple[Any, ...]]
    boxed: set[str]
    skipped: list[tuple[str, str]]

    def column(self, name: str) -> dict[str, Any]:
        return {id_: image[name] for id_, image in self.images.items()}


def stage(source: Path, options: Options | None = None) -> Staged:
    with Staging.open(source.parent / "work") as staging:
        camtrap_dp.read(source, staging, options)
        connection = staging.connection
        images = connection.sql("FROM staged_images ORDER BY row").to_arrow_table()
        labels = connection.execute("SELECT image_id, label, level FROM staged_labels")
        rows = labels.fetchall()
        of_sequences = [row for row in rows if row[2] == "sequence"]
        assert len(of_sequences) == len(set(of_sequences))
        return Staged(
            {image["id"]: image for image in images.to_pylist()},
            set(rows),
            set(
                connection.execute(
                    "SELECT image_id, category, x, y, w, h FROM staged_boxes "
                    "WHERE is_relative"
                ).fetchall()
            ),
            {id_ for (id_,) in connection.execute("FROM staged_boxed").fetchall()},
            connection.execute("FROM staged_skipped ORDER BY item, reason").fetchall(),
        )


def test_an_image(tmp_path: Path) -> None:
    found = stage(
        package(
            tmp_path / "p",
            [image("a", 7)],
            contributors=[{"title": "INBO", "role": "rightsHolder"}],
            licenses=[
                {"name": "CC0-1.0", "scope": "data"},
                {"path": "https://cc/by", "scope": "media"},
            ],
        )
    )
    assert found.images == {
        "a": {
            "row": 2,
            "id": "a",
            "file": "media/a.jpg",
            "location": "ridge",
            "sequence": None,
            "frame": None,
            "datetime": datetime(2020, 5, 30, 4, 0, 7),  # noqa: DTZ001 - a camera's clock has no zone
            "width": None,
            "height": None,
            "url": None,
            "rights": "INBO; https://cc/by",
            "problem": None,
        }
    }
    assert not found.skipped


def test_a_location_is_that_of_the_deployment_or_the_deployment(tmp_path: Path) -> None:
    media = [
        image("a", 1),
        image("b", 2, "d2"),
        image("c", 3, "lost"),
        image("d", 4, ""),
    ]
    found = stage(package(tmp_path / "p", media))
    assert found.column("location") == {"a": "ridge", "b": "d2", "c": "lost", "d": None}
    assert found.skipped == [("deployment lost", camtrap_dp.UNKNOWN_DEPLOYMENT)]


def test_d9_locations_are_text_as_it_stands(tmp_path: Path) -> None:
    deployments = [{"deploymentID": "1", "locationID": "013"}, {"deploymentID": "02"}]
    media = [image("a", 1, "1"), image("b", 2, "02")]
    found = stage(package(tmp_path / "p", media, deployments=deployments))
    assert found.column("location") == {"a": "013", "b": "02"}


def test_what_is_odd_about_deployments_is_listed(tmp_path: Path) -> None:
    deployments = [*DEPLOYMENTS, {"deploymentID": "d1", "locationID": "other"}, {}]
    found = stage(package(tmp_path / "p", [image("a", 1)], deployments=deployments))
    assert found.column("location") == {"a": "ridge"}
    assert found.skipped == [
        ("deployments.csv row 4: d1", camtrap_dp.REPEATED_DEPLOYMENT),
        ("deployments.csv row 5", camtrap_dp.NO_DEPLOYMENT_ID),
    ]


@pytest.mark.parametrize(
    ("said", "file"),
    [
        ({"filePath": "./x\\y.jpg"}, "x/y.jpg"),
        ({"filePath": "https://w/7/file", "fileName": "I1.JPG"}, "d1/I1.JPG"),
        ({"filePath": "https://w/7/file", "fileName": "I1"}, "d1/I1.jpg"),
        ({"filePath": "https://w/7/file", "fileName": ""}, "d1/a.jpg"),
        (
            {
                "filePath": "s3://w/7",
                "fileName": "",
                "fileMediatype": "image/png",
                "deploymentID": "",
            },
            "a.png",
        ),
    ],
)
def test_the_name_of_a_file(tmp_path: Path, said: Row, file: str) -> None:
    found = stage(package(tmp_path / "p", [{**image("a", 1), **said}]))
    assert found.column("file") == {"a": file}
    is_remote = "://" in str(said["filePath"])
    assert found.column("url") == {"a": said["filePath"] if is_remote else None}


def test_names_that_images_on_the_web_share_are_told_apart(tmp_path: Path) -> None:
    media = [
        image(id_, 1, deployment, filePath=f"https://w/{id_}", fileName="I1.jpg")
        for id_, deployment in (("a", "d1"), ("b", "d1"), ("c", "d2"))
    ]
    found = stage(package(tmp_path / "p", media))
    assert found.column("file") == {
        "a": "d1/a/I1.jpg",
        "b": "d1/b/I1.jpg",
        "c": "d2/I1.jpg",
    }


def test_videos_are_left_out(tmp_path: Path) -> None:
    media = [
        image("a", 1, fileMediatype="video/mp4"),
        image("b", 2, fileMediatype="audio/wav"),
        image("c", 3, fileMediatype=""),
    ]
    found = stage(package(tmp_path / "p", media, [of_image("a")]))
    assert found.column("problem") == {
        "a": camtrap_dp.VIDEO,
        "b": camtrap_dp.NO_IMAGE,
        "c": None,
    }


def test_what_is_odd_about_media_is_listed(tmp_path: Path) -> None:
    media = [
        image("a", 1, timestamp="soon"),
        image("NA", 2),
        image("b", 3, timestamp=""),
    ]
    found = stage(package(tmp_path / "p", media))
    assert found.column("datetime") == {"a": None, "b": None}
    assert found.skipped == [
        ("media.csv row 2", clock.UNREADABLE),
        ("media.csv row 3", camtrap_dp.NO_MEDIA_ID),
    ]


def test_labels_of_images(tmp_path: Path) -> None:
    observations = [
        of_image("a", scientificName="Vulpes vulpes"),
        of_image("a", "human", scientificName="Homo sapiens"),
        of_image("b", "vehicle"),
        of_image("c", "blank"),
        of_image("d", "unknown"),
        of_image("e", "unclassified"),
        of_image("f", scientificName="NaN"),
        of_image("gone", scientificName="Sus scrofa"),
    ]
    found = stage(package(tmp_path / "p", [image("a", 1)], observations))
    assert found.labels == {
        ("a", "Vulpes vulpes", "image"),
        ("a", "human", "image"),
        ("b", "vehicle", "image"),
        ("c", "empty", "image"),
        ("d", "unknown", "image"),
        ("f", "animal", "image"),
        ("gone", "Sus scrofa", "image"),
    }


def test_an_event_labels_the_images_within_it(tmp_path: Path) -> None:
    media = [image(str(second), second) for second in (4, 5, 6, 9, 10)]
    media.append(image("elsewhere", 6, "d2"))
    observations = [of_event(5, 9, eventID="e", scientificName="Ardea")]
    found = stage(package(tmp_path / "p", media, observations))
    assert found.labels == {(id_, "Ardea", "sequence") for id_ in ("5", "6", "9")}
    assert found.column("sequence") == {
        "4": None,
        "5": "e",
        "6": "e",
        "9": "e",
        "10": None,
        "elsewhere": None,
    }


def test_an_image_with_a_label_takes_none_of_its_event(tmp_path: Path) -> None:
    media = [image(id_, second) for second, id_ in enumerate("abcd")]
    observations = [
        of_event(0, 9, scientificName="Ardea"),
        of_image("a", "blank"),
        of_image("b", "unclassified"),
        of_image("c", "animal", classificationMethod="machine"),
        of_image("d", "unknown"),
    ]
    found = stage(package(tmp_path / "p", media, observations))
    assert found.labels == {
        ("a", "empty", "image"),
        ("b", "Ardea", "sequence"),
        ("c", "Ardea", "sequence"),
        ("d", "unknown", "image"),
    }


def test_events_that_overlap(tmp_path: Path) -> None:
    media = [image(str(second), second) for second in range(6)]
    observations = [
        of_event(2, 2, eventID="within", scientificName="Sus"),
        of_event(1, 3, eventID="first", scientificName="Ardea"),
        of_event(1, 3, eventID="first", scientificName="Sus"),
        of_event(3, 4, eventID="then", scientificName="Ardea"),
    ]
    found = stage(package(tmp_path / "p", media, observations))
    assert found.labels == {
        *((str(second), "Ardea", "sequence") for second in (1, 2, 3, 4)),
        *((str(second), "Sus", "sequence") for second in (1, 2, 3)),
    }
    sequences = list(found.column("sequence").values())
    assert sequences == [None, "first", "first", "first", "then", None]


def test_the_event_that_an_image_states_is_its_sequence(tmp_path: Path) -> None:
    observations = [
        of_event(0, 9, eventID="outer"),
        of_image("a", "blank", eventID="stated"),
        of_image("a", "blank", eventID="second"),
    ]
    found = stage(package(tmp_path / "p", [image("a", 1), image("b", 2)], observations))
    assert found.column("sequence") == {"a": "second", "b": "outer"}


def test_observations_that_cannot_be_used_are_listed(tmp_path: Path) -> None:
    observations = [
        of_image("a", observationLevel="deployment"),
        of_image("a", "plant"),
        of_image("", "animal"),
        of_image("a", classificationMethod="machine"),
        of_event(0, 9, eventStart="soon"),
        of_event(9, 0),
        of_event(50, 59),
        of_event(0, 9, deploymentID=""),
        {**of_event(0, 9), **box(0, 0, 1, 1)},
        of_event(50, 59, "unclassified"),
    ]
    found = stage(package(tmp_path / "p", [image("a", 1)], observations))
    assert [reason for _, reason in sorted(found.skipped, key=lambda x: len(x[0]))] == [
        camtrap_dp.UNKNOWN_LEVEL,
        camtrap_dp.UNKNOWN_TYPE,
        camtrap_dp.NO_MEDIA_ID,
        camtrap_dp.BY_MACHINE,
        camtrap_dp.UNTIMED_EVENT,
        camtrap_dp.REVERSED_EVENT,
        camtrap_dp.EMPTY_EVENT,
        camtrap_dp.NO_DEPLOYMENT_ID,
        camtrap_dp.BOX_OF_EVENT,
    ]
    assert found.labels == {("a", "animal", "sequence")}
    assert not found.boxes


def test_boxes_that_are_all_of_their_image(tmp_path: Path) -> None:
    observations = [
        {**of_image("a", count=1), **box(0.1, 0.2, 0.3, 0.4)},
        {**of_image("a", "human"), **box(0, 0, 1, 0.5)},
        {**of_image("b", "vehicle"), **box(0, 0, 1, 1)},
        of_image("b", "blank"),
    ]
    media = [image("a", 1), image("b", 2)]
    found = stage(package(tmp_path / "p", media, observations))
    assert found.boxed == {"a", "b"}
    assert found.boxes == {
        ("a", "animal", 0.1, 0.2, 0.3, 0.4),
        ("a", "person", 0, 0, 1, 0.5),
        ("b", "vehicle", 0, 0, 1, 1),
    }


@pytest.mark.parametrize(
    "observations",
    [
        [of_image("a", "blank")],
        [{**of_image("a", count=2), **box(0, 0, 1, 1)}],
        [{**of_image("a", count="some"), **box(0, 0, 1, 1)}],
        [{**of_image("a"), **box(0, 0, 1, 1)}, of_image("a", "unknown")],
        [{**of_image("a"), **box(0, 0, 1, 1), "classificationMethod": "machine"}],
    ],
)
def test_boxes_that_are_not_all_of_their_image(
    tmp_path: Path, observations: Rows
) -> None:
    found = stage(package(tmp_path / "p", [image("a", 1)], observations))
    assert not found.boxed


def test_a_broken_box_leaves_its_image_to_a_detector(tmp_path: Path) -> None:
    source = package(
        tmp_path / "p",
        [image("a", 1), image("b", 2), image("c", 3)],
        [
            {**of_image("a"), **box("wide", 0, 1, 1)},
            {**of_image("b"), **box("", 0.5, "", "")},
            {**of_image("c"), **box(0, 0, 0.5, 0.5)},
        ],
    )
    with Staging.open(tmp_path / "work") as staging:
        camtrap_dp.read(source, staging)
        imported = finishing.finish(
            staging, dataset="x", location_from="column", megadb=tmp_path / "db"
        )
    assert imported.left_out == {"box: four numbers expected": 2}
    assert imported.boxed == 1


def test_what_machines_classified_counts_if_asked_for(tmp_path: Path) -> None:
    by_machine = {"classificationMethod": "machine"}
    observations = [
        {**of_image("a", scientificName="Sus"), **box(0, 0, 1, 1), **by_machine},
        of_event(2, 2, **by_machine),
        of_image("a", "human", classificationMethod=""),
    ]
    source = package(tmp_path / "p", [image("a", 1), image("b", 2)], observations)
    found = stage(source)
    assert found.labels == {("a", "human", "image")}
    assert not found.boxes
    found = stage(source, Options(machine_labels=True))
    assert found.labels == {
        ("a", "Sus", "image"),
        ("a", "human", "image"),
        ("b", "animal", "sequence"),
    }
    assert len(found.boxes) == 1
    assert not found.skipped


def test_the_ways_to_name_a_package(tmp_path: Path) -> None:
    source = package(tmp_path / "p", [image("a", 1)], [of_image("a")])
    expected = stage(source)
    archive = tmp_path / "p.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in source.iterdir():
            file.write(path, f"deep/{path.name}")
    assert stage(source / "datapackage.json") == expected
    assert stage(archive) == expected


def test_tables_in_parts_of_other_forms(tmp_path: Path) -> None:
    source = package(tmp_path / "p", [])
    for name in ("one", "two"):
        write_table(source / f"{name}.csv", COLUMNS["media"], [image(name, 1)])
    packed = (source / "two.csv").read_bytes()
    (source / "two.csv.gz").write_bytes(gzip.compress(packed))
    text = "mediaID;observationLevel;observationType;deploymentID;scientificName\n"
    text += "one;media;animal;d1;Kamtschatka-Bär\none;media\n"
    (source / "o.csv").write_text(text, encoding="cp1252")
    describe(
        source,
        [
            {"name": "individuals", "data": []},
            {"name": "deployments", "path": "deployments.csv", "encoding": "UTF-8"},
            {"name": "media", "path": ["one.csv", "two.csv.gz"]},
            {
                "name": "observations",
                "path": "o.csv",
                "encoding": "cp1252",
                "dialect": {"delimiter": ";"},
            },
        ],
    )
    found = stage(source)
    assert list(found.images) == ["one", "two"]
    assert found.labels == {("one", "Kamtschatka-Bär", "image")}
    assert found.skipped == [("o.csv row 3", "5 cells expected, as the header has")]


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("media", "", "row 1: the names of the columns expected"),
        ("media", "mediaID,deploymentID,filePath\n", "no column 'timestamp'"),
        ("deployments", "deployment_id,x\n", "did you mean 'deployment_id'"),
        ("observations", "deploymentID,mediaID,observationType\n", "observationLevel"),
        ("media", "a,b\n\xff,2\n", "the key encoding in datapackage.json names"),
        ("media", "a;b\n", "read with the delimiter ; in the dialect that datapackage"),
    ],
)
def test_a_broken_table_is_one_line(
    tmp_path: Path, table: str, text: str, message: str
) -> None:
    source = package(tmp_path / "p", [image("a", 1)])
    (source / f"{table}.csv").write_text(text, encoding="latin-1")
    with pytest.raises(ArtifactError, match=message) as error:
        stage(source)
    assert str(source / f"{table}.csv") in str(error.value)


def by_hand(
    media: Rows, observations: Rows
) -> tuple[set[tuple[str, str, str]], dict[str, str | None]]:
    """Labels and sequences, by looking at each image and each observation."""

    def instant(text: object) -> datetime:
        return datetime.fromisoformat(str(text))

    labels = {
        (str(one["mediaID"]), str(one["scientificName"]), "image")
        for one in observations
        if one["observationLevel"] == "media"
    }
    own = {id_ for id_, _, _ in labels}
    sequences: dict[str, str | None] = {}
    for one in media:
        events = [
            event
            for event in observations
            if event["observationLevel"] == "event"
            and event["deploymentID"] == one["deploymentID"]
            and instant(event["eventStart"])
            <= instant(one["timestamp"])
            <= instant(event["eventEnd"])
        ]
        id_ = str(one["mediaID"])
        if id_ not in own:
            labels |= {(id_, str(e["scientificName"]), "sequence") for e in events}
        sequences[id_] = None if not events else ""
    return labels, sequences


@pytest.mark.parametrize("seed", range(5))
def test_events_as_by_hand_in_whatever_order_rows_stand(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    seconds = range(0, 60, 2)
    media = [
        image(f"{deployment}-{number}", rng.choice(seconds), deployment)
        for deployment, number in itertools.product(("d1", "d2", "d3"), range(15))
    ]
    observations = [
        of_event(
            *sorted(rng.choices(range(60), k=2)),
            deploymentID=rng.choice(["d1", "d2", "d3", "d4"]),
            eventID=f"e{rng.randrange(8)}",
            scientificName=rng.choice("ABC"),
        )
        for _ in range(20)
    ]
    observations += [
        of_image(str(one["mediaID"]), scientificName=rng.choice("XY"))
        for one in rng.sample(media, 8)
    ]
    found = stage(package(tmp_path / "p", media, observations))
    labels, sequences = by_hand(media, observations)
    assert found.labels == labels
    is_in_event = {id_: name is not None for id_, name in sequences.items()}
    given = found.column("sequence")
    assert {id_: name is not None for id_, name in given.items()} == is_in_event

    shuffled = package(
        tmp_path / "q",
        rng.sample(media, len(media)),
        rng.sample(observations, len(observations)),
        rng.sample(DEPLOYMENTS, len(DEPLOYMENTS)),
    )
    again = stage(shuffled)
    assert again.labels == found.labels
    assert again.column("sequence") == given
    assert again.column("location") == found.column("location")


def test_levels_and_kinds_reach_the_table(tmp_path: Path) -> None:
    """What an image says itself wins over its event, and a video is no image."""
    media = [image("a", 1), image("b", 2), image("v", 3, fileMediatype="video/mp4")]
    observations = [
        of_event(0, 9, eventID="e", scientificName="Ardea"),
        of_image("b", "blank"),
        of_image("v", scientificName="Sus scrofa"),
    ]
    source = package(tmp_path / "p", media, observations)
    with Staging.open(tmp_path / "work") as staging:
        camtrap_dp.read(source, staging)
        imported = finishing.finish(
            staging, dataset="x", location_from="column", megadb=tmp_path / "db"
        )
    columns = ["file", "sequence", "labels", "label_level"]
    path = image_table.path_of(tmp_path / "db", "x")
    rows = pq.read_table(path, columns=columns).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("media/a.jpg", "e", ["ardea"], "sequence"),
        ("media/b.jpg", "e", ["empty"], "image"),
    ]
    assert imported.left_out == {f"image: {camtrap_dp.VIDEO}": 1}


def test_times_without_fractions_meet_those_with(tmp_path: Path) -> None:
    start = datetime(2020, 5, 30, 4, 0, 9)  # noqa: DTZ001 - written with a zone below
    said = (start + timedelta(milliseconds=900)).isoformat() + "+02:00"
    source = package(tmp_path / "p", [image("a", 0, timestamp=said)], [of_event(9, 9)])
    assert stage(source).labels == {("a", "animal", "sequence")}
