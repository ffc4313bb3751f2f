"""All ports of the PostgreSQL store over one pool of connections."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Self

import asyncpg

from watchword.audit.leaf import LeafMaker
from watchword.core.errors import Unavailable
from watchword.core.keys import KeyProvider
from watchword.core.ports import ChangeBus, Clock, Entropy, Millis, StoreMeter
from watchword.core.system import SystemClock, SystemEntropy
from watchword_adapters.stores.postgresql import keystore, schema
from watchword_adapters.stores.postgresql.account import PostgresAccountStore
from watchword_adapters.stores.postgresql.calls import Pool
from watchword_adapters.stores.postgresql.connection import connect, open_pool
from watchword_adapters.stores.postgresql.engine import Engine
from watchword_adapters.stores.postgresql.grow import Tell, grow
from watchword_adapters.stores.postgresql.keystore import KeyStoreRefused, PostgresKeyStore
from watchword_adapters.stores.postgresql.outbox import PostgresOutbox
from watchword_adapters.stores.postgresql.place import Place, place_of
from watchword_adapters.stores.postgresql.schema import StoreRefused
from watchword_adapters.stores.postgresql.succession import (
    Succession,
    seal_for_all,
    take_over,
)
from watchword_adapters.stores.postgresql.tail import Tail
from watchword_adapters.stores.postgresql.tenancy import TenancyWatch
from watchword_adapters.stores.postgresql.verification import PostgresVerificationStore

# Keys are asked for once a day and account, and then kept in memory.
_KEY_CONNECTIONS = 2


class PostgresStores:
    """The stores of one replica; `open` makes it, `close` ends it.

    `tenancy` reads what `account` writes. Any number of replicas may share a database.
    """

    def __init__(
        self,
        pool: Pool,
        keys_pool: Pool,
        provider: KeyProvider,
        world: str,
        bus: ChangeBus,
        entropy: Entropy,
        meter: StoreMeter | None,
        dsn: str,
    ) -> None:
        """Put the ports over pools whose database has been verified."""
        leaves = LeafMaker(provider)
        self.world = world
        self._succession = Succession(dsn, lambda: seal_for_all(leaves, entropy))
        not_ours = self._succession.begin
        self.engine = Engine(pool, leaves, bus, entropy, meter=meter, not_ours=not_ours)
        self.keystore = PostgresKeyStore(keys_pool, provider, entropy)
        self.verification = PostgresVerificationStore(self.engine)
        self.outbox = PostgresOutbox(self.engine)
        self.watch = TenancyWatch(pool, bus)
        self.tail = Tail(self.engine)
        self.account = PostgresAccountStore(pool, leaves, bus, self.watch)
        self.tenancy = self.account
        self._pools = {pool, keys_pool}
        self._tasks: list[asyncio.Task[None]] = []

    @staticmethod
    def place(settings: Mapping[str, object]) -> Place:
        """Return where the configuration's section says that the database is."""
        return place_of(settings)

    @classmethod
    async def open(
        cls,
        place: Place,
        *,
        world: str,
        clock: Clock,
        bus: ChangeBus,
        provider: KeyProvider,
        create: bool = False,
        entropy: Entropy | None = None,
        meter: StoreMeter | None = None,
    ) -> Self:
        """Open the store at `place`, made first where `create` is true and nothing is there.

        `world` must be the store's stamp. The database's own clock decides; only a dev
        store that is given another clock than the machine's follows that one. Raises
        `StoreRefused` with one line that says why the store may not be served.
        """
        entropy = entropy or SystemEntropy()
        leader = clock if world == "dev" and not isinstance(clock, SystemClock) else None
        async with contextlib.AsyncExitStack() as undo:
            try:
                await _prepare(place, world, provider, entropy, create=create)
                pool = await open_pool(place, place.dsn, place.pool, leader)
                undo.push_async_callback(pool.close)
                keys_pool = pool
                if place.keys_dsn:
                    keys_pool = await open_pool(
                        place, place.keys_dsn, _KEY_CONNECTIONS, stamped=False
                    )
                    undo.push_async_callback(keys_pool.close)
                stores = cls(pool, keys_pool, provider, world, bus, entropy, meter, place.dsn)
                await stores.watch.look()
                await stores.tail.look()
            except KeyStoreRefused as error:
                raise StoreRefused(str(error)) from None
            except asyncpg.TargetServerAttributeNotMatched:
                raise StoreRefused("PostgreSQL is a standby; name the primary") from None
            except (
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
            ) as error:
                raise StoreRefused(_refusal(error)) from None
            except (OSError, TimeoutError, Unavailable):
                raise StoreRefused("PostgreSQL cannot be reached") from None
            undo.pop_all()
        stores.begin()
        return stores

    @staticmethod
    async def grow(
        place: Place, *, account_id: str, application_id: str, count: int, now: Millis, tell: Tell
    ) -> None:
        """Add approved verifications of the past to a sandbox store nobody serves; see `grow`."""
        await grow(place.dsn, account_id, application_id, count, now, tell)

    def begin(self) -> None:
        """Run what runs beside the commands."""
        self._tasks += [asyncio.create_task(run()) for run in (self.watch.run, self.tail.run)]

    async def check(self) -> None:
        """Return where the store can serve; raises `Unavailable`."""
        await self.engine.check()

    async def close(self) -> None:
        """Finish the commands that wait, then let go of the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._succession.close()
        await self.engine.close()
        for pool in self._pools:
            await pool.close()


async def _prepare(
    place: Place, world: str, provider: KeyProvider, entropy: Entropy, *, create: bool
) -> None:
    """Verify or make the schemas, the keys' first: data without their keys would be lost."""
    async with connect(place.dsn) as db, connect(place.keys_dsn or place.dsn) as keys_db:
        await schema.verify_server(db, world)
        new = await schema.is_new(db)
        if new and not create:
            raise StoreRefused("the database is not initialised; run `watchword init` first")
        if not new:
            await schema.verify(db, world, provider)
        await keystore.prepare(keys_db, create=new)
        if new:
            await schema.initialise(db, world, provider)
        await schema.migrate(db)
        await take_over(db, seal_for_all(LeafMaker(provider), entropy))
        await schema.run_clock(db)


def _refusal(error: Exception) -> str:
    state = getattr(error, "sqlstate", None) or type(error).__name__
    return f"the database cannot be opened ({state})"
