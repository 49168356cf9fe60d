from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.artifacts import layout
from classification.artifacts.layout import CropName, checked_name
from classification.runtime.errors import ArtifactError

suffixes = st.text(min_size=1).filter(lambda text: "___crop" not in text)
images = st.text(min_size=1)


@pytest.mark.parametrize(
    "name", ["a.jpg", "A.JPG", "b/c.Jpeg", "x.png", "x.tif", "x.TIFF", "a.b.webp"]
)
def test_images_are_told_by_their_ending(name: str) -> None:
    assert layout.is_image_name(name)


@pytest.mark.parametrize(
    "name", ["", "jpg", ".jpg", "a.jpg.txt", "a.jpg/b", "a.mp4", "a.jpg ", "a.json"]
)
def test_other_files_are_not(name: str) -> None:
    assert not layout.is_image_name(name)


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "a/b c.jpg", "a..b/..c", "...", ".a", "a/./b", "\u00e9/\U0001f43b"],
)
def test_names_that_stay_inside_are_kept(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "names no file"),
        ("a/", "names no file"),
        ("a\0b", "holds a NUL"),
        ("a\\b", "holds a backslash; names use /"),
        ("..\\a", "holds a backslash; names use /"),
        ("../a", "leaves its folder"),
        ("a/../../b", "leaves its folder"),
        ("..", "leaves its folder"),
        ("a/..", "leaves its folder"),
        *(
            (
                name,
                "is absolute; names are relative to the images folder (run_detector_batch --output_relative_filenames)",
            )
            for name in ("/a", "//a/b", "C:/a", "c:a")
        ),
    ],
)
def test_d43_names_that_lead_out_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        checked_name(name, where="images[3].file")
    assert str(refused.value) == f"images[3].file: {name!r} {reason}"


@given(st.text(alphabet=st.sampled_from("ab./\\\0:"), max_size=12))
def test_a_name_that_is_kept_stays_inside(name: str) -> None:
    try:
        kept = checked_name(name)
    except ArtifactError:
        return
    root = Path("/root/folder")
    assert (root / kept).parts[: len(root.parts)] == root.parts
    assert ".." not in (root / kept).parts


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a/b.JPG___crop00.jpg", CropName("a/b.JPG", 0)),
        ("b.JPG___crop07_mdv4.1.jpg", CropName("b.JPG", 7, "mdv4.1")),
        ("b.jpg___crop00_md_v5a.0.0.pt.jpg", CropName("b.jpg", 0, "md_v5a.0.0.pt")),
        ("b.jpg___crop99_unknown.jpg", CropName("b.jpg", 99, "unknown")),
        ("b.jpg___crop100_x.jpg", CropName("b.jpg", 100, "x")),
        ("./b.jpg___crop00.jpg", CropName("./b.jpg", 0)),
    ],
)
def test_crops_are_named_as_the_docs_say(text: str, name: CropName) -> None:
    assert str(name) == text
    assert CropName.parse(text) == name


@given(images, st.integers(0, 10**9 - 1), suffixes | st.just(""))
def test_parse_is_the_inverse_of_str(image: str, index: int, suffix: str) -> None:
    name = CropName(image, index, suffix)
    assert CropName.parse(str(name)) == name


@pytest.mark.parametrize("index", [100, 101, 999, 1000])
def test_d12_more_than_99_boxes_keep_their_number(index: int) -> None:
    assert CropName.parse(str(CropName("a.jpg", index, "m"))).index == index


def test_d41_an_image_may_be_named_like_a_crop() -> None:
    inner = str(CropName("a.jpg", 3, "x"))
    assert CropName.parse(str(CropName(inner, 12, "y"))) == CropName(inner, 12, "y")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.jpg",
        "a.jpg___crop0.jpg",
        "a.jpg___crop.jpg",
        "___crop00.jpg",
        "a.jpg___crop00.png",
        "a.jpg___crop00_.jpg",
        "a.jpg___crop00",
        "a.jpg___cropab.jpg",
        "a.jpg___crop\u0660\u0661.jpg",
        f"a.jpg___crop{'1' * 5000}.jpg",
    ],
)
def test_what_is_no_crop_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        CropName.parse(text)
    assert str(refused.value) == f"{text!r} is not the name of a crop"


@given(st.text())
def test_any_text_is_a_crop_or_refused(text: str) -> None:
    try:
        name = CropName.parse(text)
    except ArtifactError:
        return
    assert str(name) == text or name.index < 10 ** (len(text) - 1)


def test_d32_suffixes_of_both_flows() -> None:
    assert layout.inference_suffix("md_v5a.0.0.pt") == "md_v5a.0.0.pt"
    assert layout.training_suffix("4.1") == "mdv4.1"


@pytest.mark.parametrize("detector", ["", "a/b", "a\\b", "a\0", "../x", "x___crop01"])
def test_d43_a_detector_cannot_choose_the_folder(detector: str) -> None:
    for suffix in (layout.inference_suffix, layout.training_suffix):
        with pytest.raises(ArtifactError) as refused:
            suffix(detector)
        assert str(refused.value) == (
            f"info.detector: {detector!r} cannot be part of a file name"
        )


@pytest.mark.parametrize(
    ("path", "image"),
    [
        ("d/a.JPG___crop01_mdv4.1.jpg", "d/a.JPG"),
        ("d/a.jpg___crop00.jpg", "d/a.jpg"),
        ("d/a.jpg", "d/a.jpg"),
    ],
)
def test_what_is_no_crop_is_its_own_image(path: str, image: str) -> None:
    assert layout.image_of(path) == image
