from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from classification.artifacts import layout
from classification.runtime.errors import ArtifactError
from tests.classification.megadb.worlds import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_images_that_cannot_be_used_are_listed(world: World) -> None:
    world.image("ok.jpg")
    world.image("broken.jpg", problem="corrupt")
    world.image(None, id="nameless")
    world.image("../evil.jpg")
    world.image("/etc/evil.jpg")
    world.image("a\\b.jpg")
    world.image("a\0.jpg")
    world.image("C:evil.jpg")
    world.image("clip.mp4")
    world.image(".jpg")
    world.image("second.jpg", id="ok.jpg")
    world.image("ok.jpg", id="third")
    imported = world.finish()
    assert [row["file"] for row in world.table()] == ["ok.jpg"]
    assert world.left_out() == [
        ("image", "broken.jpg", "corrupt"),
        ("image", "nameless", "no file name"),
        ("image", "../evil.jpg", "leaves its folder"),
        (
            *("image", "/etc/evil.jpg"),
            "is absolute; names are relative to the images folder",
        ),
        ("image", "a\\b.jpg", "holds a backslash; names use /"),
        ("image", "a\0.jpg", "holds a NUL"),
        (
            *("image", "C:evil.jpg"),
            "is absolute; names are relative to the images folder",
        ),
        ("image", "clip.mp4", "not an image file"),
        ("image", ".jpg", "not an image file"),
        ("image", "second.jpg", "an earlier image has this id"),
        ("image", "ok.jpg", "an earlier image has this file"),
    ]
    assert imported.images_left_out == 11


def test_the_first_sound_image_of_an_id_is_kept(world: World) -> None:
    world.image("a.jpg", id="x", problem="corrupt")
    world.image("b.jpg", id="x")
    world.image("c.jpg", id="x")
    world.label("x", "elk")
    world.finish()
    assert world.column("labels") == {"b.jpg": ["elk"]}


NAMES = st.text(st.sampled_from("aZ./\\:\0 \n\u0130\u212a-"), max_size=8)
ENDINGS = st.sampled_from(["", ".jpg", ".JPG", ".jpeg", ".mp4", ".jpg/", ".g\u0130f"])


@settings(max_examples=8)
@given(st.lists(st.tuples(NAMES, ENDINGS).map("".join), max_size=30, unique=True))
@example(["..jpg", "x..jpg", "a/.jpg", "a.jpg/.", "\nb.jpg", "a\n.jpg", ":.jpg"])
def test_d43_the_same_names_stay_in_their_folder_as_everywhere(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    world.image("last.jpg")
    for name in names:
        world.image(name)
    world.finish()
    sound = {name for name in names if _is_sound(name)}
    assert set(world.column("file")) == sound | {"last.jpg"}


def _is_sound(name: str) -> bool:
    try:
        layout.checked_name(name)
    except ArtifactError:
        return False
    return layout.is_image_name(name)
