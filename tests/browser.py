"""A headless browser for pages: opened from a disk, watched for what it should not do."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)

needs_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no chromium is installed"),
    pytest.mark.usefixtures("browser"),
]
_running: list[Browser] = []


@contextmanager
def running() -> Iterator[None]:
    """Runs the browser that `opened` uses in the block."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - for browsers only

    with sync_playwright() as playwright:
        _running.append(
            playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        )
        yield
        _running.pop().close()


@contextmanager
def opened(
    path: Path, *, scheme: str = "light", scripts: bool = True
) -> Iterator[Page]:
    """Opens a page from the disk, as a person would, with the network off.

    At the end it must not have shown a dialog, logged an error, broken its own policy, or
    asked for anything but itself.

    Args:
        path: of the HTML file.
        scheme: ``light`` or ``dark``.
        scripts: whether scripts run.
    """
    faults: list[str] = []
    context = _running[-1].new_context(
        offline=True,
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 1280, "height": 900},
        accept_downloads=True,
        java_script_enabled=scripts,
    )
    page = context.new_page()
    page.on("dialog", lambda one: (faults.append(one.message), one.dismiss()))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console",
        lambda said: faults.append(said.text) if said.type == "error" else None,
    )
    page.on("request", lambda asked: faults.extend(_beyond(asked.url, path)))
    page.goto(path.as_uri())
    yield page
    context.close()
    assert faults == []


def _beyond(url: str, path: Path) -> list[str]:
    is_own = url.partition("#")[0] == path.as_uri() or url.startswith(
        ("data:", "blob:")
    )
    return [] if is_own else [url]
