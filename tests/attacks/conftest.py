"""One server a module; each test brings tenants and numbers of its own."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests.attacks.site import Site
from tests.support.live import running, sandbox_config

from watchword.config import Carriers, Config
from watchword.telemetry.logs import DEBUG
from watchword.testing.clock import FakeClock


def site_config(directory: Path) -> Config:
    """Return the dev configuration with a carrier that remembers every message."""
    carriers = Carriers(
        tables={"sandbox": {"keep": 100_000}}, order={"SMS": ("sandbox",), "VOICE": ("sandbox",)}
    )
    return replace(sandbox_config(directory), carriers=carriers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A server with a clock of its own, shared by the tests of a module."""
    directory = tmp_path_factory.mktemp("site") / "var"
    clock = FakeClock()
    config = site_config(directory)
    async with running(directory, config=config, clock=clock, log_level=DEBUG) as live:
        yield Site(live, clock)
