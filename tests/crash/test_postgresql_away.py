"""PostgreSQL goes away, or the way to it is bad: calls fail fast and once, and all recovers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2
from tests.support.live import Live, running, sandbox_config
from tests.support.postgres import OwnServer
from tests.support.proxy import Fault, Proxy, proxied
from tests.support.status import details

from watchword.config import Config, Store
from watchword.core.ports import MINUTE, Clock
from watchword.testing.clock import FakeClock
from watchword.verification.v1 import verification_pb2 as pb

pytestmark = pytest.mark.xdist_group("processes")

PATIENCE = 20.0
PHONES = [f"+1212{2_000_000 + number}" for number in range(1_000)]


def configured(directory: Path, dsn: str, pool: int = 10) -> Config:
    return replace(sandbox_config(directory), store=Store("postgresql", dsn=dsn, pool=pool))


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 - nobody here is told
            await asyncio.sleep(0.02)


async def ready(live: Live) -> bool:
    async with aiohttp.ClientSession() as web, web.get(f"{live.http}/readyz") as reply:
        return reply.status == 200


async def healthy(live: Live) -> bool:
    check = live.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    reply = await check(health_pb2.HealthCheckRequest())
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


async def away(call: Awaitable[object]) -> None:
    """The call says that the store is away, long before its own deadline."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    told = details(caught.value)
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")


async def served(live: Live, phone: str, request_id: str) -> pb.Verification:
    """Ask until it is done; every refusal on the way must be UNAVAILABLE."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await live.start(phone, request_id=request_id)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.02)


async def count(dsn: str, table: str) -> int:
    db = await asyncpg.connect(dsn)
    try:
        return int(await db.fetchval(f"SELECT count(*) FROM watchword.{table}"))
    finally:
        await db.close()


def through(dsn: str, proxy: Proxy) -> str:
    parts = urlsplit(dsn)
    place = f"{parts.username}:{parts.password}@127.0.0.1:{proxy.listening}"
    return urlunsplit(parts._replace(netloc=place))


@asynccontextmanager
async def behind(
    directory: Path, dsn: str, clock: Clock | None = None
) -> AsyncIterator[tuple[Live, Proxy]]:
    """Serve with a proxy between the server and PostgreSQL."""
    port = urlsplit(dsn).port
    assert port
    async with proxied(port) as proxy:
        config = configured(directory, through(dsn, proxy), pool=4)
        async with running(directory, config=config, clock=clock) as live:
            yield live, proxy
            proxy.lose_answer = None
            proxy.set(Fault.NONE)


async def test_c150_postgresql_stopped_under_load_and_started_again(
    tmp_path: Path, mortal: OwnServer, mortal_dsn: str
) -> None:
    async with running(tmp_path, config=configured(tmp_path, mortal_dsn)) as live:
        begun = await live.start(PHONES[0])
        code = await live.code(begun.verification_id)
        assert await ready(live)
        calls = [asyncio.create_task(served(live, p, f"r-{p}")) for p in PHONES[1:200]]
        await until(lambda: some_done(calls))
        await asyncio.to_thread(mortal.stop)
        await until(lambda: fallen(live))
        # Nothing that is remembered approves; nothing waits in line meanwhile.
        await asyncio.gather(
            *(away(live.check(begun.verification_id, code, request_id="1")) for _ in range(50)),
            *(away(live.start(phone)) for phone in PHONES[200:250]),
        )
        engine = live.server.parts.stores.verification._engine  # type: ignore[attr-defined]
        assert engine.waiting <= len(calls)
        await asyncio.to_thread(mortal.start)
        await until(lambda: recovered(live))
        made = await asyncio.gather(*calls)
        assert len({v.verification_id for v in made}) == 199
        assert engine.waiting == 0
        reply = await live.check(begun.verification_id, code, request_id="1")
        assert reply.approval.receipt
        assert await count(mortal_dsn, "verification") == 200


async def some_done(calls: list["asyncio.Task[pb.Verification]"]) -> bool:
    return sum(call.done() for call in calls) >= 20


async def fallen(live: Live) -> bool:
    return not await ready(live) and not await healthy(live)


async def recovered(live: Live) -> bool:
    return await ready(live) and await healthy(live)


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.STALL, Fault.HALF_CLOSE])
async def test_a_bad_way_to_postgresql_is_unavailable_and_mends(
    tmp_path: Path, postgres_dsn: str, fault: Fault
) -> None:
    async with behind(tmp_path, postgres_dsn) as (live, proxy):
        begun = await live.start(PHONES[0])
        code = await live.code(begun.verification_id)
        proxy.set(fault)
        if fault is Fault.HALF_CLOSE:
            # The next connection is a good one.
            assert proxy.halved > 0
        else:
            await asyncio.gather(
                away(live.start(PHONES[1], request_id="lost")),
                away(live.check(begun.verification_id, code, request_id="lost")),
            )
        proxy.set(Fault.NONE)
        await served(live, PHONES[1], "lost")
        await until(lambda: ready(live))
        reply = await live.check(begun.verification_id, code, request_id="lost")
        assert reply.approval.receipt
        assert await count(postgres_dsn, "verification") == 2
        await live.message((await served(live, PHONES[1], "lost")).verification_id)
        assert len(live.messages) == 2


async def test_who_waits_behind_a_stalled_command_is_told_when_it_is(
    tmp_path: Path, postgres_dsn: str
) -> None:
    async with behind(tmp_path, postgres_dsn) as (live, proxy):
        await live.start(PHONES[0])
        proxy.set(Fault.STALL)
        engine = live.server.parts.stores.verification._engine  # type: ignore[attr-defined]
        first = asyncio.create_task(away(live.start(PHONES[1])))
        await until(lambda: under_way(proxy))
        second = asyncio.create_task(away(live.start(PHONES[2])))
        await asyncio.gather(first, second)
        assert engine.waiting == 0


async def under_way(proxy: Proxy) -> bool:
    """Tell whether something is on its way that does not arrive."""
    return proxy.held > 0


async def test_a_slow_way_to_postgresql_is_only_slow(tmp_path: Path, postgres_dsn: str) -> None:
    async with behind(tmp_path, postgres_dsn) as (live, proxy):
        proxy.set(Fault.DRIP)
        made = await served(live, PHONES[0], "slow")
        assert await live.code(made.verification_id)
        assert len(live.messages) == 1


async def test_a_start_whose_commit_was_not_heard_of_has_one_effect(
    tmp_path: Path, postgres_dsn: str, clock: FakeClock
) -> None:
    async with behind(tmp_path, postgres_dsn, clock) as (live, proxy):
        # The draft names the phone nowhere in the clear; the request id it does.
        proxy.lose_answer = lambda sent: b"unheard-of" in sent
        await away(live.start(PHONES[0], request_id="unheard-of"))
        assert proxy.lost == 1
        proxy.lose_answer = None
        made = await live.start(PHONES[0], request_id="unheard-of")
        again = await live.start(PHONES[0], request_id="unheard-of")
        assert again.verification_id == made.verification_id
        assert [await count(postgres_dsn, t) for t in ("verification", "send")] == [1, 1]
        # It was leased to this server, which does not know: it goes when the lease is over.
        clock.advance(MINUTE)
        await live.message(made.verification_id)
        await live.start(PHONES[0], request_id="unheard-of")
        assert len(live.messages) == 1


async def test_a_check_whose_commit_was_not_heard_of_approves_once(
    tmp_path: Path, postgres_dsn: str
) -> None:
    async with behind(tmp_path, postgres_dsn) as (live, proxy):
        begun = await live.start(PHONES[0])
        code = await live.code(begun.verification_id)
        proxy.lose_answer = lambda sent: b"unheard-of" in sent
        await away(live.check(begun.verification_id, code, request_id="unheard-of"))
        assert proxy.lost == 1
        proxy.lose_answer = None
        other = await live.check(begun.verification_id, code, request_id="another")
        assert other.rejection.reason == pb.REJECTION_REASON_ALREADY_USED
        mine = await live.check(begun.verification_id, code, request_id="unheard-of")
        assert mine.approval.receipt
        assert len(live.messages) == 1


# A sequence counts on where a transaction is undone.
UNDONE = """
CREATE SEQUENCE public.tries;
CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('public.tries') <= {times} THEN
        RAISE EXCEPTION 'as the test wants it' USING ERRCODE = '{state}';
    END IF;
    RETURN new;
END
$$;
CREATE TRIGGER fail BEFORE INSERT ON watchword.send
    FOR EACH ROW EXECUTE FUNCTION public.fail();
"""


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_c154_what_was_undone_is_done_again_and_sent_once(
    tmp_path: Path, postgres_dsn: str, state: str
) -> None:
    async with running(tmp_path, config=configured(tmp_path, postgres_dsn)) as live:
        await execute(postgres_dsn, UNDONE.format(times=3, state=state))
        made = await live.start(PHONES[0])
        await live.message(made.verification_id)
        await execute(postgres_dsn, "ALTER SEQUENCE public.tries RESTART")
        # Three times more is once too often; nothing of it is left.
        await execute(
            postgres_dsn,
            f"DROP TRIGGER fail ON watchword.send; DROP FUNCTION public.fail;"
            f" DROP SEQUENCE public.tries; {UNDONE.format(times=4, state=state)}",
        )
        await away(live.start(PHONES[1], request_id="undone"))
        assert await count(postgres_dsn, "verification") == 1
        last = await live.start(PHONES[1], request_id="undone")
        await live.message(last.verification_id)
        assert len(live.messages) == 2


async def execute(dsn: str, statements: str) -> None:
    db = await asyncpg.connect(dsn)
    try:
        await db.execute(statements)
    finally:
        await db.close()


async def test_c173_a_pool_that_is_used_up_makes_calls_unavailable_and_not_wait(
    tmp_path: Path, postgres_dsn: str
) -> None:
    async with running(tmp_path, config=configured(tmp_path, postgres_dsn, pool=2)) as live:
        begun = await live.start(PHONES[0])
        code = await live.code(begun.verification_id)
        db = await asyncpg.connect(postgres_dsn)
        try:
            async with db.transaction():
                # Whoever writes waits for this one, and keeps a connection meanwhile.
                await db.execute("LOCK TABLE watchword.stripe IN ACCESS EXCLUSIVE MODE")
                held = [
                    asyncio.create_task(away(live.start(PHONES[1]))),
                    asyncio.create_task(away(live.check(begun.verification_id, code))),
                ]
                await until(lambda: all_taken(postgres_dsn, 2))
                got = pb.GetVerificationRequest(verification_id=begun.verification_id)
                await asyncio.gather(
                    *(
                        away(live.verification.GetVerification(got, metadata=live.auth))
                        for _ in range(50)
                    ),
                    *held,
                    until(lambda: fallen(live)),
                )
        finally:
            await db.close()
        await until(lambda: ready(live))
        await served(live, PHONES[100], "after")
        reply = await live.check(begun.verification_id, code)
        assert reply.approval.receipt


async def all_taken(dsn: str, pool: int) -> bool:
    """Tell whether so many connections wait for a lock."""
    db = await asyncpg.connect(dsn)
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    try:
        return bool(await db.fetchval(query) == pool)
    finally:
        await db.close()
