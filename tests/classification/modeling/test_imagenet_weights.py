"""Where ImageNet's weights come from, fetched from a server on this machine."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import pytest
from efficientnet_pytorch.utils import url_map
from torchvision import models

from classification.modeling import catalog, embedded, imagenet_weights
from classification.modeling.imagenet_weights import FILES, WebFile
from classification.runtime import registry
from classification.runtime.errors import ModelError, StorageError
from classification.storage import download
from classification.storage.download import Patience
from detection.models import MIRROR_VARIABLE
from tests.web import Reply, serving

if TYPE_CHECKING:
    from pathlib import Path

DATA = b"weights" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(registry.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)
    return tmp_path / "cache"


def of(name: str) -> imagenet_weights.Source:
    return imagenet_weights.source(catalog.find(name))


def test_addresses_are_those_that_the_packages_know() -> None:
    """What the packages state: the address, with the digest's first digits in it."""
    for name, url in url_map.items():
        assert FILES[name].url == url
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):
        assert FILES[name].url == models.get_model_weights(name)["IMAGENET1K_V1"].url
    assert len(FILES) == len(url_map) + 5


def test_every_digest_begins_with_the_digits_in_the_address() -> None:
    for file in FILES.values():
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.url.endswith(f"-{file.sha256[:8]}.pth")
        assert file.url.endswith(f"/{file.name}")


def test_sources_by_family() -> None:
    assert of("resnet50") == FILES["resnet50"]
    assert of("efficientnet-lite1") == (
        embedded.MODELS["efficientnet-lite1-imagenet"].source
    )
    assert of("torchvision/resnet50") == WebFile(
        url="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
        name="resnet50-11ad3fa6.pth",
        sha256="11ad3fa6",
    )
    found = of("timm/tf_efficientnet_lite0")
    assert isinstance(found, WebFile)
    assert found.name == "tf_efficientnet_lite0-0aa007d2.pth"
    assert found.sha256 == "0aa007d2"


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        # Its own file is an archive of another library; timm's copy is read.
        ("timm/vit_small_patch16_224", "augreg_in21k_ft_in1k"),
        # The name of its own file holds no digest.
        ("timm/convnextv2_tiny", "fcmae_ft_in22k_in1k"),
    ],
)
def test_timms_copy_where_the_authors_file_cannot_be_checked(
    name: str, tag: str
) -> None:
    network = name.removeprefix("timm/")
    assert of(name) == WebFile(
        url=f"https://huggingface.co/timm/{network}.{tag}/resolve/main/model.safetensors",
        name=f"timm--{network}.{tag}.safetensors",
        sha256="",
    )


@pytest.mark.parametrize("name", ["efficientnet-b8", "efficientnet-l2"])
def test_networks_without_weights(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        of(name)
    assert str(caught.value) == (
        f"there are no ImageNet weights of {name}; train it from random weights or "
        "from a checkpoint (--pretrained PATH)"
    )


@pytest.mark.parametrize("digits", [64, 8])
def test_a_file_is_fetched_once(cache: Path, digits: int) -> None:
    with serving(Reply(DATA)) as web:
        file = WebFile(url=f"{web.url}/a/b.pth", name="b.pth", sha256=SHA256[:digits])
        for _ in range(2):
            path = imagenet_weights.fetched(file)
            assert path == cache / "b.pth"
            assert path.read_bytes() == DATA
        assert web.asked == ["/a/b.pth"]
        path.write_bytes(b"broken")
        assert imagenet_weights.fetched(file).read_bytes() == DATA
        assert len(web.asked) == 2


def test_a_file_put_there_by_hand_is_used(cache: Path) -> None:
    cache.mkdir()
    (cache / "b.pth").write_bytes(DATA)
    file = WebFile(url="http://127.0.0.1:9/b.pth", name="b.pth", sha256=SHA256[:8])
    assert imagenet_weights.fetched(file).read_bytes() == DATA


@pytest.mark.parametrize("digits", [64, 8])
def test_d45_another_file_is_refused(cache: Path, digits: int) -> None:
    with serving(Reply(b"something else")) as web:
        file = WebFile(url=f"{web.url}/b.pth", name="b.pth", sha256=SHA256[:digits])
        with pytest.raises(StorageError) as caught:
            imagenet_weights.fetched(file)
    found = hashlib.sha256(b"something else").hexdigest()
    assert str(caught.value) == (
        f"{file.url} is not what was expected: its sha256 is {found}, not "
        f"{file.sha256}; fetch it in another way and put it at {cache / 'b.pth'} "
        "(CAMERATRAPS_CACHE names another folder, CAMERATRAPS_MODEL_URL a mirror)"
    )
    assert list(cache.iterdir()) == []


def test_offline_there_is_one_line(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Patience(tries=1)
    monkeypatch.setattr(
        download.fetch, "__kwdefaults__", {"checksum": "", "patience": quick}
    )
    file = WebFile(url="http://127.0.0.1:9/b.pth", name="b.pth", sha256=SHA256)
    with pytest.raises(StorageError) as caught:
        imagenet_weights.fetched(file)
    assert str(caught.value) == (
        "cannot download http://127.0.0.1:9/b.pth: Connection refused (try 1 of 1); "
        f"fetch it in another way and put it at {cache / 'b.pth'} "
        "(CAMERATRAPS_CACHE names another folder, CAMERATRAPS_MODEL_URL a mirror)"
    )


def test_a_mirror(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Reply(DATA)) as web:
        monkeypatch.setenv(MIRROR_VARIABLE, f"{web.url}/mirror/")
        file = WebFile(url="http://127.0.0.1:9/x.pth", name="b.pth", sha256=SHA256)
        assert imagenet_weights.fetched(file) == cache / "b.pth"
        assert web.asked == ["/mirror/b.pth"]


def test_without_a_published_hash_what_came_first_is_kept(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = cache / "b.safetensors"
    with serving(Reply(DATA)) as web:
        file = WebFile(url=f"{web.url}/b", name="b.safetensors", sha256="")
        imagenet_weights.fetched(file)
        imagenet_weights.fetched(file)
    (message,) = caplog.messages
    assert "no SHA-256 of it is published" in message
    assert (cache / f"{path.name}.sha256").read_text() == f"{SHA256}  {path.name}\n"
    path.write_bytes(b"another file")
    with pytest.raises(StorageError, match="is not the file that came first"):
        imagenet_weights.fetched(file)
