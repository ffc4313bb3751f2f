"""Fills a sandbox store with verifications of the past, so that its size can be measured with.

The rows are those that a Start, its message and its Check leave behind. They are spread
over the last `SPAN` before now, and over all keys evenly; their MACs are random, since
nobody verifies them.
"""

# ruff: noqa: S608 - the SQL is put together from constants

import sqlite3
from collections.abc import Callable, Iterator
from os import urandom
from pathlib import Path
from typing import Any, NamedTuple

from watchword.core.ids import epoch_of, send_id_of
from watchword.core.ports import DAY, MINUTE, SECOND, Millis
from watchword_adapters.stores.sqlite.columns import SEND, SEND_WIDTH, VERIFICATION, marks
from watchword_adapters.stores.sqlite.migration import StoreRefused

SPAN: Millis = 20 * DAY

Tell = Callable[[int], None]
"""Told how many verifications are there so far."""

_CHUNK = 10_000
_PRAGMAS = ("synchronous = OFF", "cache_size = -262144", "temp_store = MEMORY")
_WIDTH = len(VERIFICATION.split(", "))


class Owner(NamedTuple):
    """Whose verifications they are."""

    account_id: str
    application_id: str


def grow(path: Path, owner: Owner, count: int, now: Millis, tell: Tell) -> None:
    """Add `count` approved verifications to the closed store at `path`.

    Raises `StoreRefused` where the store is not a sandbox: made-up rows belong nowhere else.
    """
    db = sqlite3.connect(path, isolation_level=None)
    try:
        world = db.execute("SELECT value FROM meta WHERE name = 'world'").fetchone()
        if world is None or world[0] != b"sandbox":
            raise StoreRefused(f"{path}: only a sandbox store may be filled with made-up rows")
        for pragma in _PRAGMAS:
            db.execute(f"PRAGMA {pragma}")
        # Indexes are made at the end: sorted at once, not a page here and a page there.
        indexes = db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
            " AND tbl_name IN ('verification', 'send')"
        ).fetchall()
        for name, _ in indexes:
            db.execute(f"DROP INDEX {name}")
        for first in range(0, count, _CHUNK):
            _add(
                db, [_Past(owner, n, count, now) for n in range(first, min(count, first + _CHUNK))]
            )
            tell(min(count, first + _CHUNK))
        for _, sql in indexes:
            db.execute(sql)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()


class _Past:
    """Number `n` of `count` verifications, in the order of time and of every key."""

    def __init__(self, owner: Owner, n: int, count: int, now: Millis) -> None:
        self.owner = owner
        self.n = n
        self.begin = now - SPAN - 10 * MINUTE + n * SPAN // count
        self.end = self.begin + 20 * SECOND
        head = (self.begin << 32) | (epoch_of(self.begin) << 8) | 6
        self.id = f"VE{head.to_bytes(10, 'big').hex()}{urandom(10).hex()}"
        # Evenly spread and rising, so that the tables by key are written in their order.
        self.phone = ((n << 64) // count).to_bytes(8, "big") + urandom(24)
        self.binding = urandom(32)

    def verification(self) -> tuple[Any, ...]:
        account_id, application_id = self.owner
        keyed = (self.binding, b"", self.phone, b"", b"", urandom(32), b"", b"")
        shown = ("derived", "sandbox", 0, "+•••••••••23", "US", "FIXED_LINE_OR_MOBILE")
        sends = (0, "SAME", 1, 5, 1, self.begin + 30 * SECOND)
        times = (self.begin, self.end, self.begin + 10 * MINUTE, self.end)
        message = '{"brand": "Watchword", "language_code": "en", "ttl_minutes": 10}'
        return (
            *(self.id, account_id, application_id, 2, "APPROVED", "SMS", "login"),
            *keyed,
            *shown,
            *sends,
            *times,
            *("kept", "", message),
        )

    def send(self) -> tuple[Any, ...]:
        account_id, application_id = self.owner
        ids = (send_id_of(self.id, 1), "CODE", account_id, application_id, self.id, 2)
        state = ("SMS", "sandbox", 0, "SUBMITTED", "", "sandbox-0", 1, 0, 0)
        times = (self.begin, 0, self.begin + 10 * MINUTE, "", b"", self.begin, self.begin + 1)
        return (*ids, *state, *times, self.begin + 1, "US")

    def leaves(self) -> Iterator[tuple[Any, ...]]:
        kinds = (("verification", 1), ("send", 2), ("verification", 2))
        for kind, version in kinds:
            name = self.id if kind == "verification" else send_id_of(self.id, 1)
            yield self.owner[0], name, version, kind, self.begin, urandom(32), urandom(32)

    def guard(self) -> tuple[Any, ...]:
        return self.owner[1], self.phone, "[]", 0, 1, 0, self.end

    def known_binding(self) -> tuple[Any, ...]:
        return self.owner[1], self.phone, self.binding, self.end


def _add(db: sqlite3.Connection, rows: list[_Past]) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.executemany(
        f"INSERT INTO verification ({VERIFICATION}) VALUES ({marks(_WIDTH)})",
        [row.verification() for row in rows],
    )
    db.executemany(
        f"INSERT INTO send ({SEND}) VALUES ({marks(SEND_WIDTH)})", [row.send() for row in rows]
    )
    db.executemany(
        "INSERT INTO audit_leaf (account_id, object_id, version, kind, time, mac, commitment)"
        f" VALUES ({marks(7)})",
        [leaf for row in rows for leaf in row.leaves()],
    )
    db.executemany(f"INSERT INTO guess_guard VALUES ({marks(7)})", [row.guard() for row in rows])
    db.executemany(
        f"INSERT INTO approved_binding VALUES ({marks(4)})", [row.known_binding() for row in rows]
    )
    db.execute("COMMIT")
