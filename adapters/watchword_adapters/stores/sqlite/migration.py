"""The schema's numbered steps: which there are, which a file has had, and how they are taken.

Each is an SQL file in `migrations/`, and one transaction together with the record that it
was taken: a process that dies in one leaves the step before, and the next process goes on
from there. They go forward only. A file's first line says the oldest server that may serve
a store that has had the step, by the newest step which that server knows; so servers of
the version before go on, and start again, while an upgrade is rolled out.
"""

import re
import sqlite3
from collections.abc import Iterator
from importlib import resources
from typing import NamedTuple

from watchword.core.ports import Millis
from watchword.core.upkeep import SchemaChange

_OLDEST = re.compile(r"-- Oldest server: schema ([1-9][0-9]*)\n")
_NAME = "oldest-server"
# Both in one statement, so that they belong together.
_STATE = (
    "SELECT (SELECT coalesce(max(version), 0) FROM schema_version),"
    " (SELECT value FROM meta WHERE name = ?)"
)


class StoreRefused(Exception):
    """The store may not be served as asked; the text is one line that says why."""


class Migration(NamedTuple):
    """One numbered step; `oldest` is the oldest schema whose servers still serve after it."""

    version: int
    name: str
    sql: str
    oldest: int


Steps = tuple[Migration, ...]


def known_migrations() -> Steps:
    """Return the steps that this version brings, in order."""
    directory = resources.files("watchword_adapters.stores.sqlite") / "migrations"
    files = sorted(file.name for file in directory.iterdir() if file.name.endswith(".sql"))
    steps = tuple(_step(name, (directory / name).read_text("utf-8")) for name in files)
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise StoreRefused("the migrations of this installation are not numbered without gaps")
    return steps


def check_served(db: sqlite3.Connection, steps: Steps) -> None:
    """Raise `StoreRefused` where a server that knows `steps` must not serve this schema."""
    current, oldest = _state(db)
    if oldest > len(steps):
        raise _too_new(current, steps)
    if current < len(steps):
        raise StoreRefused(
            f"the store's schema has version {current}, and this version of Watchword needs"
            f" {len(steps)}: run `watchword migrate`"
        )


def version(db: sqlite3.Connection) -> int:
    """Return the number of the last step that the file has had."""
    return _state(db)[0]


def pending(db: sqlite3.Connection, steps: Steps) -> SchemaChange:
    """Return what `migrate` would do; raises `StoreRefused` where the file is too new."""
    current, oldest = _state(db)
    if oldest > len(steps):
        raise _too_new(current, steps)
    todo = tuple(step.name for step in steps[current:])
    return SchemaChange(current, max(current, len(steps)), todo)


def migrate(db: sqlite3.Connection, now: Millis, steps: Steps) -> SchemaChange:
    """Take the steps that are missing; return what was done.

    Raises `StoreRefused` where the file is too new. A process that does the same beside
    this one takes some of the steps: each is taken once.
    """
    before = pending(db, steps)
    taken = tuple(step.name for step in steps[before.before :] if _take(db, step, now))
    return before._replace(steps=taken)


def statements(sql: str) -> Iterator[str]:
    """Yield the statements of a file one by one."""
    statement = ""
    for part in re.split(r"(?<=;)", sql):
        statement += part
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    if statement.strip():
        yield statement.strip()


def _step(name: str, sql: str) -> Migration:
    found = _OLDEST.match(sql)
    if found is None:
        raise StoreRefused(f"{name}: does not say which servers it serves")
    return Migration(int(name[:4]), name, sql, int(found[1]))


def _take(db: sqlite3.Connection, step: Migration, now: Millis) -> bool:
    """Take one step; returns False where another process has taken it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if version(db) >= step.version:
            db.execute("ROLLBACK")
            return False
        for statement in statements(step.sql):
            db.execute(statement)
        db.execute(
            "INSERT INTO schema_version (version, name, apply_time) VALUES (?, ?, ?)",
            (step.version, step.name, now),
        )
        db.execute(
            "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)",
            (_NAME, f"{step.version}:{step.oldest}".encode()),
        )
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return True


def _state(db: sqlite3.Connection) -> tuple[int, int]:
    """Return the schema's version, and the oldest schema whose servers may serve it."""
    current, told = db.execute(_STATE, (_NAME,)).fetchone()
    # What was told of another version than the last says nothing of this one.
    of, _, oldest = (told or b"").decode().partition(":")
    return current, int(oldest) if of == str(current) else current


def _too_new(current: int, steps: Steps) -> StoreRefused:
    return StoreRefused(
        f"the store's schema has version {current}; this version knows {len(steps)}:"
        " upgrade Watchword"
    )
