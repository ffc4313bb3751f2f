"""The key store in a schema of its own, `watchword_keys`, which is dumped apart from the data.

It may stand in another database. Its table is made here and not by the store's
migrations, for where there are two databases neither has the other's.
"""

from watchword.core.errors import Unavailable
from watchword.core.keys import KEY_BYTES, KeyProvider
from watchword.core.ports import Entropy, Millis
from watchword.vault.envelope import aad, unwrap, wrap, wrapped_version
from watchword_adapters.stores.postgresql.calls import (
    AnyConnection,
    Connection,
    Pool,
    connected,
    in_transaction,
)

FORMAT = 1
_CREATE = f"""
CREATE SCHEMA IF NOT EXISTS watchword_keys;
CREATE TABLE watchword_keys.keys (
    name        text COLLATE "C" PRIMARY KEY,
    key_version bigint NOT NULL,
    wrapped     bytea NOT NULL,
    expire_time bigint
);
CREATE TABLE watchword_keys.format AS SELECT {FORMAT} AS version;
"""
_THERE = "SELECT to_regclass('watchword_keys.format') IS NOT NULL"
_FORMAT = "SELECT max(version) FROM watchword_keys.format"
_GET = "SELECT wrapped FROM watchword_keys.keys WHERE name = $1"
_ADD = (
    "INSERT INTO watchword_keys.keys (name, key_version, wrapped, expire_time)"
    " VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING RETURNING wrapped"
)
_DESTROY = "DELETE FROM watchword_keys.keys WHERE name = $1 RETURNING 1"
_DESTROY_EXPIRED = "DELETE FROM watchword_keys.keys WHERE expire_time <= $1 RETURNING 1"
# Writes the table anew without what was deleted, and gives the old file back. It is small:
# a row for an account and day. It waits for no lock, for others would wait behind it.
_FORGET = "VACUUM (FULL, SKIP_LOCKED) watchword_keys.keys"
_FILE = "SELECT pg_relation_filenode('watchword_keys.keys')"
_TEXT = "the key store is unavailable"
_TRIES = 3


class KeyStoreRefused(Exception):
    """The key store cannot be used; one line that says why and what to do."""


async def prepare(db: AnyConnection, *, create: bool) -> None:
    """Make the schema where `create` is true and it is not there; look at it.

    A missing schema is otherwise an error: its keys would be lost, not new. Raises
    `KeyStoreRefused`.
    """
    there = await db.fetchval(_THERE)
    if not there and not create:
        raise KeyStoreRefused("the schema watchword_keys is missing: restore it from its backup")
    if not there:
        async with db.transaction():
            await db.execute(_CREATE)
    if await db.fetchval(_FORMAT) != FORMAT:
        raise KeyStoreRefused(
            "the format of watchword_keys is not one that this version knows:"
            " use the version that made it"
        )


class PostgresKeyStore:
    """A `KeyStore` over a pool; keys are wrapped, and nothing stays of deleted ones.

    What was deleted is out of the table's file when `destroy` returns. Where a dump or an
    older transaction holds it then, a later call of either `destroy` sees to it. The
    write-ahead log and backups hold wrapped keys for as long as they are kept.
    """

    def __init__(self, pool: Pool, provider: KeyProvider, entropy: Entropy) -> None:
        """Work through `pool` on a schema that `prepare` has seen."""
        self._pool = pool
        self._provider = provider
        self._entropy = entropy
        self._forgotten = True

    async def get_or_create(self, name: str, expire_time: Millis | None) -> bytes:
        """Return the key of that name, made now and durable where there is none."""
        for _ in range(_TRIES):
            key = await self.get(name)
            if key is not None:
                return key
            key = self._entropy.token(KEY_BYTES)
            wrapped = wrap(self._provider, key, _place(name), self._entropy)
            if await self._add(name, wrapped, expire_time):
                return key
            # Somebody else's is there, unless it was destroyed since.
        raise Unavailable(_TEXT)

    async def get(self, name: str) -> bytes | None:
        """Return the key of that name, or None where it never was or is destroyed."""
        async with connected(self._pool, _TEXT) as db:
            wrapped: bytes | None = await db.fetchval(_GET, name)
        return None if wrapped is None else unwrap(self._provider, wrapped, _place(name))

    async def destroy(self, name: str) -> None:
        """Destroy the key of that name; no error where there is none."""
        await self._delete(_DESTROY, name)

    async def destroy_expired(self, now: Millis) -> int:
        """Destroy every key whose `expire_time` is `now` or before; return how many."""
        return await self._delete(_DESTROY_EXPIRED, now)

    async def _add(self, name: str, wrapped: bytes, expire_time: Millis | None) -> bool:
        values = (name, wrapped_version(wrapped), wrapped, expire_time)
        added = await in_transaction(self._pool, lambda db: db.fetchval(_ADD, *values), _TEXT)
        return added is not None

    async def _delete(self, statement: str, value: str | int) -> int:
        rows = await in_transaction(self._pool, lambda db: db.fetch(statement, value), _TEXT)
        if rows or not self._forgotten:
            self._forgotten = False
            async with connected(self._pool, _TEXT) as db:
                self._forgotten = await _forget(db)
        return len(rows)


async def _forget(db: Connection) -> bool:
    before = await db.fetchval(_FILE)
    await db.execute(_FORGET)
    return bool(before != await db.fetchval(_FILE))


def _place(name: str) -> bytes:
    return aad("keys", name, "wrapped", "")
