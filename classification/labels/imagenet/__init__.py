"""ImageNet's animals: their taxonomy, and groups of them for camera traps. Data only.

``taxonomy.csv``
    One row for each of the 398 animals among the 1000 categories of ImageNet, data set
    ``imagenet``, made by hand. Where a category is no taxon of its own (a breed, a coat,
    a sex, or a word such as *vulture* that belongs to no one genus) its row ends in a
    ``form`` below the lowest taxon that holds all of it, so that no category lies inside
    another. The dingo is a species, *Canis dingo*, as ImageNet has it; orders of fish
    follow the wide Perciformes; *vulture* stands below Accipitriformes.
``classifier_spec.json``
    The label specification of a classifier with these categories.
``group_spec.json``
    42 groups as a person at a camera trap would name them. A group holds what looks
    alike, so that an animal that ImageNet lacks (a deer, a tamandua) still has one.
``broad_group_spec.json``
    Six broad groups, each the union of groups: what an unsure guess falls back to.

Fossils (triceratops, trilobite) have a row and no group.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent

DATASET = "imagenet"
TAXONOMY = _FOLDER / "taxonomy.csv"
CLASSIFIER_SPEC = _FOLDER / "classifier_spec.json"
GROUP_SPEC = _FOLDER / "group_spec.json"
BROAD_GROUP_SPEC = _FOLDER / "broad_group_spec.json"
