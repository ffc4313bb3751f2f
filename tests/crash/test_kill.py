"""Servers killed at any moment: nothing acknowledged is lost, nothing is approved twice."""

from pathlib import Path

import pytest
from tests.crash.loop import crash

# Servers in processes of their own keep the processors busy: one test at a time.
pytestmark = pytest.mark.xdist_group("processes")


async def test_c070_c145_twenty_kills_lose_nothing_acknowledged(tmp_path: Path) -> None:
    await crash(tmp_path, 20)


@pytest.mark.long
async def test_c070_c145_five_thousand_kills_lose_nothing_acknowledged(tmp_path: Path) -> None:
    await crash(tmp_path, 5_000)
