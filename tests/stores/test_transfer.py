"""What a file tells of itself, and a copy that is compared with it."""

import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from watchword.account.first import set_up_dev
from watchword.core.transfer import TABLES, Row, Table, TableDigest, Value, digest
from watchword.server.transfer import CopyRefused, copy
from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.entropy import SeededEntropy
from watchword.testing.keys import MemoryKeyProvider
from watchword.testing.upkeep_contract import fill
from watchword_adapters.stores.sqlite import SqliteStores, StoreRefused
from watchword_adapters.stores.sqlite.transfer import SqliteContents, SqliteSource

T = Table("t", ("a", "b"))


class MemoryCopy:
    """A target in memory, which may lose or change what it is given."""

    def __init__(self, like: SqliteContents, spoil: str = "") -> None:
        self.tables: dict[str, list[Row]] = {name: [] for name in TABLES}
        self.finished = False
        self._like = like
        self._spoil = spoil

    async def table(self, name: str) -> Table:
        table = await self._like.table(name)
        older = self._spoil == "columns" and name == "send"
        return table._replace(columns=table.columns[:-1]) if older else table

    async def put(self, table: Table, rows: Sequence[Row]) -> None:
        kept = list(rows)
        if table.name == "send_times" and self._spoil == "lose":
            kept = kept[1:]
        if table.name == "send_times" and self._spoil == "double":
            kept += kept[:1]
        if table.name == "verification" and self._spoil == "change":
            kept[0] = (*kept[0][:-1], "changed")
        if table.name == "audit_leaf" and self._spoil == "order":
            kept.reverse()
        self.tables[table.name] += kept

    async def rows(self, table: Table) -> AsyncIterator[Sequence[Row]]:
        rows = self.tables[table.name]
        # Another store has an order of its own.
        yield rows if table.ordered else sorted(rows, key=repr, reverse=True)

    async def finish(self) -> None:
        self.finished = True


def quiet(_work: str, _done: int, _total: int) -> None:
    pass


@pytest.fixture
async def filled(path: Path, clock: FakeClock) -> Path:
    provider, entropy = MemoryKeyProvider(), SeededEntropy()
    stores = await opened(path, clock)
    await set_up_dev(stores.account, provider, clock, entropy, "sandbox")
    await fill(stores, clock)
    await stores.close()
    return path


def content(path: Path) -> bytes:
    return path.read_bytes()


async def opened(path: Path, clock: FakeClock) -> SqliteStores:
    return await SqliteStores.open(
        path,
        world="sandbox",
        clock=clock,
        bus=RecordingBus(),
        provider=MemoryKeyProvider(),
        create=True,
    )


@asynccontextmanager
async def reading(path: Path) -> AsyncIterator[SqliteContents]:
    async with SqliteSource().reading(path, world="sandbox") as contents:
        yield contents


async def test_a_copy_holds_every_row_of_every_table(filled: Path) -> None:
    async with reading(filled) as contents:
        target = MemoryCopy(contents)
        copied = await copy(contents, target, quiet)
    assert target.finished
    assert [each.name for each in copied] == list(TABLES)
    counts = {each.name: each.rows for each in copied}
    with closing(sqlite3.connect(filled)) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")]
        own = {"meta", "schema_version", "sqlite_sequence"}
        assert {*names} - own == {*TABLES} - {"keys"}
        for name in {*names} - own:
            assert counts[name] == db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
    assert (counts["keys"], counts["verification"]) == (2, 4)
    assert min(counts[name] for name in ("account", "application", "credential", "send")) > 0


async def test_values_are_told_by_their_meaning(filled: Path) -> None:
    async with reading(filled) as contents:
        told = {}
        for name in ("send_times", "application", "verification"):
            table = await contents.table(name)
            async for rows in contents.rows(table):
                told[name] = dict(zip(table.columns, rows[0], strict=True))
    with closing(sqlite3.connect(filled)) as db:
        (times,) = db.execute("SELECT times FROM send_times ORDER BY key").fetchone()
    assert told["send_times"]["times"] == tuple(json.loads(times))
    assert told["application"]["channels"] == ("SMS",)
    assert "seq" not in told["verification"]


@pytest.mark.parametrize(
    ("spoil", "table"),
    [
        ("lose", "send_times"),
        ("double", "send_times"),
        ("change", "verification"),
        ("order", "audit_leaf"),
    ],
)
async def test_what_did_not_arrive_as_it_was_is_found(filled: Path, spoil: str, table: str) -> None:
    async with reading(filled) as contents:
        target = MemoryCopy(contents, spoil)
        with pytest.raises(CopyRefused, match=f"^{table}: "):
            await copy(contents, target, quiet)
    assert not target.finished


async def test_stores_of_two_versions_are_not_copied(filled: Path) -> None:
    async with reading(filled) as contents:
        target = MemoryCopy(contents, "columns")
        with pytest.raises(CopyRefused, match=r"^send: .*migrate both"):
            await copy(contents, target, quiet)
        assert not any(target.tables.values())


async def test_no_server_serves_what_is_being_read(filled: Path, clock: FakeClock) -> None:
    before = content(filled)
    async with reading(filled):
        with pytest.raises(StoreRefused, match="another server"):
            await opened(filled, clock)
    assert content(filled) == before
    stores = await opened(filled, clock)
    with pytest.raises(StoreRefused, match="another server"):
        async with reading(filled):
            pass
    await stores.close()


async def test_a_digest_is_of_the_file_and_not_of_the_moment(filled: Path) -> None:
    found = []
    for _ in range(2):
        async with reading(filled) as contents:
            found.append(
                [(await digest(contents, await contents.table(name))).value for name in TABLES]
            )
    assert found[0] == found[1]
    assert len(set(found[0])) > len(TABLES) // 2


async def test_another_world_is_not_read(filled: Path) -> None:
    with pytest.raises(StoreRefused, match="world"):
        async with SqliteSource().reading(filled, world="production"):
            pass


def of(*rows: Row, ordered: bool = False) -> str:
    made = TableDigest(T._replace(ordered=ordered))
    made.add(rows)
    return made.value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, "b"), ("1", "b")),
        ((b"a", ""), ("a", "")),
        ((None, ""), ("", "")),
        ((0, ""), (None, "")),
        (("ab", ""), ("a", "b")),
        (((1, 2), ""), ((12,), "")),
        (((), ""), (None, "")),
        ((("a", "b"), ""), (("ab",), "")),
        (((1,), ""), (("1",), "")),
    ],
)
def test_no_two_rows_are_told_alike(one: tuple[Value, ...], other: tuple[Value, ...]) -> None:
    assert of(one) != of(other)


def test_truth_is_a_number() -> None:
    assert of((True, False)) == of((1, 0))


def test_order_counts_where_it_says_something() -> None:
    a, b = (1, "a"), (2, "b")
    assert of(a, b) == of(b, a) != of(a, b, b)
    assert of(a, b, ordered=True) != of(b, a, ordered=True)
