"""The notebooks run from top to bottom, and are kept without what they showed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from classification import json_validator, train_classifier
from classification.artifacts import label_spec
from classification.runtime import parallel
from tests import training_world
from tests.commands import ROOT
from tests.world import DEER_AND_BIRDS, write_store, write_taxonomy

if TYPE_CHECKING:
    from pathlib import Path

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NETWORK = "-m timm/test_resnet --image-size 32 --batch-size 8 --lr 0.02 --seed 1"
by_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path) -> list[dict[str, Any]]:
    document: dict[str, Any] = json.loads(path.read_bytes())
    found: list[dict[str, Any]] = document["cells"]
    return found


def test_the_three_notebooks_of_the_original_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "analyze_classifier_results",
        "inspect_dataset",
        "megaclassifier_label_spec",
    ]


@by_notebook
def test_a_notebook_is_kept_without_what_it_showed(path: Path) -> None:
    for cell in cells(path):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@by_notebook
def test_the_first_code_says_where_everything_is(path: Path) -> None:
    first, *others = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    assert first["metadata"]["tags"] == ["parameters"]
    source = "".join(first["source"])
    assert source.startswith("import os\n")
    assert 'os.environ.get("CAMERATRAPS_' in source
    assert "os.environ" not in "".join(
        line for cell in others for line in cell["source"]
    )


def shown(name: str, folder: Path, **variables: object) -> str:
    """Runs a notebook in a folder; returns all the text that it shows.

    It fails where a cell does.
    """
    import nbclient  # noqa: PLC0415 - takes a moment, and the fast tests need none of it
    import nbformat  # noqa: PLC0415 - as above

    notebook = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    ours = {f"CAMERATRAPS_{key.upper()}": str(v) for key, v in variables.items()}
    client.execute(env={**os.environ, **ours, "PYTHONPATH": str(ROOT)})
    outputs = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [o.text for o in outputs if o.get("name") == "stderr"]
    return "".join(output.get("text", "") for output in outputs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trains a tiny network on three colours; returns the folder."""
    base = tmp_path_factory.mktemp("notebooks")
    training_world.make(base)
    words = [str(base / "run"), str(base / "crops"), *NETWORK.split(), "--epochs", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "cores", lambda: 1)  # tiny networks gain nothing
        assert train_classifier.main([*words, "--logdir", str(base / "run")]) == 0
    (base / "crops/d/0/bear0.jpg___crop00.jpg").unlink()
    return base


@pytest.mark.slow
def test_inspect_dataset_runs(trained: Path) -> None:
    text = shown(
        "inspect_dataset",
        trained,
        base_logdir="run",
        crops=trained / "crops",
        other_splits=trained / "run/splits.json",
    )
    assert "bear: 16 crops" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["bear", "train", "8", "50%", "2", "locations"] in lines
    assert ["test", "0", "0", "1", "0"] in lines  # a split meets itself alone


@pytest.mark.slow
def test_analyze_classifier_results_runs(trained: Path) -> None:
    [folder] = [path for path in (trained / "run").iterdir() if path.name[0] == "2"]
    text = shown(
        "analyze_classifier_results",
        trained,
        logdir=folder,
        crops="crops",
        split="train",
        label="bear",
    )
    metrics = json.loads((folder / "metrics.json").read_bytes())
    accuracy = metrics["splits"]["test"]["acc_top1"]["value"]
    assert f"{accuracy:.3f}" in text
    assert "mean without other" in text
    assert "bear taken for" in text


@pytest.mark.slow
@pytest.mark.parametrize("said", [{}, {"logdir": "."}])
def test_analyze_classifier_results_runs_beside_its_results(
    trained: Path, said: dict[str, str]
) -> None:
    [folder] = [path for path in (trained / "run").iterdir() if path.name[0] == "2"]
    text = shown("analyze_classifier_results", folder, crops="../../crops", **said)
    assert "mean without other" in text


@pytest.mark.slow
@pytest.mark.parametrize("said", [{}, {"base_logdir": "."}])
def test_inspect_dataset_runs_beside_its_results(
    trained: Path, said: dict[str, str]
) -> None:
    text = shown("inspect_dataset", trained / "run", crops="../crops", **said)
    assert "bear: 16 crops" in text


@pytest.mark.slow
def test_megaclassifier_label_spec_runs_in_the_store(tmp_path: Path) -> None:
    write_taxonomy(tmp_path / "taxonomy.csv", DEER_AND_BIRDS)
    images = [
        {"file": f"deer{number:02}.jpg", "labels": ["deer"], "location": "1"}
        for number in range(12)
    ]
    write_store(tmp_path / "megadb", {"idfg": images})
    text = shown(
        "megaclassifier_label_spec",
        tmp_path / "megadb",
        taxonomy="../taxonomy.csv",
        label_spec="../label_spec.json",
        min_images=10,
    )
    assert "12 images of 1 labels" in text
    assert (tmp_path / "label_spec.json").is_file()


@pytest.mark.slow
def test_megaclassifier_label_spec_runs_and_is_accepted(tmp_path: Path) -> None:
    write_taxonomy(tmp_path / "taxonomy.csv", DEER_AND_BIRDS)
    images = [
        {"file": f"{label}{number:02}.jpg", "labels": [label], "location": "1"}
        for label, count in (("deer", 12), ("elk", 11), ("#ref!", 3))
        for number in range(count)
    ]
    write_store(tmp_path / "megadb", {"idfg": sorted(images, key=lambda i: i["file"])})
    text = shown(
        "megaclassifier_label_spec",
        tmp_path,
        megadb="megadb",
        taxonomy="taxonomy.csv",
        label_spec="label_spec.json",
        min_images=10,
    )
    assert "23 images of 2 labels" in text
    specs = label_spec.read(tmp_path / "label_spec.json")
    assert list(specs) == ["family: cervidae (other)", "species: cervus canadensis"]
    words = [tmp_path / "label_spec.json", tmp_path / "taxonomy.csv"]
    store = ["--megadb", tmp_path / "megadb", "--output-dir", tmp_path / "run"]
    assert json_validator.main([str(word) for word in (*words, *store)]) == 0
