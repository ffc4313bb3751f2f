"""What a store holds, told alike by every store: to copy one into another and compare them.

Tables and columns bear the same names in every store; a value is told by its meaning, not
by how a database keeps it. What belongs to one store alone (stamps, steps of the schema,
numbers that it counts by itself) is not told.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from watchword.core.framing import frame

Value: TypeAlias = int | str | bytes | tuple[int, ...] | tuple[str, ...] | None
"""Truth is 0 or 1; a list is a tuple, one without an order sorted."""
Row: TypeAlias = tuple[Value, ...]

Place_contra = TypeVar("Place_contra", contravariant=True)

_MODULUS = 1 << 256


class Table(NamedTuple):
    """A table; `ordered` where the order of its rows is part of what it says."""

    name: str
    columns: tuple[str, ...]
    ordered: bool = False


TABLES = (
    "keys",
    "account",
    "application",
    "application_spiffe",
    "credential",
    "test_number",
    "usage_day",
    "account_request",
    "verification",
    "send",
    "send_times",
    "guess_guard",
    "approved_binding",
    "account_budget",
    "request",
    "audit_leaf",
)
"""Every table that is copied: keys before what they seal, rows before those that name them."""


class TableDigest:
    """Counts rows and adds up their SHA-256: the same for the same rows in any order.

    It finds what was lost, doubled or changed on the way; it is no proof against somebody
    who chooses rows. In an ordered table each row is taken with its number.
    """

    def __init__(self, table: Table) -> None:
        """Begin with no row."""
        self._ordered = table.ordered
        self._head = frame(table.name, *table.columns)
        self._sum = 0
        self.count = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Take the next rows."""
        for row in rows:
            self.count += 1
            number = str(self.count) if self._ordered else ""
            told = frame(self._head, number, *(_told(value) for value in row))
            self._sum += int.from_bytes(hashlib.sha256(told).digest(), "big")

    @property
    def value(self) -> str:
        """Return the digest of the rows so far, in hexadecimal."""
        return f"{self._sum % _MODULUS:064x}"


class StoreContents(Protocol):
    """One consistent state of a store, open for reading."""

    async def table(self, name: str) -> Table:
        """Describe one of `TABLES`."""
        ...

    def rows(self, table: Table) -> AsyncIterator[Sequence[Row]]:
        """Yield all rows in batches, an ordered table's in its order."""
        ...


class StoreSource(Protocol[Place_contra]):
    """What opens a store for reading; a stores adapter's attribute `source`, or it has none."""

    def reading(
        self, place: Place_contra, *, world: str
    ) -> AbstractAsyncContextManager[StoreContents]:
        """Open the store at `place` and keep servers from it meanwhile; changes nothing.

        Raises the adapter's own refusal, one line that says why.
        """
        ...


class StoreCopy(StoreContents, Protocol):
    """A store in the making, open for writing; it reads back what was written."""

    async def put(self, table: Table, rows: Sequence[Row]) -> None:
        """Add rows; `table.columns` says what each value is."""
        ...

    async def finish(self) -> None:
        """Make it a store that can be served: MUST NOT be one before."""
        ...


async def digest(contents: StoreContents, table: Table) -> TableDigest:
    """Read one table through."""
    found = TableDigest(table)
    async for rows in contents.rows(table):
        found.add(rows)
    return found


def _told(value: Value) -> bytes:
    """Return a value with its kind, so that no two values are told alike."""
    if isinstance(value, tuple):
        return b"l" + frame(*(_told(item) for item in value))
    if isinstance(value, bytes):
        return b"b" + value
    if isinstance(value, str):
        return b"s" + value.encode()
    return b"n" if value is None else b"i%d" % value
