"""The scripted server, and one way to ask both clients."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.client.scripted import Ask, ScriptedServer

from watchword.client import Client, RetryPolicy, SyncClient

QUICK = RetryPolicy(max_attempts=4, first_wait=0.001, max_wait=0.002)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as started:
        yield started


@pytest.fixture(params=["async", "sync"])
def ask(request: pytest.FixtureRequest, server: ScriptedServer) -> Ask:
    return _ask_async(server) if request.param == "async" else _ask_sync(server)


def _ask_sync(server: ScriptedServer) -> Ask:
    def ask(method: str, *args: Any, deadline: float = 5.0, **kwargs: Any) -> Any:
        with SyncClient(server.endpoint, "CR1", "s3cret", deadline=deadline, retry=QUICK) as client:
            reply = getattr(client, method)(*args, **kwargs)
            return list(reply) if method == "watch" else reply

    return ask


def _ask_async(server: ScriptedServer) -> Ask:
    async def run(method: str, args: Any, deadline: float, kwargs: Any) -> Any:
        async with Client(
            server.endpoint, "CR1", "s3cret", deadline=deadline, retry=QUICK
        ) as client:
            if method == "watch":
                return [reply async for reply in client.watch(*args, **kwargs)]
            return await getattr(client, method)(*args, **kwargs)

    def ask(method: str, *args: Any, deadline: float = 5.0, **kwargs: Any) -> Any:
        return asyncio.run(run(method, args, deadline, kwargs))

    return ask
