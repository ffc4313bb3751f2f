"""SQLite keeps exactly what memory keeps, value for value and leaf for leaf."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from watchword.audit.leaf import Leaf, LeafMaker
from watchword.core.ports import DAY, HOUR, MINUTE
from watchword.delivery.outbox import Result, ResultKind
from watchword.fraud.budget import AccountBudget
from watchword.fraud.limits import KNOWN_BINDING_TTL, THIRTY_DAYS, GuessGuard
from watchword.testing import verification_cases as cases
from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.keys import MemoryKeyProvider
from watchword.testing.memory import MemoryStores
from watchword.testing.memory_rows import MemoryRows, Tables
from watchword.testing.verification_cases import CASE
from watchword.verification.rows import FROM_THE_START, Rows, StaleKeys, Swept
from watchword_adapters.stores.sqlite import SqliteStores
from watchword_adapters.stores.sqlite.columns import (
    SEND,
    VERIFICATION,
    guard_of,
    send_of,
    times_of,
    verification_of,
)
from watchword_adapters.stores.sqlite.rows import SqliteRows

OpenStores = Callable[..., AbstractAsyncContextManager[SqliteStores]]


def dump(path: Path) -> Tables:
    """Return a file's rows as memory would hold them."""
    db = sqlite3.connect(path)
    all_of = db.execute
    kept = Tables(
        verifications={
            row[0]: verification_of(row)
            for row in all_of(f"SELECT {VERIFICATION} FROM verification")
        },
        sends={row[0]: send_of(row) for row in all_of(f"SELECT {SEND} FROM send")},
        send_times={
            key: (times_of(times), time) for key, times, time in all_of("SELECT * FROM send_times")
        },
        guesses={
            (row[0], row[1]): (guard_of(row[2:6]), row[6])
            for row in all_of("SELECT * FROM guess_guard")
        },
        bindings={row[:3]: row[3] for row in all_of("SELECT * FROM approved_binding")},
        budgets={row[0]: AccountBudget(*row[1:]) for row in all_of("SELECT * FROM account_budget")},
        requests={row[:3]: row for row in all_of("SELECT * FROM request")},
        leaves={
            row[0] - 1: Leaf(*row[1:]) for row in all_of("SELECT * FROM audit_leaf ORDER BY seq")
        },
    )
    db.close()
    return kept


def shown(tables: Tables) -> dict[str, list[str]]:
    """Return tables as text, the order of rows left out; a row's type does not matter."""
    return {
        name: sorted(
            repr((key, *value) if isinstance(value, tuple) else (key, value))
            for key, value in table.items()
        )
        for name, table in vars(tables).items()
    }


async def play(stores: SqliteStores | MemoryStores, clock: FakeClock) -> None:
    """Run a life of two phones through every table."""
    known = CASE._replace(binding=1)
    verification, outbox = stores.verification, stores.outbox
    await verification.start(cases.start(1, known, request=cases.request(1, "start")))
    await verification.start(cases.start(2, CASE._replace(phone=1, custom=1)))
    for claim in (await outbox.claim(5, cases.LEASE, cases.LIMITS)).claims:
        result = Result(claim.send.send_id, 1, ResultKind.SUBMITTED, "provider")
        await outbox.settle([result], cases.LIMITS)
    await verification.check(cases.check(1, 0, known, request=cases.request(2, "check")))
    await verification.check(cases.check(1, 1, known))
    clock.advance(MINUTE)
    await verification.start(cases.start(3, known._replace(action=2)))
    await verification.rebind(cases.rebind(notice=4))
    await verification.cancel(cases.cancel(2, CASE._replace(phone=1)))


async def test_both_stores_keep_the_same(
    open_stores: OpenStores, path: Path, clock: FakeClock
) -> None:
    memory_clock = FakeClock()
    memory = MemoryStores(memory_clock, RecordingBus())
    await play(memory, memory_clock)
    async with open_stores() as stores:
        await play(stores, clock)
        kept, expected = shown(dump(path)), shown(memory.engine.tables)
    assert all(expected.values())
    for name, rows in expected.items():
        assert kept[name] == rows, name


async def test_one_leaf_for_each_version(
    open_stores: OpenStores, path: Path, clock: FakeClock
) -> None:
    async with open_stores() as stores:
        await play(stores, clock)
        kept = dump(path)
    leaves = list(kept.leaves.values())
    versions = [(leaf.object_id, leaf.version) for leaf in leaves if leaf.kind == "verification"]
    assert sorted(versions) == sorted(
        (row.verification_id, version)
        for row in kept.verifications.values()
        for version in range(1, row.version + 1)
    )
    maker = LeafMaker(MemoryKeyProvider())
    forged = leaves[0]._replace(version=9)
    assert not maker.verify(forged, b"")


async def test_nothing_personal_stays_in_an_ended_row(open_stores: OpenStores, path: Path) -> None:
    async with open_stores() as stores:
        await stores.verification.start(cases.start(1, CASE._replace(custom=1)))
        await stores.verification.check(cases.check(1, 1, CASE._replace(custom=1)))
        row = dump(path).verifications[cases.verification_id(1)]
    assert (row.phone_sealed, row.limits_index, row.custom_sealed) == (b"", b"", b"")


def fill(rows: Rows) -> None:
    """Put one guard of each kind and one binding there."""
    guards = {
        b"never": GuessGuard(wrong=(rows.now,), in_a_row=1),
        b"clean": GuessGuard(approved=True),
        b"stopped": GuessGuard(wrong=(rows.now,), in_a_row=1, approved=True),
        b"rebinding": GuessGuard(in_a_row=1, rebind_time=rows.now + 2 * KNOWN_BINDING_TTL),
    }
    for phone, guard in guards.items():
        rows.put_guesses("AP", phone, guard)
    rows.put_binding("AP", b"clean", b"binding")
    rows.put_send_times({b"key": (rows.now,), b"other": (rows.now,)})


def guards_left(rows: Rows) -> set[bytes]:
    phones = (b"never", b"clean", b"stopped", b"rebinding")
    return {phone for phone in phones if rows.guesses("AP", phone) is not None}


def all_stale(rows: Rows) -> int:
    return rows.delete_stale(FROM_THE_START, 10).deleted


async def test_idle_guards_go_and_stops_stay(open_stores: OpenStores, clock: FakeClock) -> None:
    memory_clock = FakeClock()
    memory = MemoryStores(memory_clock, RecordingBus()).engine
    async with open_stores() as stores:
        engine = stores.verification._engine

        async def both(command: Callable[[Rows], object]) -> object:
            found = await engine.write(lambda tx: command(SqliteRows(tx)))
            assert found == await memory.write(command)
            return found

        await both(fill)
        stages = []
        for wait in (DAY - 1, 1, THIRTY_DAYS - DAY - 1, 1, KNOWN_BINDING_TTL - THIRTY_DAYS):
            clock.advance(wait)
            memory_clock.advance(wait)
            stages.append((await both(all_stale), await both(guards_left)))
    everything = {b"never", b"clean", b"stopped", b"rebinding"}
    assert stages == [
        (0, everything),
        (2, everything),
        (0, everything),
        (1, everything - {b"never"}),
        (2, {b"stopped", b"rebinding"}),
    ]


def stale_after(after: StaleKeys, rows: Rows) -> Swept:
    return rows.delete_stale(after, 10)


async def test_a_walk_in_search_of_the_stale_sees_every_row(
    open_stores: OpenStores, path: Path, clock: FakeClock
) -> None:
    memory_clock = FakeClock()
    memory = MemoryStores(memory_clock, RecordingBus()).engine
    keys = [number.to_bytes(2, "big") for number in range(0, 4_000, 37)]
    fresh = keys[::3]
    async with open_stores() as stores:
        engine = stores.verification._engine

        async def both(command: Callable[[Rows], Swept | None]) -> Swept | None:
            found = await engine.write(lambda tx: command(SqliteRows(tx)))
            assert found == await memory.write(command)
            return found

        await both(lambda rows: rows.put_send_times(dict.fromkeys(keys, (rows.now,))))
        for now in (clock, memory_clock):
            now.advance(DAY)
        await both(lambda rows: rows.put_send_times(dict.fromkeys(fresh, (rows.now,))))
        after, counts = FROM_THE_START, list[int]()
        while len(counts) * 10 <= len(keys):
            swept = await both(partial(stale_after, after))
            assert swept is not None
            after = swept.after
            counts.append(swept.deleted)
    assert after == FROM_THE_START
    assert max(counts) < 10
    assert set(dump(path).send_times) == set(memory.tables.send_times) == set(fresh)


async def test_memory_undoes_what_a_command_raised_on() -> None:
    memory = MemoryStores(FakeClock(), RecordingBus()).engine

    def half(rows: MemoryRows) -> None:
        rows.insert_verification(cases.draft(1)._replace(create_time=HOUR))
        raise RuntimeError

    before = shown(memory.tables)
    with pytest.raises(RuntimeError):
        await memory.write(half)
    assert shown(memory.tables) == before
