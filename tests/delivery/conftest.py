"""A world for a dispatcher, with two carriers of one trust class and one of another."""

from collections.abc import AsyncIterator

import pytest

from watchword.testing.carriers import FakeCarrier
from watchword.testing.delivery import TenantCarrier, World


@pytest.fixture
def carrier() -> FakeCarrier:
    return FakeCarrier()


@pytest.fixture
def backup() -> FakeCarrier:
    return FakeCarrier()


@pytest.fixture
async def world(carrier: FakeCarrier, backup: FakeCarrier) -> AsyncIterator[World]:
    world = World({"fake": carrier, "tenant": TenantCarrier(), "backup": backup})
    yield world
    carrier.gate.set()
    backup.gate.set()
    await world.stop()
