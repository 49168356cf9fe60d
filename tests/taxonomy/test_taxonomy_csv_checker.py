from __future__ import annotations

from typing import TYPE_CHECKING

from taxonomy.taxonomy_csv_checker import main
from tests.world import DEER_AND_BIRDS, label_row, write_taxonomy

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_clean_taxonomy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_taxonomy(tmp_path / "t.csv", DEER_AND_BIRDS)
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == (
        "8 rows: 2 datasets, 8 labels, 2 of them without a taxon\n"
        "14 taxa; roots: kingdom animalia\n"
        "0 errors, 0 taxa with several parents resolved\n"
    )


def test_choices_homonyms_and_remarks_are_no_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        label_row("d|a", "genus prunella", "family x", "kingdom animalia"),
        label_row("d|b", "genus prunella", "family y", "kingdom plantae"),
        label_row("d|c", "family y", "order z", "kingdom plantae"),
        label_row("d|d", "family y", "kingdom plantae"),
    ]
    path = write_taxonomy(tmp_path / "t.csv", rows)
    with path.open("a") as file:
        file.write("d,forgotten,genus,alces,,inat\n")
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == (
        "resolved  family y: below order z (the lowest), not kingdom plantae\n"
        "homonym   genus prunella: in the kingdoms animalia, plantae\n"
        "remark    row 6: alces has no taxonomy_string, so the label counts as no taxon\n"
        "5 rows: 1 datasets, 5 labels, 1 of them without a taxon\n"
        "7 taxa; roots: kingdom animalia, kingdom plantae\n"
        "0 errors, 1 taxa with several parents resolved\n"
    )


def test_every_error_is_told_with_its_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        label_row("d|a", "genus g", "family a", source="gbif"),
        label_row("d|b", "genus g", "family b", source="gbif"),
    ]
    path = write_taxonomy(tmp_path / "t.csv", rows)
    with path.open("a") as file:
        file.write("d,c,genus,g,os.system('rm'),inat\n")
        file.write("d,d,family,h,\"[(1, 'genus', 'g', [])]\",inat\n")
    assert main([str(path)]) == 1
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "error     row 4, column taxonomy_string: not a Python literal: \"os.system('rm')\"",
        "error     row 5, column taxonomy_level: 'family' is not 'genus', as taxonomy_string has it",
        "error     row 5, column scientific_name: 'h' is not 'g', as taxonomy_string has it",
        "error     genus g has several parents, and no rule picks one: family a (row 2); family b (row 3)",
        "4 rows: 1 datasets, 3 labels, 0 of them without a taxon",
        "4 errors, 0 taxa with several parents resolved",
    ]
    assert told.err == f"error: {path}: 4 errors\n"


def test_a_missing_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "no.csv")]) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/no.csv: cannot read: No such file or directory\n"
    )
