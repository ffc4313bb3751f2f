"""Copies all that one store holds into another, and compares what arrived with what went."""

from typing import NamedTuple

from watchword.core.transfer import TABLES, StoreContents, StoreCopy, Table, TableDigest, digest
from watchword.core.upkeep import Progress


class CopyRefused(Exception):
    """The copy is not what it should be; the text is one line that says why."""


class Copied(NamedTuple):
    """A table that arrived: its rows, and their digest in both stores."""

    name: str
    rows: int
    digest: str


async def copy(source: StoreContents, target: StoreCopy, progress: Progress) -> list[Copied]:
    """Copy every table, read all back, and only then make the target a store.

    Raises `CopyRefused` where the two stores do not have the same tables, or where what is
    read back differs; the target is none then and can be thrown away.
    """
    tables = [await _table(name, source, target) for name in TABLES]
    gone = []
    for done, table in enumerate(tables, 1):
        gone.append(await _put(source, target, table))
        progress("copy tables", done, len(tables))
    copied = []
    for done, (table, sent) in enumerate(zip(tables, gone, strict=True), 1):
        copied.append(await _compared(target, table, sent))
        progress("compare tables", done, len(tables))
    await target.finish()
    return copied


async def _table(name: str, source: StoreContents, target: StoreCopy) -> Table:
    there, here = await source.table(name), await target.table(name)
    if not here.columns or {*there.columns} != {*here.columns}:
        raise CopyRefused(f"{name}: the two stores are not of one version; migrate both first")
    return there


async def _put(source: StoreContents, target: StoreCopy, table: Table) -> TableDigest:
    sent = TableDigest(table)
    async for rows in source.rows(table):
        sent.add(rows)
        await target.put(table, rows)
    return sent


async def _compared(target: StoreCopy, table: Table, sent: TableDigest) -> Copied:
    arrived = await digest(target, table)
    if (arrived.count, arrived.value) != (sent.count, sent.value):
        raise CopyRefused(
            f"{table.name}: {arrived.count} rows arrived of {sent.count}, or not as they were sent"
        )
    return Copied(table.name, arrived.count, arrived.value)
