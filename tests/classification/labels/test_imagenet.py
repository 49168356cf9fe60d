"""The shipped taxonomy of ImageNet's animals, and the groups of them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import classification
from classification import map_classification_categories
from classification.artifacts import (
    label_index,
    label_spec,
    target_mapping,
    taxonomy_csv,
)
from classification.labels import imagenet
from taxonomy import taxonomy_csv_checker

INDEX = Path(classification.__file__).parent / "modeling" / "imagenet_labels.json"
ANIMALS = 398  # ImageNet's order puts them first
FOSSILS = {"triceratops", "trilobite"}


def mapping(spec: Path, folder: Path) -> dict[str, tuple[str, ...]]:
    output = folder / "mapping.json"
    command = [spec, imagenet.CLASSIFIER_SPEC, imagenet.TAXONOMY, "-o", output]
    words = [str(word) for word in [*command, "-i", INDEX]]
    assert map_classification_categories.main(words) == 0
    return target_mapping.read(output)


def test_each_animal_has_a_row_in_imagenets_order() -> None:
    with imagenet.TAXONOMY.open(newline="", encoding="utf-8") as file:
        queries = [row["query"] for row in csv.DictReader(file)]
    names = label_index.read(INDEX)
    assert tuple(queries) == names[:ANIMALS]
    assert names[ANIMALS] == "abacus"
    assert tuple(label_spec.read(imagenet.CLASSIFIER_SPEC)) == names[:ANIMALS]


def test_the_checker_finds_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert taxonomy_csv_checker.main([str(imagenet.TAXONOMY)]) == 0
    said = capsys.readouterr()
    assert "0 errors" in said.out + said.err


def test_no_category_lies_inside_another() -> None:
    taxonomy = taxonomy_csv.read(imagenet.TAXONOMY)
    names = label_index.read(INDEX)[:ANIMALS]
    taxa = {taxonomy.taxon_of(imagenet.DATASET, name) for name in names}
    assert len(taxa) == ANIMALS
    for taxon in taxa:
        assert taxon is not None
        assert taxonomy.children(taxon) == ()


@pytest.mark.parametrize(
    ("category", "family"),
    [
        ("tench", "tincidae"),
        ("beagle", "canidae"),
        ("grey fox", "canidae"),
        ("tabby", "felidae"),
        ("skunk", "mephitidae"),
        ("lesser panda", "ailuridae"),
        ("giant panda", "ursidae"),
        ("meerkat", "herpestidae"),
        ("madagascar cat", "lemuridae"),
        ("siamang", "hylobatidae"),
        ("hartebeest", "bovidae"),
        ("wallaby", "macropodidae"),
        ("robin", "turdidae"),
        ("junco", "passerellidae"),
        ("indigo bunting", "cardinalidae"),
        ("limpkin", "aramidae"),
        ("american chameleon", "dactyloidae"),
        ("boa constrictor", "boidae"),
        ("axolotl", "ambystomatidae"),
        ("king crab", "lithodidae"),
        ("monarch", "nymphalidae"),
    ],
)
def test_families(category: str, family: str) -> None:
    taxonomy = taxonomy_csv.read(imagenet.TAXONOMY)
    taxon = taxonomy.taxon_of(imagenet.DATASET, category)
    above = []
    while taxon is not None:
        above.append((taxon.level, taxon.name))
        taxon = taxonomy.parent(taxon)
    assert ("family", family) in above
    assert above[-1] == ("kingdom", "animalia")


def test_every_living_animal_is_in_a_group(tmp_path: Path) -> None:
    names = label_index.read(INDEX)
    for spec in (imagenet.GROUP_SPEC, imagenet.BROAD_GROUP_SPEC):
        categories_by_group = mapping(spec, tmp_path)
        other = set(categories_by_group.pop("other"))
        assert other == set(names[ANIMALS:]) | FOSSILS
        assert set(categories_by_group) == set(label_spec.read(spec))


def test_each_broad_group_is_a_union_of_groups(tmp_path: Path) -> None:
    groups = mapping(imagenet.GROUP_SPEC, tmp_path)
    broad = mapping(imagenet.BROAD_GROUP_SPEC, tmp_path)
    assert set(groups) & set(broad) == {"other"}
    for categories in groups.values():
        homes = [name for name, all_ in broad.items() if set(categories) <= set(all_)]
        assert len(homes) == 1


@pytest.mark.parametrize(
    ("group", "categories"),
    [
        ("fox", {"red fox", "kit fox", "arctic fox", "grey fox"}),
        ("marsupial", {"wallaby", "koala", "wombat"}),
        ("armadillo, sloth or anteater", {"armadillo", "three-toed sloth"}),
        ("rabbit or hare", {"wood rabbit", "hare", "angora"}),
        ("elephant", {"tusker", "indian elephant", "african elephant"}),
    ],
)
def test_groups_hold_what_they_say(
    group: str, categories: set[str], tmp_path: Path
) -> None:
    assert set(mapping(imagenet.GROUP_SPEC, tmp_path)[group]) == categories


def test_dogs_are_one_group_and_wolves_another(tmp_path: Path) -> None:
    groups = mapping(imagenet.GROUP_SPEC, tmp_path)
    assert len(groups["domestic dog"]) == 118
    assert {"timber wolf", "dingo", "coyote"} <= set(groups["wolf, coyote or wild dog"])
