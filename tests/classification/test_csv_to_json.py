from __future__ import annotations

import json
from typing import TYPE_CHECKING

from classification.csv_to_json import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TEXT = """\
output_label,type,content
bird,max_count,50000
bird,class,aves
!bird,genus,meleagris
bird,row,idfg|bird
"""
BIRD = (
    '{"bird": {"dataset_labels": {"idfg": ["bird"]}, '
    '"taxa": [{"level": "class", "name": "aves"}], '
    '"exclude": {"taxa": [{"level": "genus", "name": "meleagris"}]}, '
    '"max_count": 50000}}\n'
)


def test_writes_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "s.csv", tmp_path / "new/s.json"
    source.write_text(TEXT)
    assert main([str(source), str(target)]) == 0
    assert target.read_text() == BIRD
    assert capsys.readouterr().err == f"wrote {target}: 1 labels\n"


def test_indents_on_demand_and_twice_the_same(tmp_path: Path) -> None:
    source, target = tmp_path / "s.csv", tmp_path / "s.json"
    source.write_text(TEXT)
    for _ in range(2):
        assert main([str(source), str(target), "--json-indent", "2"]) == 0
        assert target.read_text() == json.dumps(json.loads(BIRD), indent=2) + "\n"


def test_d26_a_bare_output_name_is_in_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.csv").write_text(TEXT)
    assert main(["s.csv", "s.json"]) == 0
    assert (tmp_path / "s.json").read_text() == BIRD


def test_d22_a_typo_is_one_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "s.csv", tmp_path / "s.json"
    source.write_text(TEXT + "bird,familly,corvidae\n")
    assert main([str(source), str(target)]) == 1
    assert capsys.readouterr().err == (
        f"error: {source}: row 6, column type: unknown level 'familly'; "
        "did you mean 'family'?\n"
    )
    assert not target.exists()


def test_a_missing_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "no.csv"), str(tmp_path / "s.json")]) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/no.csv: cannot read: No such file or directory\n"
    )
