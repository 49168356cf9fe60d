"""Model cards: what they say, and that no name breaks them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from classification.artifacts.evaluation import (
    Bootstrap,
    Estimate,
    Evaluation,
    SplitMetrics,
)
from classification.artifacts.run_params import RunParams
from classification.reports import model_card
from classification.reports.model_card import Card

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("bear", "a|b\n# deer", "*fox*")


def card() -> Card:
    half = Estimate(value=0.5, low=0.25, high=0.75)
    found = SplitMetrics(
        crops=1234,
        failed=1,
        locations=3,
        loss=half,
        acc_top1=half,
        acc_top3=Estimate(value=1.0),
        balanced_accuracy=half,
        macro_f1=Estimate(value=None),
        calibration_error=half,
        location_accuracy=half,
    )
    return Card(
        name="20261122_204715",
        params=RunParams(
            dataset_dir="run",
            cropped_images_dir="crops",
            model_name="efficientnet-b3",
            lr=0.0001,
            image_size=300,
            data_sha256={"splits.json": "00ff"},
        ),
        start="ImageNet weights",
        counts={
            split: dict.fromkeys(LABELS, 5000) for split in ("train", "val", "test")
        },
        locations={"train": 7, "val": 2, "test": 1},
        best_epoch=14,
        evaluation=Evaluation(
            model_sha256="0" * 64,
            bootstrap=Bootstrap(),
            splits={"val": found, "test": found},
        ),
    )


def test_a_card_says_what_the_model_is(tmp_path: Path) -> None:
    path = tmp_path / model_card.FILENAME
    model_card.write(path, card())
    text = path.read_text(encoding="utf-8")
    assert "which of 3 labels" in text
    assert "the network of epoch 14, the best on the val split" in text
    assert "| bear | 5,000 | 5,000 | 5,000 |" in text
    assert (
        "| top-1 accuracy | 0.500 (0.250 to 0.750) | 0.500 (0.250 to 0.750) |" in text
    )
    assert "| top-3 accuracy | 1.000 | 1.000 |" in text
    assert "| macro-F1 | none | none |" in text
    assert "SHA-256 `00ff`" in text


def test_a_card_says_that_the_last_network_was_kept() -> None:
    last = msgspec.structs.replace(card().params, keep="last")
    text = model_card.render(replace(card(), params=last))
    assert "the network of epoch 14, the last. Before" in text


def test_padding_is_told_where_there_is_a_choice() -> None:
    assert "300 pixels; the network of epoch 14" in model_card.render(card())
    text = model_card.render(replace(card(), padding="symmetric"))
    assert "300 pixels, padding `symmetric`; the network of" in text


def test_a_label_stays_in_its_cell() -> None:
    text = model_card.render(card())
    assert "\n# deer" not in text
    assert "| a\\|b\\\\n# deer | 5,000 |" in text
    assert "| \\*fox\\* |" in text


def test_every_row_of_a_table_has_its_cells() -> None:
    lines = model_card.render(card()).splitlines()
    tables: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("|"):
            tables[-1].append(line.replace("\\|", ""))
        elif tables[-1]:
            tables.append([])
    assert len([table for table in tables if table]) == 3
    for table in tables:
        assert len({line.count("|") for line in table}) <= 1


@pytest.mark.parametrize(
    ("epochs", "finetune", "cached", "said"),
    [
        (3, 0, False, "standard"),
        (3, 3, False, "standard"),
        (3, 3, True, "none (features are computed once)"),
        (3, 1, True, "standard, from epoch 1"),
    ],
)
def test_the_augmentation_is_the_one_that_took_place(
    epochs: int, finetune: int, said: str, *, cached: bool
) -> None:
    params = msgspec.structs.replace(
        card().params,
        augmentation="standard",
        epochs=epochs,
        finetune=finetune,
        cache_features=cached,
    )
    text = model_card.render(replace(card(), params=params))
    assert f"| augmentation | {said} |" in text
