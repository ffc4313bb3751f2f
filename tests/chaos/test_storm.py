"""Many callers through a network that breaks all the time: a ledger of what they were told."""

import asyncio
import random
from pathlib import Path

import pytest
from tests.chaos.proxy import Action, ChaosProxy, Direction, Fault, chaos_proxy
from tests.crash.audit import check_integrity, check_store
from tests.crash.books import queued_in_sqlite
from tests.crash.ledger import Journal
from tests.crash.load import Down, Load
from tests.crash.world import World, template, until

from watchword.client import Client, RetryPolicy

# A server in a process of its own keeps the processors busy: one test at a time.
pytestmark = pytest.mark.xdist_group("processes")

_DEADLINE = 1.0
_MOST_BYTES = 20_000
_MOST_REPLIES = 150


def a_fault(chance: random.Random) -> Fault | None:
    """Return what becomes of one connection."""
    if chance.random() < 0.1:
        return None
    return Fault(
        chance.choice(list(Action)),
        chance.choice(list(Direction)),
        after_bytes=int(_MOST_BYTES * chance.random() ** 2),
        forward=chance.random() < 0.8,
    )


def through(world: World, endpoint: str) -> Client:
    """Return a client that tries once and soon gives up."""
    credential = world.identities.application
    return Client(
        endpoint,
        credential.credential.credential_id,
        credential.secret.reveal(),
        deadline=_DEADLINE,
        retry=RetryPolicy(max_attempts=1),
    )


async def break_off(proxy: ChaosProxy, load: Load, replies: int) -> None:
    """After so many replies let nothing through any more."""
    await until(lambda: load.replies >= replies)
    proxy.refusing = True
    proxy.cut_all()


async def one_round(world: World, proxy: ChaosProxy, load: Load, chance: random.Random) -> None:
    """Call, or ask again what is unknown, until every caller has met a fault."""
    proxy.refusing = False
    async with through(world, proxy.endpoint) as client:
        end = load.replies + chance.randrange(20, _MOST_REPLIES)
        breaking = asyncio.create_task(break_off(proxy, load, end))
        try:
            if chance.random() < 0.3:
                await load.settle([client])
            await load.work([client])
        except Down:
            pass
        finally:
            breaking.cancel()


async def storm(directory: Path, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    world = await World.make(directory / "world")
    load = Load(random.Random(seed + 1), Journal(world.journal))
    async with template(world.log) as program:
        process = await (await program.serve(world)).ready()
        async with chaos_proxy(process.endpoint) as proxy:
            proxy.plan = lambda: a_fault(chance)
            for _ in range(rounds):
                await one_round(world, proxy, load, chance)
                if chance.random() < 0.3:
                    async with world.client(process.endpoint) as client:
                        await load.settle([client], also=5)
            fired = proxy.fired
        async with world.client(process.endpoint) as client:
            await load.settle([client], also=100)
        await until(lambda: not queued_in_sqlite(world.store))
        process.terminate()
        assert await process.ended() == 0
    load.journal.read()
    await check_integrity(world, directory / "scratch")
    await check_store(world, load.flows, load.journal.check(), load.now)
    # A network that broke nothing would prove nothing.
    assert fired > rounds // 4
    assert load.acknowledged > 10 * rounds
    assert sum(flow.approvals for flow in load.flows) > 10


async def test_a_network_that_breaks_loses_nothing_acknowledged(tmp_path: Path) -> None:
    await storm(tmp_path, 12, 1)


@pytest.mark.long
async def test_a_network_that_breaks_for_long(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1, 2**32)
    try:
        await storm(tmp_path, 1_000, seed)
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
