"""The tenancy as it is read, and how a replica learns that another one changed it."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from watchword.core.errors import Unavailable
from watchword.core.ports import ChangeBus
from watchword.tenancy.directory import TENANCY_TOPIC
from watchword.tenancy.model import Account, Application, Credential, TestNumber
from watchword_adapters.stores.postgresql import account_sql as sql
from watchword_adapters.stores.postgresql.account_rows import storable
from watchword_adapters.stores.postgresql.account_sql import Row
from watchword_adapters.stores.postgresql.calls import Pool, connected

_REVISION = "SELECT revision, pg_is_in_recovery() AS standby FROM watchword.tenancy"

# A revocation holds everywhere within 5 s: what was read before is trusted for 4 s after
# the database last confirmed it, and the rest is for the change to travel in the process.
_TRUST_SECONDS = 4.0
_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 2.0


class TenancyWatch:
    """Asks for the tenancy's revision, and tells the change bus where it has moved."""

    def __init__(
        self,
        pool: Pool,
        bus: ChangeBus,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Know nothing yet: nothing is trusted before the first look."""
        self._pool = pool
        self._bus = bus
        self._monotonic = monotonic
        self._wait = wait
        self._revision: int | None = None
        self._confirmed = float("-inf")

    def revision(self) -> int | None:
        """Return the revision, or None where a change made 4 s ago may not be in it."""
        trusted = self._monotonic() - self._confirmed <= _TRUST_SECONDS
        return self._revision if trusted else None

    async def look(self) -> None:
        """Ask once. Raises `Unavailable` where no primary answers in time.

        A standby does not count: what it knows may be old.
        """
        asked = self._monotonic()
        async with connected(self._pool, patience=_PATIENCE_SECONDS) as db:
            row = await db.fetchrow(_REVISION)
        if row is None or row["standby"]:
            await self._pool.expire_connections()
            raise Unavailable("the database is a standby")
        if row["revision"] != self._revision:
            self._revision = row["revision"]
            self._bus.publish(TENANCY_TOPIC)
        self._confirmed = asked

    async def run(self) -> None:
        """Look once a second, for ever; a database that is away makes it try again."""
        while True:
            # `revision` says it once it matters.
            with contextlib.suppress(Unavailable):
                await self.look()
            await self._wait(_POLL_SECONDS)


class PostgresTenancy:
    """A `TenancyReader` over a pool."""

    def __init__(self, pool: Pool, watch: TenancyWatch) -> None:
        """Read through `pool`; `watch` says how long what was read may be kept."""
        self._pool = pool
        self._watch = watch

    def revision(self) -> int | None:
        """Return the tenancy's revision, or None where it is not known."""
        return self._watch.revision()

    async def account(self, account_id: str) -> Account | None:
        """Return the account."""
        row = await self._row(f"{sql.ACCOUNT} WHERE account_id = $1", account_id)
        return None if row is None else sql.to_account(row)

    async def application(self, application_id: str) -> Application | None:
        """Return the application."""
        row = await self._row(f"{sql.APPLICATION} WHERE application_id = $1", application_id)
        return None if row is None else sql.to_application(row)

    async def application_by_spiffe(self, spiffe_id: str) -> Application | None:
        """Return the application that this SPIFFE id is mapped to."""
        row = await self._row(
            f"{sql.APPLICATION} WHERE application_id = ({sql.SPIFFE_OWNER})", spiffe_id
        )
        return None if row is None else sql.to_application(row)

    async def credential(self, credential_id: str) -> Credential | None:
        """Return the credential."""
        row = await self._row(f"{sql.CREDENTIAL} WHERE credential_id = $1", credential_id)
        return None if row is None else sql.to_credential(row)

    async def test_number(self, application_id: str, phone_index: bytes) -> TestNumber | None:
        """Return the test number."""
        row = await self._row(
            f"{sql.TEST_NUMBER} WHERE application_id = $1 AND phone_index = $2",
            application_id,
            phone_index,
        )
        return None if row is None else sql.to_test_number(row)

    async def _row(self, statement: str, *values: object) -> Row | None:
        if not storable(values):
            return None
        async with connected(self._pool) as db:
            return await db.fetchrow(statement, *values)
