from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.runtime import containment
from classification.runtime.errors import ItemError

# Of what names are made that lead elsewhere, and of what is only unusual.
PARTS = st.sampled_from(
    [
        "a",
        "B",
        "..",
        ".",
        "",
        "...",
        " ",
        "C:",
        "nul",
        "COM1.txt",
        "é",
        "\u00df",
        "\0",
        "\\",
    ]
) | st.text(max_size=4)
NAMES = st.lists(PARTS, max_size=6).map("/".join)


def refusal(root: Path, name: str) -> str:
    with pytest.raises(ItemError) as caught:
        containment.inside(root, name)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@given(name=NAMES)
def test_whatever_the_name_the_path_is_inside_or_refused(
    name: str, tmp_path: Path
) -> None:
    try:
        path = containment.inside(tmp_path / "root", name)
    except ItemError:
        return
    resolved = Path(os.path.normpath(path))
    assert resolved.is_relative_to(tmp_path / "root")
    assert resolved != tmp_path / "root"


@given(parts=st.lists(st.text("abcXYZ019_-", min_size=1, max_size=8), min_size=1))
def test_an_ordinary_name_is_kept_as_it_is(parts: list[str], tmp_path: Path) -> None:
    name = "/".join(parts) + "/IMG 0001 (2).JPG"
    assert containment.inside(tmp_path, name) == tmp_path / PurePosixPath(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "names no file"),
        (".", "names no file"),
        ("./.", "names no file"),
        ("a/", "names no file"),
        ("../a", "leaves its folder"),
        ("a/../../b", "leaves its folder"),
        ("/etc/passwd", "is absolute; "),
        ("c:/a", "is absolute; "),
        ("C:a", "is absolute; "),
        ("a\\b", "holds a backslash; "),
        ("a\0.jpg", "holds a NUL"),
        ("a/" + "x" * 256, "has a part of 256 bytes"),
        ("é" * 128, "has a part of 256 bytes"),
        ("\ud800.jpg", "is no Unicode text"),
        ("CON", "holds 'CON', which is a device on Windows"),
        ("a/nul.jpg", "holds 'nul.jpg', which is a device on Windows"),
        ("com1.tar.gz/a", "holds 'com1.tar.gz', which is a device on Windows"),
        ("lpt\u00b3", "holds 'lpt\u00b3', which is a device on Windows"),
        ("aux .jpg", "holds 'aux .jpg', which is a device on Windows"),
        ("a/.ct-0123.tmp", "is what a half-written file is called"),
        ("d/" * 2100 + "a", "makes a path of "),
    ],
)
def test_a_name_is_refused_with_its_reason(
    name: str, reason: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, name).startswith(f"its name {reason}")


@pytest.mark.parametrize(
    "name",
    [
        "...",
        "a..b/c",
        "..a",
        "Site A./IMG 1.JPG",
        "Unit 2 /a.jpg",
        "2019-01-01 12:30:00.jpg",
        "console/a.jpg",
        "common.jpg",
        "com10",
        "a*?.jpg",
        "~/a.jpg",
        "x" * 255,
        "caf\udce9.jpg",
    ],
)
def test_a_name_that_people_give_is_kept(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containment, "IS_WINDOWS", False)
    assert containment.inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize("name", ["a./b", "a /b", "a?.jpg", "xy:stream", "a/b."])
def test_where_windows_runs_its_own_rules_hold(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containment, "IS_WINDOWS", True)
    assert "of which Windows has no files" in refusal(tmp_path, name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root, other = tmp_path / "root", tmp_path / "other"
    (root / "in").mkdir(parents=True)
    other.mkdir()
    (other / "file").touch()
    (root / "file").touch()
    (root / "out").symlink_to(other)
    (root / "up").symlink_to("..")
    (root / "in/deep").symlink_to("../out")
    (root / "round").symlink_to("round")
    (root / "nowhere").symlink_to("missing")
    (root / "near").symlink_to("in")
    (root / "out_file").symlink_to(other / "file")
    (root / "near_file").symlink_to("file")
    (root / "null").symlink_to("/dev/null")
    os.mkfifo(root / "pipe")
    return root


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("out/a", "leads over 'out', a link out of "),
        ("up/other/a", "leads over 'up', a link out of "),
        ("up/root/a", "leads over 'up', a link out of "),
        ("in/deep/a/b", "leads over 'in/deep', a link out of "),
        ("near/deep/a", "leads over 'near/deep', a link out of "),
        ("out_file", "leads over 'out_file', a link out of "),
        ("null", "leads over 'null', a link out of "),
        ("round/a", "leads over 'round', a link to nowhere"),
        ("nowhere", "leads over 'nowhere', a link to nowhere"),
        ("file/a", "leads through 'file', which is no folder"),
        ("near_file/a", "leads through 'near_file', which is no folder"),
        ("pipe/a", "leads through 'pipe', which is no folder"),
        ("pipe", "is that of a folder, a pipe or a device"),
        ("in", "is that of a folder, a pipe or a device"),
        ("near", "is that of a folder, a pipe or a device"),
    ],
)
def test_what_is_there_is_looked_at(root: Path, name: str, reason: str) -> None:
    assert refusal(root, name).startswith(f"its name {reason}")


@pytest.mark.parametrize("name", ["in/a", "near/a", "file", "near_file", "new/a/b"])
def test_a_link_that_stays_inside_is_followed(root: Path, name: str) -> None:
    assert containment.inside(root, name) == root / name


def test_the_root_may_be_a_link_or_relative(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root.parent / "alias").symlink_to(root)
    alias = root.parent / "alias"
    assert containment.inside(alias, "near/a") == alias / "near/a"
    monkeypatch.chdir(root)
    assert containment.inside(Path(), "near/a") == Path("near/a")
    assert "a link out of " in refusal(Path(), "out/a")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a/IMG.jpg", "A/img.JPG"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),
        ("CAF\u00c9.jpg", "cafe\u0301.jpg"),
        ("a/b.jpg", "a//b.jpg"),
        ("a/b.jpg", "./a/./b.jpg"),
        ("a/b.jpg", "a./b.jpg "),
        ("\u00df", "SS"),
        ("a\u200db.jpg", "ab.jpg"),
        ("\ufb01x", "FIX"),
    ],
)
def test_names_that_a_disk_may_take_for_one_are_found(first: str, second: str) -> None:
    assert containment.find_alike([first, "other", second]) == {second: first}
    assert containment.find_alike([first, first]) == {}


@given(st.lists(st.text("aA. /\n", max_size=6)) | st.lists(st.text("aA./\u0301\u00c9")))
def test_the_fast_fold_is_the_slow_one(names: list[str]) -> None:
    assert containment.fold_all(names) == [containment.fold(name) for name in names]


@given(st.text(max_size=12))
def test_case_and_form_never_matter(name: str) -> None:
    folded = containment.fold(name)
    assert containment.fold(folded) == folded
    for form in ("NFC", "NFD"):
        assert containment.fold(unicodedata.normalize(form, name)) == folded  # type: ignore[arg-type]  # the form is one of four
    assert containment.fold(name.casefold()) == folded


def test_only_suspects_are_looked_at() -> None:
    suspects = {hash(containment.fold("b"))}
    assert containment.find_alike(["a", "A", "b", "B"], suspects) == {"B": "b"}
