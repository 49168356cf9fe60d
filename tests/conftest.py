"""What every test needs: the same examples each time, and logging as it was."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import azurite
from tests import browser as chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

# The same examples on every machine, however slow: a red test can be run again. Files of a
# test's own folder are written anew by each example.
settings.register_profile(
    "project",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("project")

# Processes that tests interrupt inherit it; a shell's background jobs ignore it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[azurite.Azurite]:
    """The emulator of Azure Blob Storage; a test that asks for it is skipped without."""
    if reason := azurite.missing():
        pytest.skip(reason)
    with azurite.running(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[None]:
    """A browser for `tests.browser.opened`, started once for a module."""
    with chromium.running():
        yield
