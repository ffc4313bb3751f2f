"""The schema of a version yet to come: it expands this one as CONTRIBUTING allows."""

import sqlite3
from contextlib import closing
from pathlib import Path

from watchword_adapters.stores.sqlite import migration

_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"


def next_step(db: sqlite3.Connection, *, oldest: int) -> migration.Migration:
    """Return a step that gives every table a column more, and adds a table and an index."""
    names = sorted(row[0] for row in db.execute(_TABLES))
    columns = [
        f"ALTER TABLE {name} ADD COLUMN later TEXT NOT NULL DEFAULT 'new';" for name in names
    ]
    more = [
        "CREATE TABLE later (later_id TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;",
        "CREATE INDEX later_state ON verification (state, later);",
    ]
    number = len(migration.known_migrations()) + 1
    return migration.Migration(number, f"{number:04}_later.sql", "\n".join(columns + more), oldest)


def expand(path: Path, *, oldest: int | None = None) -> int:
    """Take the next version's step; servers from `oldest` on, by default this one, still serve.

    Returns the new version.
    """
    known = migration.known_migrations()
    with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as db:
        migration.migrate(db, 0, known)
        step = next_step(db, oldest=len(known) if oldest is None else oldest)
        migration.migrate(db, 0, (*known, step))
        return migration.version(db)
