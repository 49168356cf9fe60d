from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.artifacts import label_spec, label_spec_csv
from classification.artifacts.label_spec import TaxonEntry
from classification.artifacts.label_spec_csv import without_comments
from classification.runtime.errors import ArtifactError
from taxonomy.graph import LEVELS

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "output_label,type,content\n"


def spec(path: Path, text: str) -> dict[str, label_spec.LabelSpec]:
    path.write_text(text, encoding="utf-8")
    return label_spec_csv.read(path)


def test_every_type_of_row(tmp_path: Path) -> None:
    found = spec(
        tmp_path / "s.csv",
        """\
# what the original's own example holds

output_label,type,content
  cervid,row,idfg|deer
cervid,row,idfg|elk
cervid,row,swwlf|elk
cervid,max_count,50000
cervid,family,cervidae
cervid,datasettaxon,idfg|family|cervidae
bird,row,swwlf|bird   # and a comment
bird,class,aves
bird,max_count,7
bird,prioritize,"[['swwlf'], ['idfg', 'x']]"
!bird,row,swwlf|turkey
!bird,datasettaxon,swwlf|genus|meleagris
""",
    )
    assert label_spec.to_dict(found) == {
        "cervid": {
            "dataset_labels": {"idfg": ["deer", "elk"], "swwlf": ["elk"]},
            "taxa": [
                {"level": "family", "name": "cervidae"},
                {"level": "family", "name": "cervidae", "datasets": ["idfg"]},
            ],
            "max_count": 50000,
        },
        "bird": {
            "dataset_labels": {"swwlf": ["bird"]},
            "taxa": [{"level": "class", "name": "aves"}],
            "exclude": {
                "dataset_labels": {"swwlf": ["turkey"]},
                "taxa": [
                    {"level": "genus", "name": "meleagris", "datasets": ["swwlf"]}
                ],
            },
            "max_count": 7,
            "prioritize": [["swwlf"], ["idfg", "x"]],
        },
    }


@pytest.mark.parametrize("label", ["nan", "null", "NA", "None", "1", "true"])
def test_labels_that_look_like_no_value_are_labels(label: str, tmp_path: Path) -> None:
    assert list(spec(tmp_path / "s.csv", f"{HEADER}{label},row,nan|null\n")) == [label]


def test_a_content_column_of_numbers_alone_is_read(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r": a: selects nothing"):
        spec(tmp_path / "s.csv", f"{HEADER}a,max_count,5\n")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("a,row,d|#ref!\n", "a,row,d|#ref!\n"),
        ("a,row,d|no#1 # x\n", "a,row,d|no#1 \n"),
        ("a,class,aves\t# x\n", "a,class,aves\t\n"),
        ("# x\n", "\n"),
        ("  # x\n", "  \n"),
        ('a,row,"d|a #1" # "x"\n', 'a,row,"d|a #1" \n'),
        ('a,row,"d|""a"" #1"\n', 'a,row,"d|""a"" #1"\n'),
        ('a,row,"""a"" #1" # x\n', 'a,row,"""a"" #1" \n'),
        ('a,row,d|8" deep # x\n', 'a,row,d|8" deep \n'),
        ('"",row,d|a # x', '"",row,d|a \n'),
    ],
)
def test_d22_a_comment_needs_a_space_before_it(line: str, kept: str) -> None:
    assert list(without_comments([line])) == [kept]


def test_quotes_run_over_lines() -> None:
    lines = ['a,row,"d|x\n', ' # not a comment"\n', " # one\n"]
    assert list(without_comments(lines)) == [*lines[:2], " \n"]


def test_d22_the_label_ref_is_whole(tmp_path: Path) -> None:
    found = spec(tmp_path / "s.csv", f"{HEADER}broken,row,idfg|#ref!\n")
    assert found["broken"].include.dataset_labels == {"idfg": ("#ref!",)}


def test_a_kingdom_tells_homonyms_apart(tmp_path: Path) -> None:
    found = spec(
        tmp_path / "s.csv",
        f"{HEADER}x,genus,prunella|kingdom=animalia\n"
        "x,datasettaxon,d|genus|prunella|kingdom=plantae\n",
    )
    assert found["x"].include.taxa == (
        TaxonEntry(level="genus", name="prunella", kingdom="animalia"),
        TaxonEntry(level="genus", name="prunella", kingdom="plantae", datasets=("d",)),
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "a,speceis,ursus arctos",
            "row 2, column type: unknown level 'speceis'; did you mean 'species'?",
        ),
        ("a,rows,d|x", "row 2, column type: unknown level 'rows'; did you mean 'row'?"),
        (
            "a,datasettaxon,d|genera|ursus",
            "row 2, column content: unknown level 'genera'; did you mean 'genus'?",
        ),
        (
            "a,row,elk",
            "row 2, column content: expected <dataset>|<dataset label>, found 'elk'",
        ),
        (
            "a,row,d|x|y",
            "row 2, column content: expected <dataset>|<dataset label>, found 'd|x|y'",
        ),
        (
            "a,row,d|",
            "row 2, column content: expected <dataset>|<dataset label>, found 'd|'",
        ),
        (
            "a,datasettaxon,d|ursus",
            "row 2, column content: expected <dataset>|<level>|<name>, found 'd|ursus'",
        ),
        (
            "a,genus,",
            "row 2, column content: expected the name of a taxon, found ''",
        ),
        (
            "a,genus,idfg|ursus",
            "row 2, column content: expected the name of a taxon, found 'idfg|ursus'",
        ),
        (
            "a,genus,ursus#bears",
            "row 2, column content: expected the name of a taxon, found 'ursus#bears'",
        ),
        (
            "a,genus,ursus|kingdom=",
            "row 2, column content: expected the name of a taxon, found 'ursus|kingdom='",
        ),
        (
            "a,max_count,many",
            "row 2, column content: expected a whole number above 0, found 'many'",
        ),
        (
            "a,max_count,0",
            "row 2, column content: expected a whole number above 0, found '0'",
        ),
        (
            "a,max_count," + "9" * 40,
            f"row 2, column content: expected a whole number above 0, found '{'9' * 40}'",
        ),
        ("a,max_count,1\na,max_count,1", "row 3, column type: max_count stands twice"),
        (
            "a,prioritize,[['d']]\na,prioritize,[['d']]",
            "row 3, column type: prioritize stands twice",
        ),
        (
            "a,prioritize,['d']",
            "row 2, column content: expected a list of lists of datasets, such as [['a', 'b'], ['c']]",
        ),
        (
            "a,prioritize,7",
            "row 2, column content: expected a list of lists of datasets, such as [['a', 'b'], ['c']]",
        ),
        ("a,class,aves\na,prioritize,[['d']]", "a.prioritize: needs max_count"),
        ("!a,max_count,1", "row 2, column type: max_count cannot be excluded"),
        ("!a,class,aves", "a: selects nothing; give it taxa or dataset_labels"),
        ("!,class,aves", "row 2, column output_label: expected a label"),
        (",class,aves", "row 2, column output_label: expected a label"),
        ("", "no label; expected at least one row"),
    ],
)
def test_refuses_with_the_row(row: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    with pytest.raises(ArtifactError) as refusal:
        spec(path, f"{HEADER}{row}\n")
    assert str(refusal.value) == f"{path}: {message}"


def test_d44_prioritize_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    with pytest.raises(ArtifactError, match=r"row 2, column content: not a Python"):
        spec(tmp_path / "s.csv", f"{HEADER}a,prioritize,\"open('{trap}','w')\"\n")
    assert not trap.exists()


@pytest.mark.parametrize(
    "header", ["label,type,content", "output_label,type,content,x"]
)
def test_another_header_is_refused(header: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"; expected output_label,type,content$"):
        spec(tmp_path / "s.csv", f"{header}\n")


WORDS = st.text("abz #!,\"'|ä", min_size=1, max_size=8).map(str.strip).filter(bool)
LABELS = WORDS.filter(lambda word: not word.startswith("!"))
NAMES = WORDS.filter(lambda word: not set(word) & set("|#"))
PARTS = WORDS.filter(lambda word: "|" not in word)


@st.composite
def statements(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    rows = [(label, "class", "aves") for label in draw(st.sets(LABELS, min_size=1))]
    for label, _, _ in list(rows):
        mark = draw(st.sampled_from(["", "!"]))
        dataset, level = draw(PARTS), draw(st.sampled_from(LEVELS))
        rows += [
            (mark + label, "row", f"{dataset}|{draw(PARTS)}"),
            (mark + label, "datasettaxon", f"{dataset}|{level}|{draw(NAMES)}"),
            (mark + label, level, draw(NAMES)),
        ]
        if draw(st.booleans()):
            rows.append((label, "max_count", str(draw(st.integers(1, 10**9)))))
            rows.append((label, "prioritize", repr([[draw(WORDS)]])))
    return rows


@settings(max_examples=60)
@given(rows=statements())
def test_what_is_written_in_quotes_is_read_back(
    rows: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    text = "".join(
        ",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n"
        for row in rows
    )
    found = spec(tmp_path / "s.csv", HEADER + text)
    assert sorted(rows) == sorted(
        (mark + label, *statement)
        for label, one in found.items()
        for mark, statement in stated(one)
    )
    assert label_spec.from_dict(label_spec.to_dict(found)) == found


def stated(one: label_spec.LabelSpec) -> list[tuple[str, tuple[str, str]]]:
    """Turns a specification back into (``!`` or nothing, (type, content)) rows."""
    rows = []
    for mark, selection in (("", one.include), ("!", one.exclude)):
        for dataset, labels in selection.dataset_labels.items():
            rows += [(mark, ("row", f"{dataset}|{label}")) for label in labels]
        for entry in selection.taxa:
            row = (entry.level, entry.name)
            if entry.datasets:
                row = (
                    "datasettaxon",
                    f"{entry.datasets[0]}|{entry.level}|{entry.name}",
                )
            rows.append((mark, row))
    if one.max_count:
        rows.append(("", ("max_count", str(one.max_count))))
        rows.append(("", ("prioritize", repr([list(p) for p in one.prioritize]))))
    return rows
