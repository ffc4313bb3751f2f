"""Whole servers over one PostgreSQL: a verification over a socket, and what replicas share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import grpc
import pytest
from tests.support import postgres
from tests.support.live import Live, running, sandbox_config

from watchword.account.v1 import account_pb2
from watchword.config import Config, Store
from watchword.server.run import initialise
from watchword.verification.v1 import verification_pb2 as pb
from watchword_adapters.stores.postgresql import StoreRefused


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "var"


@pytest.fixture
def config(directory: Path, postgres_dsn: str) -> Config:
    return replace(sandbox_config(directory), store=Store("postgresql", dsn=postgres_dsn))


@pytest.fixture
async def two(directory: Path, config: Config) -> AsyncIterator[tuple[Live, Live]]:
    """Two replicas with the same keys and credentials."""
    async with (
        running(directory, config=config) as first,
        running(directory, config=config) as second,
    ):
        yield first, second


async def approved(there: Live, sent_by: Live, verification_id: str) -> bool:
    code = await sent_by.code(verification_id)
    reply = await there.check(verification_id, code)
    return reply.WhichOneof("result") == "approval"


async def test_a_verification_from_start_to_receipt(directory: Path, config: Config) -> None:
    async with running(directory, config=config) as live:
        verification = await live.start()
        wrong = await live.check(verification.verification_id, "000000")
        assert wrong.rejection.reason == pb.REJECTION_REASON_WRONG_CODE
        assert await approved(live, live, verification.verification_id)


async def test_a_restart_finds_everything(directory: Path, config: Config) -> None:
    async with running(directory, config=config) as live:
        verification = await live.start()
        code = await live.code(verification.verification_id)
    async with running(directory, config=config) as live:
        reply = await live.check(verification.verification_id, code)
        assert reply.approval.receipt


async def test_keys_may_have_a_database_of_their_own(
    directory: Path, config: Config, postgres_server: postgres.Server
) -> None:
    async with postgres.fresh_database(postgres_server) as keys_dsn:
        apart = replace(config, store=replace(config.store, keys_dsn=keys_dsn))
        async with running(directory, config=apart) as live:
            verification = await live.start()
            assert await approved(live, live, verification.verification_id)
        assert await tables(config.store.dsn, "watchword_keys") == 0
        assert await tables(keys_dsn, "watchword") == 0
        assert await tables(keys_dsn, "watchword_keys") == 2
    async with postgres.fresh_database(postgres_server) as empty:
        lost = replace(config, store=replace(config.store, keys_dsn=empty))
        with pytest.raises(StoreRefused, match="restore it from its backup"):
            async with running(directory, config=lost):
                pass
        assert await tables(empty, "watchword_keys") == 0


async def tables(dsn: str, schema: str) -> object:
    connection = await asyncpg.connect(dsn)
    query = "SELECT count(*) FROM pg_tables WHERE schemaname = $1"
    found = await connection.fetchval(query, schema)
    await connection.close()
    return found


async def test_what_one_replica_starts_another_checks(two: tuple[Live, Live]) -> None:
    first, second = two
    verification = await first.start()
    await until(lambda: sent(first, second), 10)
    assert len(first.messages + second.messages) == 1
    sender = first if first.messages else second
    assert await approved(second, sender, verification.verification_id)
    again = await first.check(verification.verification_id, "000000")
    assert again.rejection.reason == pb.REJECTION_REASON_ALREADY_USED


async def test_a_revocation_holds_at_once_here_and_within_5_s_there(
    two: tuple[Live, Live],
) -> None:
    first, second = two
    await second.start()
    request = account_pb2.RevokeCredentialRequest(credential_id=first.credentials["credential_id"])
    await first.account.RevokeCredential(request, metadata=first.admin)
    assert await refused(first)
    await until(lambda: refused(second), 5)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait for what another process of the deployment brings about."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - nobody here is told
            await asyncio.sleep(0.05)


async def sent(*replicas: Live) -> bool:
    return any(each.messages for each in replicas)


async def refused(there: Live) -> bool:
    try:
        await there.check("VEunknown", "123456")
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNAUTHENTICATED
    return False


async def test_init_makes_the_first_operator_once(directory: Path, config: Config) -> None:
    first = replace(config, world="production")
    made = await initialise(first)
    assert made.credential.account_id == ""
    with pytest.raises(Exception, match="keys"):
        await initialise(first)
    elsewhere = replace(first, keys=replace(first.keys, directory=str(directory / "others")))
    with pytest.raises(Exception, match="is not the one this store was made with"):
        await initialise(elsewhere)


async def test_no_password_reaches_the_log(
    directory: Path, config: Config, postgres_dsn: str
) -> None:
    async with running(directory, config=config) as live:
        await live.start()
        password = urlsplit(postgres_dsn).password
        assert password
        assert password.encode() not in b"".join(live.raw_lines)
