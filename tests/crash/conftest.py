"""A PostgreSQL that a test may kill."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support import postgres


@pytest.fixture
async def mortal() -> AsyncIterator[postgres.OwnServer]:
    """A server of the test's own, whatever server other tests share."""
    programs = postgres.local_programs() or postgres.packaged_programs()
    if programs is None:
        postgres.skip_without()
        return
    running = postgres.own_server(programs)
    server = await asyncio.to_thread(running.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


@pytest.fixture
async def mortal_dsn(mortal: postgres.OwnServer) -> str:
    """An empty database on it."""
    return mortal.dsn(await mortal.create(None))
