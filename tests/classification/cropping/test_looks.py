from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageEnhance
from scipy import fft

from classification.cropping import infrared, looks
from classification.cropping.images import open_image
from classification.cropping.looks import Look
from classification.runtime.errors import ItemError
from classification.storage.local import LocalStore
from tests.world import jpeg_bytes, photograph, save_jpeg

if TYPE_CHECKING:
    from pathlib import Path


def apart(one: Image.Image, other: Image.Image) -> int:
    bits = looks.look_at(one).bits ^ looks.look_at(other).bits
    return bits.bit_count()


def by_infrared() -> Image.Image:
    return photograph().convert("L").convert("RGB")


def test_the_hash_is_that_of_the_cosine_transform() -> None:
    grey = np.random.default_rng(0).uniform(0, 255, (32, 32))
    lowest = fft.dctn(grey)[:8, :8].ravel()
    wanted = "".join("01"[int(one > np.median(lowest))] for one in lowest)
    assert f"{looks.perceptual_hash(grey):064b}" == wanted


def test_saved_scaled_or_brightened_anew_a_picture_looks_alike() -> None:
    scene = photograph(seed=1)
    assert apart(scene, open_image(jpeg_bytes(scene, quality=40)).image) <= 4
    assert apart(scene, scene.resize((160, 120))) <= 4
    assert apart(scene, ImageEnhance.Brightness(scene).enhance(0.8)) <= 4


def test_other_pictures_look_otherwise() -> None:
    scenes = [photograph(seed=seed) for seed in range(6)]
    distances = [apart(a, b) for a in scenes for b in scenes if a is not b]
    assert min(distances) > 12


def test_an_even_picture_is_flat_and_a_scene_is_not() -> None:
    dark = Image.fromarray(
        np.random.default_rng(0).integers(0, 6, (60, 60, 3)).astype(np.uint8)
    )
    assert looks.look_at(dark).contrast < looks.FLAT
    assert looks.look_at(photograph()).contrast > looks.FLAT


@pytest.mark.parametrize("tint", [(255, 255, 255), (180, 150, 255), (90, 255, 120)])
def test_pictures_by_infrared_are_grey_and_others_are_not(
    tint: tuple[int, int, int],
) -> None:
    tinted = ImageChops.multiply(by_infrared(), Image.new("RGB", (320, 240), tint))
    saved = open_image(jpeg_bytes(tinted)).image
    assert looks.look_at(saved).own_colour < infrared.GREY
    assert looks.look_at(photograph()).own_colour > infrared.GREY


def test_a_crop_that_cannot_be_read_is_named_in_its_turn(tmp_path: Path) -> None:
    save_jpeg(tmp_path / "a.jpg", photograph(seed=0))
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    save_jpeg(tmp_path / "c.jpg", photograph(seed=2))
    names = ["a.jpg", "b.jpg", "gone.jpg", "c.jpg"]
    a, b, gone, c = looks.looks(names, LocalStore(tmp_path), threads=2)
    assert isinstance(a, Look)
    assert isinstance(c, Look)
    assert a != c
    assert isinstance(b, ItemError)
    assert str(b) == "not an image file"
    assert isinstance(gone, ItemError)
    assert str(gone) == "no such file"
