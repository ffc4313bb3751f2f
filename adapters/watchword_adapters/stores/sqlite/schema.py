"""What a file must say before it is served: its world, its keys, its schema's version.

Migrations are numbered SQL files in `migrations/`, applied in order, forward only, each
in one transaction with the record that it was applied.
"""

import sqlite3
from importlib import resources
from typing import NamedTuple

from watchword.core.keys import KeyProvider, KeyUse
from watchword.core.ports import Millis
from watchword.vault.keyring import WrongKey, verify_check_values

_CREATE = """
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, apply_time INTEGER NOT NULL
) STRICT;
"""
_CHECK_VALUE = "key-check/"


class StoreRefused(Exception):
    """The store may not be served as asked; the text is one line that says why."""


class Migration(NamedTuple):
    """One numbered step of the schema."""

    version: int
    name: str
    sql: str


def known_migrations() -> tuple[Migration, ...]:
    """Return the migrations that this version brings, in order."""
    directory = resources.files("watchword_adapters.stores.sqlite") / "migrations"
    files = sorted(file.name for file in directory.iterdir() if file.name.endswith(".sql"))
    steps = tuple(
        Migration(int(name[:4]), name, (directory / name).read_text("utf-8")) for name in files
    )
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise StoreRefused("the migrations of this installation are not numbered without gaps")
    return steps


def is_new(db: sqlite3.Connection) -> bool:
    """Tell whether the file holds nothing yet; raises `StoreRefused` where it is no store."""
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if tables and not {"meta", "schema_version"} <= tables:
        raise StoreRefused("the file is a database, but not one of Watchword's")
    return not tables


def initialise(db: sqlite3.Connection, world: str, provider: KeyProvider) -> None:
    """Make an empty file a store of this world, bound to the provider's keys."""
    missing = verify_check_values(provider, {})
    with db:
        db.execute("BEGIN IMMEDIATE")
        for statement in _CREATE.split(";\n"):
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('world', ?)", (world.encode(),))
        _record(db, missing)


def verify(db: sqlite3.Connection, world: str, provider: KeyProvider) -> None:
    """Raise `StoreRefused` where the store is another world's or was made with other keys.

    Check values of keys that are new since the last time are recorded.
    """
    meta = dict(db.execute("SELECT name, value FROM meta"))
    stamp = meta.get("world", b"").decode()
    if stamp != world:
        raise StoreRefused(f"the store belongs to the world {stamp!r}, not to {world!r}")
    recorded = {_use(name): value for name, value in meta.items() if name.startswith(_CHECK_VALUE)}
    try:
        missing = verify_check_values(provider, recorded)
    except WrongKey as error:
        raise StoreRefused(str(error)) from None
    if missing:
        with db:
            db.execute("BEGIN IMMEDIATE")
            _record(db, missing)


def migrate(
    db: sqlite3.Connection, now: Millis, steps: tuple[Migration, ...] | None = None
) -> None:
    """Bring the schema up to date; raises `StoreRefused` where it is newer than known."""
    steps = known_migrations() if steps is None else steps
    query = "SELECT coalesce(max(version), 0) FROM schema_version"
    current: int = db.execute(query).fetchone()[0]
    if current > len(steps):
        raise StoreRefused(
            f"the store's schema has version {current}; this version knows {len(steps)}:"
            " upgrade Watchword"
        )
    for step in steps[current:]:
        _apply(db, step, now)


def _apply(db: sqlite3.Connection, step: Migration, now: Millis) -> None:
    # `executescript` commits by itself only what was open before: the step is one transaction.
    record = f"INSERT INTO schema_version VALUES ({step.version}, '{step.name}', {now});"  # noqa: S608
    try:
        db.executescript(f"BEGIN IMMEDIATE;\n{step.sql}\n{record}\nCOMMIT;")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _record(db: sqlite3.Connection, values: dict[tuple[KeyUse, int], bytes]) -> None:
    for (use, version), value in values.items():
        db.execute("INSERT INTO meta VALUES (?, ?)", (f"{_CHECK_VALUE}{use}/{version}", value))


def _use(name: str) -> tuple[KeyUse, int]:
    use, _, version = name.removeprefix(_CHECK_VALUE).partition("/")
    return KeyUse(use), int(version)
