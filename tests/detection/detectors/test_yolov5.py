from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
import torch

from classification.runtime.errors import ModelError
from detection import detectors, models
from detection.detectors import Options, yolov5
from detection.detectors.heads import Head
from tests.detection.detectors.test_checkpoint import archive, names
from tests.world import photograph, pixels

TRUSTED = Options(trust_model=True)


class OldHead(torch.nn.Module):
    """A head of an early release: its anchor grid is a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("anchors", torch.zeros(3, 3, 2))
        self.register_buffer("anchor_grid", torch.zeros(3, 1, 3, 1, 1, 2))


def test_networks_of_early_releases_get_what_newer_code_looks_for() -> None:
    up = torch.nn.Upsample(scale_factor=2)
    del up.recompute_scale_factor
    network = yolov5._modernised(torch.nn.Sequential(up, OldHead()).half())
    assert up.recompute_scale_factor is None
    assert isinstance(network[1].anchor_grid, list)
    assert len(network[1].anchor_grid) == 3
    assert network[1].anchors.dtype == torch.float32


@pytest.mark.slow
class TestWithThePackage:
    @pytest.fixture(autouse=True)
    def package(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own, about setuptools
            pytest.importorskip("yolov5", reason="extra [yolov5] is not installed")

    @pytest.fixture
    def checkpoint(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Saves a real network, its classes named as MegaDetector's file names them."""
        import yolov5 as package  # noqa: PLC0415 - an extra
        from yolov5.models import common, yolo  # noqa: PLC0415 - likewise

        config = Path(package.__file__).parent / "models" / "yolov5n.yaml"
        torch.manual_seed(0)
        network = yolo.DetectionModel(str(config), ch=3, nc=3)
        network.names = ["animal", "person", "vehicle"]
        for module in (common, yolo):
            old = module.__name__.removeprefix("yolov5.")
            monkeypatch.setitem(sys.modules, old, module)
            for kind in vars(module).values():
                if isinstance(kind, type) and kind.__module__ == module.__name__:
                    monkeypatch.setattr(kind, "__module__", old)
        path = tmp_path / "md_v5a.0.0.pt"
        torch.save({"epoch": -1, "model": network.half(), "ema": None}, path)
        monkeypatch.undo()
        return path

    def test_a_checkpoint_runs(self, checkpoint: Path) -> None:
        model = models.resolve(str(checkpoint))
        assert (model.name, model.version) == ("md_v5a.0.0.pt", "5a.0.0")
        before = {name: sys.modules.get(name) for name in ("models", "models.yolo")}
        detector = detectors.load(model, TRUSTED)
        assert {name: sys.modules.get(name) for name in before} == before
        assert detector.categories == {"1": "animal", "2": "person", "3": "vehicle"}
        assert detector.head is Head.YOLOV5  # type: ignore[attr-defined]  # that of NetworkDetector
        prepared = detector.prepare(pixels(photograph(320, 200)))
        assert prepared.pixels.shape == (3, 800, 1280)
        (found,) = detector.detect([prepared], threshold=0.0001)
        assert all(0 <= one.bbox.left <= one.bbox.right <= 1 for one in found)

    def test_a_checkpoint_is_converted(self, checkpoint: Path, tmp_path: Path) -> None:
        options = Options(trust_model=True, image_size_px=320)
        model = models.resolve(str(checkpoint))
        target = tmp_path / "md_v5a.0.0.onnx"
        detectors.convert(model, target, options)
        converted = models.resolve(str(target))
        assert converted.name == "md_v5a.0.0.pt"
        image = pixels(photograph(320, 320))
        found = [
            one.detect([one.prepare(image)], threshold=0.001)[0][:20]
            for one in (detectors.load(converted), detectors.load(model, options))
        ]
        assert [one.conf for one in found[0]] == pytest.approx(
            [one.conf for one in found[1]], abs=0.0011
        )
        assert found[0]

    def test_a_checkpoint_without_a_network(self, tmp_path: Path) -> None:
        path = tmp_path / "m.pt"
        torch.save({"epoch": 1}, path)
        with pytest.raises(ModelError) as error:
            yolov5.read(path)
        assert str(error.value) == f"{path}: holds no network"

    def test_a_checkpoint_that_cannot_be_unpickled(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "m.pt", names(("models.yolo", "Nothing")))
        with pytest.raises(ModelError, match=r"m\.pt: cannot be unpickled"):
            detectors.load(models.resolve(str(path)), TRUSTED)
