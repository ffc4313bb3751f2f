"""Settings of roles and databases that would break a promise, and those that keep one."""

from collections import Counter

import asyncpg
import pytest
from tests.stores.postgresql.conftest import opened

from watchword.core.errors import Unavailable
from watchword.testing import verification_cases as cases
from watchword.testing.verification_cases import WRONG, outcomes
from watchword.verification.model import RejectionReason
from watchword.verification.store import CheckOutcome
from watchword_adapters.stores.postgresql import PostgresStores, StoreRefused
from watchword_adapters.stores.postgresql.engine import StoreFault

LEVELS = ["read committed", "repeatable read", "serializable"]


async def alter(dsn: str, setting: str, value: str) -> None:
    """Change the default of a database, and end the sessions that have the old one."""
    name = dsn.rpartition("/")[2].partition("?")[0]
    db = await asyncpg.connect(dsn)
    await db.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    await db.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await db.close()


async def race(stores: PostgresStores) -> None:
    """64 right codes at once, then 64 wrong ones of another verification."""
    await stores.verification.start(cases.start(1))
    made = await outcomes(stores.verification.check(cases.check(1)) for _ in range(64))
    checks = [o for o in made if isinstance(o, CheckOutcome)]
    assert Counter(o.rejection for o in checks) == {None: 1, RejectionReason.ALREADY_USED: 63}
    case = cases.CASE._replace(phone=2)
    await stores.verification.start(cases.start(2, case))
    made = await outcomes(stores.verification.check(cases.check(2, WRONG, case)) for _ in range(64))
    assert sum(o.compared for o in made if isinstance(o, CheckOutcome)) == 5


@pytest.mark.parametrize("level", LEVELS)
async def test_c154_opening_says_which_isolation_is_needed(dsn: str, level: str) -> None:
    await alter(dsn, "default_transaction_isolation", level)
    if level == "read committed":
        async with opened(dsn) as stores:
            await race(stores)
        return
    with pytest.raises(StoreRefused, match=f"default_transaction_isolation is '{level}'"):
        async with opened(dsn):
            pass


@pytest.mark.parametrize("level", LEVELS)
async def test_c154_a_default_that_changes_later_changes_nothing(dsn: str, level: str) -> None:
    async with opened(dsn) as stores:
        await alter(dsn, "default_transaction_isolation", level)
        await outcomes([stores.check() for _ in range(8)])
        await race(stores)


@pytest.mark.parametrize("level", LEVELS[1:])
async def test_c154_under_another_isolation_nothing_is_decided(dsn: str, level: str) -> None:
    """As behind a pooler, where we set nothing."""
    async with opened(dsn, prepared_statements=False) as stores:
        await stores.verification.start(cases.start(1))
        await alter(dsn, "default_transaction_isolation", level)
        for _ in range(8):
            with pytest.raises((StoreFault, Unavailable)):
                await stores.verification.check(cases.check(1))
        await alter(dsn, "default_transaction_isolation", "read committed")
        await outcomes([stores.check() for _ in range(8)])
        assert (await stores.verification.check(cases.check(1))).approved


async def test_c164_the_server_ends_what_takes_too_long(dsn: str) -> None:
    """Even where the way is cut and nobody can cancel."""
    async with opened(dsn) as stores:
        (row,) = await stores.engine.fetch(
            "SELECT current_setting('statement_timeout') AS statement,"
            " current_setting('lock_timeout') AS lock,"
            " current_setting('idle_in_transaction_session_timeout') AS idle"
        )
        assert dict(row) == {"statement": "10s", "lock": "3s", "idle": "10s"}


async def test_c164_who_waits_for_a_lock_too_long_is_refused(dsn: str) -> None:
    async with opened(dsn) as stores:
        await stores.verification.start(cases.start(1))
        db = await asyncpg.connect(dsn)
        async with db.transaction():
            await db.execute("SELECT FROM watchword.stripe FOR UPDATE")
            with pytest.raises(Unavailable):
                await stores.verification.check(cases.check(1))
        await db.close()
        assert (await stores.verification.check(cases.check(1))).approved


async def test_c164_an_analysts_snapshot_stops_no_command(dsn: str) -> None:
    async with opened(dsn) as stores:
        await stores.verification.start(cases.start(1))
        db = await asyncpg.connect(dsn)
        async with db.transaction(isolation="repeatable_read", readonly=True):
            pending = "SELECT count(*) FROM watchword.verification WHERE state = 'PENDING'"
            assert await db.fetchval(pending) == 1
            for number in range(2, 12):
                case = cases.CASE._replace(phone=number)
                await stores.verification.start(cases.start(number, case))
                assert (await stores.verification.check(cases.check(number, case=case))).approved
            assert (await stores.verification.check(cases.check(1))).approved
            await stores.verification.sweep(0, 100)
            await stores.tail.look()
            await stores.check()
            # It still sees what was there when it began.
            assert await db.fetchval(pending) == 1
        await db.close()
