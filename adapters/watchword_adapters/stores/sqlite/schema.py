"""What a file must say before it is served: its world, and which keys it was made with."""

import sqlite3

from watchword.core.keys import KeyProvider, KeyUse
from watchword.vault.keyring import WrongKey, verify_check_values
from watchword_adapters.stores.sqlite.migration import StoreRefused

_CREATE = """
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, apply_time INTEGER NOT NULL
) STRICT;
"""
_CHECK_VALUE = "key-check/"

CheckValues = dict[tuple[KeyUse, int], bytes]
"""Key-check values by use and version."""


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
        db.execute("INSERT INTO meta (name, value) VALUES ('world', ?)", (world.encode(),))
        _insert(db, missing)


def verify_world(db: sqlite3.Connection, world: str) -> None:
    """Raise `StoreRefused` where the store is another world's."""
    row = db.execute("SELECT value FROM meta WHERE name = 'world'").fetchone()
    stamp = row[0].decode() if row else ""
    if stamp != world:
        raise StoreRefused(f"the store belongs to the world {stamp!r}, not to {world!r}")


def verify_keys(db: sqlite3.Connection, provider: KeyProvider) -> CheckValues:
    """Raise `StoreRefused` where the store was made with other keys.

    Returns the check values of keys that are new since the last time, for `record`.
    """
    found = db.execute("SELECT name, value FROM meta")
    recorded = {_use(name): value for name, value in found if name.startswith(_CHECK_VALUE)}
    try:
        return verify_check_values(provider, recorded)
    except WrongKey as error:
        raise StoreRefused(str(error)) from None


def record(db: sqlite3.Connection, values: CheckValues) -> None:
    """Record check values in a transaction of its own."""
    if values:
        with db:
            db.execute("BEGIN IMMEDIATE")
            _insert(db, values)


def _insert(db: sqlite3.Connection, values: CheckValues) -> None:
    for (use, version), value in values.items():
        db.execute(
            "INSERT INTO meta (name, value) VALUES (?, ?)",
            (f"{_CHECK_VALUE}{use}/{version}", value),
        )


def _use(name: str) -> tuple[KeyUse, int]:
    use, _, version = name.removeprefix(_CHECK_VALUE).partition("/")
    return KeyUse(use), int(version)
