from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    StorageError,
)
from detection import image_files
from detection.image_files import ImageFile, ImageList
from tests.disk import largest_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b.JPG",
        "a.png",
        "notes.txt",
        ".hidden.jpg",
        "sub/c.jpeg",
        "sub-1.jpg",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / ".thumbs").mkdir()
    (tmp_path / ".thumbs" / "t.jpg").touch()
    return tmp_path


def names(images: Path, *, recursive: bool = True, relative: bool = True) -> list[str]:
    found = image_files.find(images, recursive=recursive, relative=relative)
    return [file.name for file in found]


def test_a_folder_holds_what_ends_as_images_do(folder: Path) -> None:
    assert names(folder, recursive=False) == ["a.png", "b.JPG", "sub-1.jpg"]


def test_recursive_looks_into_its_folders_in_the_order_of_paths(folder: Path) -> None:
    expected = ["a.png", "b.JPG", "sub-1.jpg", "sub/c.jpeg"]
    assert names(folder) == expected == sorted(expected)


def test_names_lead_to_the_folder_as_it_was_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    given = Path(folder.name)
    assert names(given, recursive=False, relative=False)[0] == f"{folder.name}/a.png"
    assert names(folder, relative=False)[-1] == f"{folder.as_posix()}/sub/c.jpeg"
    monkeypatch.chdir(folder)
    assert names(Path(), recursive=False, relative=False)[0] == "a.png"


def test_paths_open_whatever_the_names_are(folder: Path) -> None:
    for relative in (True, False):
        for file in image_files.find(folder, recursive=True, relative=relative):
            assert Path(file.path).is_file()
            assert not file.problem


def test_one_image_and_an_image_of_another_ending(tmp_path: Path) -> None:
    for name in ("a.jpg", "scan.bin"):
        (tmp_path / name).touch()
        assert names(tmp_path / name, relative=False) == [str(tmp_path / name)]


@pytest.mark.parametrize("ending", [".txt", ".json"])
def test_a_list_names_images_as_a_person_would(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"list{ending}"
    path.write_text("b\n/x/a\nb\n" if ending == ".txt" else '["b", "/x/a", "b"]')
    found = list(image_files.find(path, recursive=False, relative=False))
    assert found == [
        ImageFile("/x/a", "/x/a"),
        ImageFile("b", "b"),
        ImageFile("b", "b"),
    ]


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        names(tmp_path / "none", relative=False)
    assert str(raised.value) == f"no such image, list or folder: {tmp_path / 'none'}"


def test_relative_names_need_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.touch()
    with pytest.raises(ConfigurationError) as raised:
        names(path)
    assert str(raised.value) == (
        f"{path} is not a folder; --output_relative_filenames needs one"
    )


def test_a_malformed_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    with pytest.raises(ArtifactError, match="expected a list of file names"):
        names(path, relative=False)


def test_a_folder_named_as_an_image_is_listed_and_looked_into(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "x.jpg" / "y.jpg").touch()
    assert names(tmp_path) == ["x.jpg", "x.jpg/y.jpg"]
    assert names(tmp_path, recursive=False) == ["x.jpg"]


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "here").symlink_to(tmp_path / "a")
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "none")
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    assert names(tmp_path) == [
        "a/1.jpg",
        "circle.jpg",
        "linked/1.jpg",
        "nowhere.jpg",
    ]


def test_a_deep_tree_is_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    depth = 1100
    for _ in range(depth):
        Path("d").mkdir()
        os.chdir("d")
    Path("x.jpg").touch()
    os.chdir(tmp_path)
    try:
        assert names(Path()) == ["d/" * depth + "x.jpg"]
    finally:
        # By hand: such a tree is too deep for whoever tidies up after tests.
        Path("d/" * depth, "x.jpg").unlink()
        for level in range(depth, 0, -1):
            Path("d/" * level).rmdir()


def test_a_name_that_is_not_utf8_is_shown_and_has_a_problem(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).touch()
    (found,) = image_files.find(tmp_path, recursive=False, relative=True)
    assert found.name == "caf%E9.jpg"
    assert found.problem == "its name is not UTF-8; rename it"
    assert Path(found.path).is_file()


def test_a_folder_whose_name_is_not_utf8_matters_where_it_is_named(
    tmp_path: Path,
) -> None:
    folder = tmp_path / os.fsdecode(b"\xe9t\xe9")
    folder.mkdir()
    (folder / "a.jpg").touch()
    (found,) = image_files.find(folder, recursive=False, relative=True)
    assert (found.name, found.problem) == ("a.jpg", "")
    (found,) = image_files.find(folder, recursive=False, relative=False)
    assert found.name == f"{tmp_path}/%E9t%E9/a.jpg"
    assert found.problem == "its name is not UTF-8; rename it"


@pytest.mark.parametrize(
    ("name", "shown"), [("a\\b.jpg", "a%5Cb.jpg"), ("C:x.jpg", "C%3Ax.jpg")]
)
def test_d43_a_name_that_later_steps_refuse_has_a_problem(
    tmp_path: Path, name: str, shown: str
) -> None:
    (tmp_path / name).touch()
    (found,) = image_files.find(tmp_path, recursive=False, relative=True)
    assert found.name == shown
    assert found.problem == "later steps would refuse the file's name; rename it"


def test_a_folder_that_cannot_be_listed_is_a_failed_image(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read any folder
    last = list(image_files.find(folder, recursive=True, relative=True))[-1]
    assert (last.name, last.problem) == (
        "sub",
        "a folder that cannot be listed: Permission denied",
    )


def test_a_list_is_fixed_when_it_is_made(folder: Path) -> None:
    found = image_files.find(folder, recursive=True, relative=True)
    with ImageList.of(found) as images:
        (folder / "0.jpg").touch()
        assert len(images) == 4
        assert [file.name for file in images] == [
            "a.png",
            "b.JPG",
            "sub-1.jpg",
            "sub/c.jpeg",
        ]


@settings(max_examples=30)
@given(st.lists(st.text(min_size=1), unique=True))
def test_a_list_gives_back_what_it_was_made_of(found: list[str]) -> None:
    files = [ImageFile(name, f"/{name}", name[:1]) for name in found]
    with ImageList.of(files) as images:
        assert list(images) == files
        assert list(images) == files


def test_a_name_that_stands_twice_counts_once() -> None:
    files = [ImageFile("a", "1"), ImageFile("a", "2"), ImageFile("b", "3")]
    with ImageList.of(files) as images:
        assert (len(images), images.repeated) == (2, 1)
        assert list(images) == [files[0], files[2]]


def test_the_digest_is_of_the_images_and_their_order() -> None:
    lists = [["a", "b"], ["b", "a"], ["ab"], ["a"], []]
    digests = set()
    for found in lists:
        with ImageList.of(ImageFile(name, name) for name in found) as images:
            digests.add(images.digest)
    assert len(digests) == len(lists)


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    found = image_files.find(tmp_path, recursive=False, relative=True)
    tmp_path.rmdir()
    with pytest.raises(StorageError) as raised:
        ImageList.of(found)
    assert str(raised.value) == f"cannot list {tmp_path}: No such file or directory"


def test_a_folder_that_must_not_be_entered_is_passed_over(tmp_path: Path) -> None:
    for name in ("a/x.jpg", "b/y.jpg", "b/c/z.jpg", "d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    asked: list[str] = []

    def may_enter(folder: str) -> bool:
        asked.append(folder)
        return not folder.endswith("/b")

    found = [file.name for file in image_files.find_below(tmp_path, may_enter)]
    assert found == ["a/x.jpg", "d.jpg"]
    assert asked == [f"{tmp_path}/a", f"{tmp_path}/b"]


def test_a_part_is_some_of_the_images_under_the_digest_of_all() -> None:
    found = [ImageFile(f"{n}", f"{n}") for n in range(7)]
    with ImageList.of(found) as images:
        part = images.part(range(2, 5))
        assert (len(part), part.digest) == (3, images.digest)
        assert list(part) == found[2:5]
        assert list(images.part(range(7, 7))) == []
        assert list(images) == found


def test_no_room_for_the_list_is_one_line() -> None:
    images = [ImageFile(f"{number}.jpg", "x") for number in range(10)]
    with largest_file(10), pytest.raises(StorageError, match=r"\(see TMPDIR\)$"):
        ImageList.of(images)
