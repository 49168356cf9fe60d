"""A tenth of each sweep, with fixed seeds; and the page that shows what they found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import sweeps
from tests.sweeps import hostile_models, page


@pytest.mark.slow
@pytest.mark.parametrize("name", sweeps.NAMES)
def test_a_tenth_of_a_sweep_keeps_its_promise(name: str, tmp_path: Path) -> None:
    sweep = sweeps.load(name)
    if reason := sweep.missing():
        pytest.skip(reason)
    assert sweep.run(0.1, tmp_path).broken == []


@pytest.mark.parametrize("name", sweeps.NAMES)
def test_the_page_shows_what_a_sweep_found(name: str) -> None:
    assert page.has_figures(name)


def test_figures_take_the_place_of_those_before(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    before = "a\n<!-- figures of x -->\n<!-- end of x -->\nb\n"
    path.write_text(before)
    assert not page.has_figures("x", path)
    page.write("x", {"right": 3}, path)
    page.write("x", {"right": 4}, path)
    assert page.has_figures("x", path)
    assert path.read_text() == (
        "a\n<!-- figures of x -->\n| | |\n|---|---|\n| right | 4 |\n"
        "<!-- end of x -->\nb\n"
    )


def test_what_a_model_asks_of_the_system_is_seen(tmp_path: Path) -> None:
    lines = """\
        7 openat(AT_FDCWD, "out/c.csv", O_WRONLY|O_CREAT, 0666) = 3
        7 openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3
        7 openat(AT_FDCWD, "/world/models/../out/d", O_WRONLY|O_CREAT, 0666) = 3
        7 openat(AT_FDCWD, "/written", O_WRONLY|O_CREAT <unfinished ...>
        7 openat(AT_FDCWD, "../written", O_RDWR|O_CREAT, 0666) = 3
        7 mkdir("/written", 0777) = 0
        7 connect(3, {sa_family=AF_UNIX, sun_path="/run/nscd"}, 110) = -1
        7 connect(3, {sa_family=AF_INET, sin_port=htons(9)}, 16) = -1
        7 execve("/bin/sh", ["sh", "-c", "touch x"], 0x7ffe) = 0
    """
    trace = tmp_path / "trace"
    trace.write_text("".join(f"{one.strip()}\n" for one in lines.splitlines()))
    broken, files, machines = hostile_models.asked(trace, 0, (Path("/world"),))
    assert (files, machines) == (5, 1)
    assert [line.partition("(")[0] for line in broken] == [
        *("openat", "openat", "openat", "mkdir", "connect", "execve")
    ]
