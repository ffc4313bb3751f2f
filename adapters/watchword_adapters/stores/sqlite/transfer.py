"""Tells what a pair of files holds; see `StoreSource`."""

import json
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

from watchword.core.transfer import Row, Table, Value
from watchword_adapters.stores.sqlite import migration, schema
from watchword_adapters.stores.sqlite.connection import open_reader
from watchword_adapters.stores.sqlite.migration import StoreRefused
from watchword_adapters.stores.sqlite.place import check_place, hold, keys_path

_KEYS = "keys"
_BATCH = 500
# Numbers that SQLite gives by itself.
_OWN = frozenset({"seq"})
# JSON arrays in a text; what they list has an order only where it is times.
_TIMES = {"send_times": {"times"}, "guess_guard": {"wrong"}}
_SETS = {
    "account": {"regions"},
    "application": {"regions", "channels", "purposes", "spiffe_scopes"},
    "credential": {"scopes"},
}
_IN_ORDER = {"audit_leaf": "seq"}


class SqliteSource:
    """Implements `StoreSource`; a place is the path of the data's file."""

    @asynccontextmanager
    async def reading(self, place: Path, *, world: str) -> AsyncIterator["SqliteContents"]:
        """Open the store at `place` for reading, with no server on it."""
        check_place(place, create=False)
        try:
            with ExitStack() as opened:
                opened.callback(os.close, hold(place))
                data = opened.enter_context(closing(open_reader(place)))
                keys = opened.enter_context(closing(open_reader(keys_path(place))))
                for db in (data, keys):
                    db.execute("BEGIN")
                _check(data, world)
                yield SqliteContents(data, keys)
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            raise StoreRefused(f"{place}: cannot be read ({name})") from None


class SqliteContents:
    """Implements `StoreContents` over two open snapshots."""

    def __init__(self, data: sqlite3.Connection, keys: sqlite3.Connection) -> None:
        """Read both files as they are now."""
        self._data = data
        self._keys = keys

    async def table(self, name: str) -> Table:
        """Describe a table by what its file declares."""
        declared = self._file(name).execute("SELECT name FROM pragma_table_info(?)", (name,))
        columns = tuple(row[0] for row in declared if row[0] not in _OWN)
        return Table(name, columns, ordered=name in _IN_ORDER)

    async def rows(self, table: Table) -> AsyncIterator[Sequence[Row]]:
        """Yield all rows in the order of their keys."""
        columns = ", ".join(table.columns)
        order = _IN_ORDER.get(table.name) or ", ".join(self._key(table.name))
        found = self._file(table.name).execute(
            f"SELECT {columns} FROM {table.name} ORDER BY {order}"  # noqa: S608 - declared names
        )
        lists = [_reader(table.name, column) for column in table.columns]
        while batch := found.fetchmany(_BATCH):
            yield [tuple(map(_value, row, lists)) for row in batch]

    def _file(self, name: str) -> sqlite3.Connection:
        return self._keys if name == _KEYS else self._data

    def _key(self, name: str) -> list[str]:
        query = "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk"
        return [row[0] for row in self._file(name).execute(query, (name,))]


def _check(db: sqlite3.Connection, world: str) -> None:
    if schema.is_new(db):
        raise StoreRefused("the store is not initialised")
    schema.verify_world(db, world)
    migration.check_served(db, migration.known_migrations())


def _reader(table: str, column: str) -> Any:  # noqa: ANN401 - a function or nothing
    if column in _TIMES.get(table, ()):
        return tuple
    return sorted if column in _SETS.get(table, ()) else None


def _value(value: Any, read: Any) -> Value:  # noqa: ANN401 - as SQLite gives it
    found: Value = value if read is None else tuple(read(json.loads(value)))
    return found
