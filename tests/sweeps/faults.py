"""Fetches images from a container through a proxy that spoils answers."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import TYPE_CHECKING

from classification import download_images
from tests import azurite
from tests.faults import spoiling
from tests.sweeps import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGES = 1000
THREADS = 16
# Share of answers that are spoilt, tries, and how many requests an image may cost.
CASES = ((0.1, 10, 1.3), (0.5, 20, 2.2))


def missing() -> str:
    if not Path("/proc/net/tcp").exists():
        return "needs /proc/net/tcp, to count connections"
    return azurite.missing()


def run(share: float, folder: Path) -> Outcome:
    blobs = {f"d/{n // 100}/{n:04}.jpg": _blob(n) for n in range(int(IMAGES * share))}
    (folder / "list.txt").write_text("\n".join(blobs))
    (folder / "azurite").mkdir()
    figures: dict[str, object] = {"images": len(blobs), "threads": THREADS}
    broken: list[str] = []
    with azurite.running(folder / "azurite") as emulator:
        url = emulator.with_token(emulator.container("images", blobs))
        for spoilt, tries, most in CASES:
            _try(
                url, blobs, folder / f"{spoilt}", (spoilt, tries, most), figures, broken
            )
    return Outcome(figures=figures, broken=broken)


def _blob(number: int) -> bytes:
    return random.Random(number).randbytes(20_000 + 37 * number)


def _try(  # noqa: PLR0913, PLR0917 - one case
    url: str,
    blobs: Mapping[str, bytes],
    folder: Path,
    case: tuple[float, int, float],
    figures: dict[str, object],
    broken: list[str],
) -> None:
    spoilt, tries, most = case
    name = f"1 in {round(1 / spoilt)}"
    upstream, _, path = url.partition("/devstoreaccount1")
    with spoiling(upstream, spoilt, seed=1) as proxy:
        words = ["txt", str(folder.parent / "list.txt"), str(folder / "saved")]
        words += ["--container-url", f"{proxy.url}/devstoreaccount1{path}"]
        words += ["--threads", str(THREADS), "--tries", str(tries), "--timeout", "2"]
        words += ["--md5", "require", "--logdir", str(folder)]
        code = download_images.main(words)
    right, wrong = _compare(folder / "saved", blobs)
    ratio = proxy.requests / len(blobs)
    figures |= {
        f"{name}: answers spoilt": proxy.spoilt.total(),
        f"{name}: ways of it": len(proxy.spoilt),
        f"{name}: right files": right,
        f"{name}: wrong files": wrong,
        f"{name}: requests an image": round(ratio, 2),
        f"{name}: most connections open at once": proxy.most_connections,
    }
    if code or right != len(blobs) or wrong:
        broken.append(f"{name}: exit {code}, {right} right and {wrong} wrong files")
    if ratio > most:
        broken.append(f"{name}: {ratio:.2f} requests an image, more than {most}")
    if proxy.most_connections > THREADS:
        broken.append(f"{name}: {proxy.most_connections} connections")


def _compare(folder: Path, blobs: Mapping[str, bytes]) -> tuple[int, int]:
    """Returns how many files of a folder are those of the container, and how many not."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    right = sum(
        hashlib.sha256(path.read_bytes()).digest()
        == hashlib.sha256(blobs.get(str(path.relative_to(folder)), b"")).digest()
        for path in files
    )
    return right, len(files) - right
