from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import taxonomy_csv
from classification.runtime.errors import ArtifactError
from taxonomy.graph import DatasetLabel, Link
from tests.world import DEER_AND_BIRDS, label_row, write_taxonomy

if TYPE_CHECKING:
    from pathlib import Path

STRING = "\"[(1, 'species', 'cervus canadensis', ['elk', 'wapiti']), (2, 'genus', 'cervus', [])]\""
MEGADB = f"""\
dataset_name,query,taxonomy_level,scientific_name,common_name,source,is_typo,setup,notes,non-global,query_url,scientific_url,common_url,taxonomy_string
idfg,elk,species,cervus canadensis,elk,gbif,,,,,,,,{STRING}
idfg,empty,,,,,,,,,,,,
"""
LILA_SOURCE = f"""\
dataset_name,query,source,taxonomy_level,scientific_name,common_name,taxonomy_string
idfg,elk,gbif,species,cervus canadensis,elk,{STRING}
idfg,empty,,,,,
"""
LILA_RELEASE = f"""\
dataset_name,query,taxonomy_level,scientific_name,common_name,taxonomy_string,kingdom,genus,species
Idaho Camera Traps,elk,species,cervus canadensis,elk,{STRING},,cervus,cervus canadensis
Idaho Camera Traps,empty,,,,,,,
"""


@pytest.mark.parametrize(
    ("text", "dataset", "source"),
    [
        (MEGADB, "idfg", "gbif"),
        (LILA_SOURCE, "idfg", "gbif"),
        (LILA_RELEASE, "idaho camera traps", "inat"),
        ("\ufeff" + LILA_RELEASE, "idaho camera traps", "inat"),
        (LILA_RELEASE.replace("\n", "\r\n"), "idaho camera traps", "inat"),
    ],
    ids=["megadb", "lila-source", "lila-release", "bom", "crlf"],
)
def test_reads_every_form(text: str, dataset: str, source: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, newline="")
    elk, empty = taxonomy_csv.scan(path)
    assert elk.problems == empty.problems == ()
    assert elk.row is not None
    assert elk.row.label == DatasetLabel(dataset, "elk")
    assert elk.row.source == source
    assert elk.row.chain == (
        Link("species", "cervus canadensis", 1),
        Link("genus", "cervus", 2),
    )
    taxonomy = taxonomy_csv.read(path)
    assert taxonomy.taxon_of(dataset, "empty") is None
    assert taxonomy.ids(taxonomy.find("genus", "cervus")) == {(source, 2)}


def test_d7_case_and_outer_spaces_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "dataset_name,query,taxonomy_level,scientific_name,taxonomy_string\n"
        "Caltech Camera Traps , Bobcat,Species,Lynx rufus,"
        "\"[(7, 'species', 'Lynx Rufus ', [])]\"\n"
    )
    taxonomy = taxonomy_csv.read(path)
    assert taxonomy.taxon_of("CALTECH camera traps", "BOBCAT") == taxonomy.find(
        "species", "lynx rufus"
    )


def test_a_written_world_is_read_back(tmp_path: Path) -> None:
    path = write_taxonomy(tmp_path / "t.csv", DEER_AND_BIRDS)
    assert tuple(scanned.row for scanned in taxonomy_csv.scan(path)) == DEER_AND_BIRDS


HEADER = "dataset_name,query,taxonomy_level,scientific_name,taxonomy_string\n"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (",elk,,,", "row 3, column dataset_name: expected a name"),
        ("d,,,,", "row 3, column query: expected a name"),
        (
            "d,elk,species,x,nan",
            "row 3, column taxonomy_string: not a Python literal: 'nan'",
        ),
        (
            "d,elk,species,x,7",
            "row 3, column taxonomy_string: expected a list of taxa",
        ),
        (
            "d,elk,species,x,\"[(1, 'species', 'x', []), (2, 'genus')]\"",
            "row 3, column taxonomy_string: taxon 1: expected (id, level, name, [common names])",
        ),
        (
            "d,elk,species,x,\"[[1, 'species', 'x', []]]\"",
            "row 3, column taxonomy_string: taxon 0: expected (id, level, name, [common names])",
        ),
        (
            "d,elk,species,x,\"[(1, 'species', ' ', [])]\"",
            "row 3, column taxonomy_string: taxon 0: expected (id, level, name, [common names])",
        ),
        (
            "d,elk,species,x,\"[(1, 'species', 'x', [7])]\"",
            "row 3, column taxonomy_string: taxon 0: expected (id, level, name, [common names])",
        ),
        (
            "d,elk,genus,x,\"[(1, 'species', 'x', [])]\"",
            "row 3, column taxonomy_level: 'genus' is not 'species', as taxonomy_string has it",
        ),
        (
            "d,elk,species,Y,\"[(1, 'species', 'x', [])]\"",
            "row 3, column scientific_name: 'Y' is not 'x', as taxonomy_string has it",
        ),
        ("d,elk,species", "row 3: 5 cells expected, 3 found"),
    ],
)
def test_refuses_with_row_and_column(cells: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{HEADER}d,fine,,,\n{cells}\n")
    with pytest.raises(ArtifactError) as refusal:
        taxonomy_csv.read(path)
    assert str(refusal.value) == f"{path}: {message}"


def test_d44_a_taxonomy_string_is_never_run(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    trap = tmp_path / "trap"
    path.write_text(f"{HEADER}d,elk,species,x,\"open('{trap}', 'w')\"\n")
    with pytest.raises(ArtifactError, match="not a Python literal"):
        taxonomy_csv.read(path)
    assert not trap.exists()


def test_rows_that_make_no_forest_are_refused(tmp_path: Path) -> None:
    rows = [
        label_row("d|a", "genus g", "family a"),
        label_row("d|b", "genus g", "family b"),
        label_row("d|b", "genus h"),
    ]
    path = write_taxonomy(tmp_path / "t.csv", rows)
    with pytest.raises(ArtifactError) as refusal:
        taxonomy_csv.read(path)
    assert str(refusal.value) == (
        f"{path}: row 4: d|b is genus h here and genus g in row 3 (and 1 more); "
        "taxonomy_csv_checker lists all problems"
    )


def test_d11_single_parent_refuses_what_a_rule_would_settle(tmp_path: Path) -> None:
    rows = [
        label_row("d|b", "genus g", "family f", "order o"),
        label_row("d|a", "genus g", "order o"),
        *(
            row
            for n in range(4)
            for row in (
                label_row(f"d|c{n}", f"genus h{n}", f"family k{n}", "order o"),
                label_row(f"d|e{n}", f"genus h{n}", "order o"),
            )
        ),
    ]
    path = write_taxonomy(tmp_path / "t.csv", rows)
    assert taxonomy_csv.read(path).find("genus", "g")
    with pytest.raises(ArtifactError) as refusal:
        taxonomy_csv.read(path, single_parent=True)
    assert str(refusal.value) == (
        f"{path}: taxa with several parents: genus g (below family f, order o); "
        "genus h0 (below family k0, order o); genus h1 (below family k1, order o); "
        "and 2 more"
    )
    single = write_taxonomy(tmp_path / "single.csv", rows[:1])
    assert taxonomy_csv.read(single, single_parent=True).find("genus", "g")


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("dataset_name,query\n")
    with pytest.raises(ArtifactError) as refusal:
        list(taxonomy_csv.scan(path))
    assert str(refusal.value) == (
        f"{path}: row 1: the column taxonomy_level is missing; expected dataset_name,"
        "query,taxonomy_level,scientific_name,taxonomy_string"
    )
