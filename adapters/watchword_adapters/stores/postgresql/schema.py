"""What a database must say before it is served: its world, its keys, its schema's version.

Migrations are numbered SQL files in `migrations/`, applied in order, forward only, each
in one transaction with the record that it was applied: a run that is cut short goes on
where it stopped, and replicas that start together take turns.
"""

from importlib import resources
from typing import NamedTuple

from watchword.core.keys import KeyProvider, KeyUse
from watchword.vault.keyring import WrongKey, verify_check_values
from watchword_adapters.stores.postgresql.calls import AnyConnection

_CREATE = """
CREATE SCHEMA watchword;
CREATE TABLE watchword.stamp (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    world text NOT NULL,
    clock_offset bigint NOT NULL DEFAULT 0,
    clock_frozen bigint,
    -- Only the time of a dev store may be set.
    CHECK (world = 'dev' OR (clock_offset = 0 AND clock_frozen IS NULL))
);
CREATE TABLE watchword.key_check (
    key_use text NOT NULL, version bigint NOT NULL, value bytea NOT NULL,
    PRIMARY KEY (key_use, version)
);
CREATE TABLE watchword.schema_version (
    version integer PRIMARY KEY, name text NOT NULL, apply_time bigint NOT NULL
);
"""
_TABLES = frozenset({"stamp", "key_check", "schema_version"})
# A migration waits so long for those who use a table, and others behind it no longer.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"
_APPLIED = (
    "INSERT INTO watchword.schema_version"
    " VALUES ($1, $2, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)"
)


class StoreRefused(Exception):
    """The store may not be served as asked; the text is one line that says why."""


class Migration(NamedTuple):
    """One numbered step of the schema."""

    version: int
    name: str
    sql: str


def known_migrations() -> tuple[Migration, ...]:
    """Return the migrations that this version brings, in order."""
    directory = resources.files("watchword_adapters.stores.postgresql") / "migrations"
    files = sorted(file.name for file in directory.iterdir() if file.name.endswith(".sql"))
    steps = tuple(
        Migration(int(name[:4]), name, (directory / name).read_text("utf-8")) for name in files
    )
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise StoreRefused("the migrations of this installation are not numbered without gaps")
    return steps


async def verify_server(db: AnyConnection, world: str) -> None:
    """Raise `StoreRefused` where the server would not keep what the store promises."""
    encoding = await db.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise StoreRefused(f"the database's encoding is {encoding}; make one with UTF8")
    isolation = await db.fetchval("SHOW default_transaction_isolation")
    if isolation != "read committed":
        raise StoreRefused(
            f"default_transaction_isolation is {isolation!r}; set 'read committed' for the role"
        )
    durable = await db.fetchval("SHOW fsync")
    if durable != "on" and world == "production":
        raise StoreRefused("the server runs with fsync off: a crash would lose what was kept")
    commit = await db.fetchval("SHOW synchronous_commit")
    if commit in {"off", "local"}:
        raise StoreRefused(f"synchronous_commit is {commit!r}; set 'on' for the role")


async def is_new(db: AnyConnection) -> bool:
    """Tell whether the database has no store yet; raises `StoreRefused` for another's schema."""
    found = await db.fetch(
        "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'watchword'"
    )
    tables = {row["tablename"] for row in found}
    if tables and not tables >= _TABLES:
        raise StoreRefused("the database has a schema `watchword` that is not Watchword's")
    return not tables


async def initialise(db: AnyConnection, world: str, provider: KeyProvider) -> None:
    """Make the database a store of this world, bound to the provider's keys."""
    missing = verify_check_values(provider, {})
    async with db.transaction():
        await db.execute(_CREATE)
        await db.execute("INSERT INTO watchword.stamp (world) VALUES ($1)", world)
        await _record(db, missing)


async def verify(db: AnyConnection, world: str, provider: KeyProvider) -> None:
    """Raise `StoreRefused` where the store is another world's or was made with other keys.

    Check values of keys that are new since the last time are recorded.
    """
    stamp = await db.fetchval("SELECT world FROM watchword.stamp")
    if stamp != world:
        raise StoreRefused(f"the store belongs to the world {stamp!r}, not to {world!r}")
    rows = await db.fetch("SELECT key_use, version, value FROM watchword.key_check")
    recorded = {(KeyUse(row["key_use"]), row["version"]): row["value"] for row in rows}
    try:
        missing = verify_check_values(provider, recorded)
    except WrongKey as error:
        raise StoreRefused(str(error)) from None
    if missing:
        await _record(db, missing)


async def run_clock(db: AnyConnection) -> None:
    """Let the time of a dev store run again, where it was set."""
    await db.execute(
        "UPDATE watchword.stamp SET clock_offset = 0, clock_frozen = NULL"
        " WHERE clock_offset <> 0 OR clock_frozen IS NOT NULL"
    )


async def migrate(db: AnyConnection, steps: tuple[Migration, ...] | None = None) -> None:
    """Bring the schema up to date; raises `StoreRefused` where it is newer than known."""
    steps = known_migrations() if steps is None else steps
    current = await _version(db)
    if current > len(steps):
        raise StoreRefused(
            f"the store's schema has version {current}; this version knows {len(steps)}:"
            " upgrade Watchword"
        )
    for step in steps[current:]:
        async with db.transaction():
            await db.execute(_LOCK_TIMEOUT)
            await db.execute("LOCK TABLE watchword.schema_version IN SHARE ROW EXCLUSIVE MODE")
            # Another replica may have applied it while this one waited.
            if await _version(db) < step.version:
                await db.execute(step.sql)
                await db.execute(_APPLIED, step.version, step.name)


async def _version(db: AnyConnection) -> int:
    query = "SELECT coalesce(max(version), 0) FROM watchword.schema_version"
    version: int = await db.fetchval(query)
    return version


async def _record(db: AnyConnection, values: dict[tuple[KeyUse, int], bytes]) -> None:
    await db.executemany(
        "INSERT INTO watchword.key_check VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        [(str(use), version, value) for (use, version), value in values.items()],
    )
