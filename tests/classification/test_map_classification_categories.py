from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from classification import csv_to_json
from classification.artifacts import label_index, target_mapping
from classification.map_classification_categories import main
from tests.world import DEER_AND_BIRDS, label_row, write_taxonomy

if TYPE_CHECKING:
    from taxonomy.graph import DatasetLabel, LabelRow


def write_json(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def taxon(level: str, name: str) -> dict[str, Any]:
    return {"taxa": [{"level": level, "name": name}]}


LABELS = {
    "elk": taxon("species", "cervus canadensis"),
    "moose": taxon("genus", "alces"),
    "blank": {"dataset_labels": {"caltech": ["empty"]}},
    "reindeer": taxon("genus", "rangifer"),
}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Writes targets, labels and taxonomy; returns the positional arguments."""
    targets = {
        "deer": taxon("family", "cervidae"),
        "hog": taxon("class", "aves"),
    }
    return [
        str(write_json(tmp_path / "targets.json", targets)),
        str(write_json(tmp_path / "labels.json", LABELS)),
        str(write_taxonomy(tmp_path / "taxonomy.csv", DEER_AND_BIRDS)),
    ]


def test_writes_the_mapping_and_says_what_went_where(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "map.json"
    assert main([*files, "-o", str(output)]) == 0
    assert target_mapping.read(output) == {
        "deer": ("elk", "moose"),
        "other": ("blank", "reindeer"),
    }
    assert capsys.readouterr().err.splitlines() == [
        f"{files[1]}: reindeer.taxa[0]: the taxonomy has no genus rangifer; passed over",
        f"wrote {output}: 2 classifier labels in 1 targets, 2 in other; 0 labels are not in the classifier's specification, 2 have no taxon; targets without a label: hog",
    ]


def test_the_index_says_which_labels_there_are(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index, output = tmp_path / "index.json", tmp_path / "map.json"
    label_index.write(index, ["moose", "unheard of"])
    assert main([*files, "-o", str(output), "-i", str(index)]) == 0
    assert target_mapping.read(output) == {"deer": ("moose",), "other": ("unheard of",)}
    assert "1 in other; 1 labels are not in" in capsys.readouterr().err


def test_d26_a_bare_output_name_is_in_this_folder(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*files, "--output", "map.json"]) == 0
    first = (tmp_path / "map.json").read_bytes()
    assert main([*files, "--output", "map.json"]) == 0
    assert (tmp_path / "map.json").read_bytes() == first


def test_many_unknown_names_are_told_briefly(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {str(number): taxon("genus", f"zz{number}") for number in range(9)}
    files[1] = str(write_json(tmp_path / "labels.json", labels))
    assert main([*files, "-o", str(tmp_path / "map.json")]) == 0
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 7
    assert told[5] == f"{files[1]}: 4 more like these"


@pytest.mark.parametrize(
    ("file", "document", "message"),
    [
        (
            0,
            {"deer": taxon("family", "cervidae"), "elk": taxon("genus", "cervus")},
            "elk: shares taxa with 'deer': genus cervus, species cervus canadensis, subspecies cervus c. roosevelti; exclude them from one",
        ),
        (
            0,
            {"moose": taxon("species", "alces alces")},
            "moose: takes only a part of the classifier label 'moose'; outside are 1 of 2: genus alces. A target takes all of a label or nothing",
        ),
        (
            0,
            {"other": taxon("class", "aves")},
            "other: is the name for what no target takes; give this target another",
        ),
        (
            1,
            LABELS | {"all": taxon("family", "cervidae")},
            "all: shares taxa with 'moose': genus alces, species alces alces; exclude them from one",
        ),
        (1, [], "expected an object at the top level"),
    ],
)
def test_a_refusal_names_the_file_and_writes_nothing(
    file: int,
    document: object,
    message: str,
    files: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(files[file]).parent
    output = folder / "map.json"
    output.write_text('{"as": ["it was"]}')
    files[file] = str(write_json(folder / "broken.json", document))
    assert main([*files, "-o", str(output)]) == 1
    assert (
        capsys.readouterr().err.splitlines()[-1] == f"error: {files[file]}: {message}"
    )
    assert output.read_text() == '{"as": ["it was"]}'


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_file_is_one_line(
    missing: int,
    files: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files[missing] = str(tmp_path / "no")
    assert main([*files, "-o", str(tmp_path / "map.json")]) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/no: cannot read: No such file or directory\n"
    )


# Runs megadetector-utils' own scripts in each folder named on its command line.
ORACLE = """\
import contextlib, io, pathlib, runpy, sys
package = "megadetector.classification."
for folder in sys.argv[1:]:
    there = lambda name: str(pathlib.Path(folder, name))
    for script, arguments in (
        ("csv_to_json", ["labels.csv", "labels.json"]),
        ("csv_to_json", ["targets.csv", "targets.json"]),
        ("map_classification_categories",
         ["targets.json", "labels.json", "taxonomy.csv", "-o", "map.json"]),
    ):
        sys.argv = [script] + [a if a[0] == "-" else there(a) for a in arguments]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                runpy.run_module(package + script, run_name="__main__")
        except ValueError as error:
            pathlib.Path(there("refusal.txt")).write_text(str(error))
"""


@pytest.mark.slow
def test_equals_megadetector_utils(tmp_path: Path) -> None:
    folders = [tmp_path / f"{seed:02d}" for seed in range(40)]
    for seed, folder in enumerate(folders):
        write_world(folder, random.Random(seed))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ORACLE, *map(str, folders)],
        check=True,
        capture_output=True,
    )
    mapped = 0
    for folder in folders:
        ours = folder / "ours"
        for name in ("labels", "targets"):
            source, written = folder / f"{name}.csv", ours / f"{name}.json"
            assert csv_to_json.main([str(source), str(written)]) == 0
            theirs = json.loads((folder / f"{name}.json").read_text())
            assert json.loads(written.read_text()) == theirs
            assert list(json.loads(written.read_text())) == list(theirs)
        arguments = [str(ours / "targets.json"), str(ours / "labels.json")]
        output = ours / "map.json"
        code = main([*arguments, str(folder / "taxonomy.csv"), "-o", str(output)])
        assert (code == 1) == (folder / "refusal.txt").exists()
        if code == 0:
            mapped += 1
            theirs = json.loads((folder / "map.json").read_text())
            assert json.loads(output.read_text()) == theirs
            assert list(json.loads(output.read_text())) == list(theirs)
    assert 10 <= mapped <= 35


def write_world(folder: Path, rng: random.Random) -> None:
    """Writes a taxonomy and two label CSVs for which the original gives an answer."""
    folder.mkdir()
    orders, families, genera = 3, 8, 20
    family_order = [rng.randrange(orders) for _ in range(families)]
    genus_family = [rng.randrange(families) for _ in range(genera)]
    rows = []
    for number in range(60):
        genus = rng.randrange(genera)
        family = genus_family[genus]
        order = family_order[family]
        names = [f"species s{number}", f"genus g{genus}", f"family f{family}"]
        names += [f"order o{order}", "kingdom animalia"]
        if rng.random() < 0.5:  # a catalogue that names fewer ranks
            names.pop(2)
        rows.append(label_row(f"d{number % 3}|l{number}", *names, number=number + 2))
    write_taxonomy(folder / "taxonomy.csv", rows)
    fine = [("species", f"s{n}") for n in rng.sample(range(60), 12)]
    fine += [("genus", f"g{n}") for n in rng.sample(range(genera), 3)]
    write_labels(folder / "labels.csv", fine, rng, rows)
    coarse = [("order", "o0"), ("family", f"f{rng.randrange(families)}")]
    write_labels(folder / "targets.csv", coarse, rng, rows)


def write_labels(
    path: Path,
    taxa: list[tuple[str, str]],
    rng: random.Random,
    rows: list[LabelRow],
) -> None:
    """Writes one label a taxon, known ones only; some exclude another's taxon."""
    known = {(link.level, link.name) for row in rows for link in row.chain}
    taxa = [taxon for taxon in taxa if taxon in known]
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["output_label", "type", "content"])
        for level, name in taxa:
            label = f"{level}: {name}"
            if level == "species" and rng.random() < 0.5:
                table.writerow([label, "row", str(meant_by_row(rows, name))])
            else:
                table.writerow([label, level, name])
            for other_level, other in taxa:
                if level not in {other_level, "species"} and rng.random() < 0.9:
                    table.writerow([f"!{label}", other_level, other])
            if rng.random() < 0.3:
                table.writerow([label, "max_count", rng.randrange(1, 99)])


def meant_by_row(rows: list[LabelRow], species: str) -> DatasetLabel:
    return next(row.label for row in rows if row.chain[0].name == species)
