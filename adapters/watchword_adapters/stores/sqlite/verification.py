"""`VerificationStore` on SQLite: the shared atomic commands, and reads beside the writer."""

import sqlite3
from collections.abc import Iterable
from functools import partial

from watchword.audit.leaf import LeafMaker
from watchword.core.errors import DomainError, NotFound
from watchword.core.ports import Millis
from watchword.fraud.budget import AccountBudget
from watchword.fraud.limits import GuessGuard
from watchword.verification import commands
from watchword.verification.checking import CheckCommand
from watchword.verification.model import State
from watchword.verification.rows import FROM_THE_START, STALE_LOOKS
from watchword.verification.starting import StartCommand
from watchword.verification.store import (
    CancelCommand,
    CheckOutcome,
    ListQuery,
    PhoneUsage,
    RebindCommand,
    RebindOutcome,
    ResendCommand,
    Snapshot,
    StartOutcome,
)
from watchword_adapters.stores.sqlite import rows as sql
from watchword_adapters.stores.sqlite.columns import (
    VERIFICATION,
    Row,
    guard_of,
    send_of,
    times_of,
    verification_of,
)
from watchword_adapters.stores.sqlite.engine import Engine, Transaction
from watchword_adapters.stores.sqlite.rows import SqliteRows

_PENDING_IDS = (
    "SELECT verification_id FROM verification WHERE application_id = ?1 AND phone_index = ?2"
    " AND purpose = ?3 AND (?4 IS NULL OR binding_key = ?4) AND state = 'PENDING'"
    " AND expire_time > ?5 ORDER BY verification_id LIMIT 2"
)


def _page(by: str) -> str:
    # A row whose time is over counts as EXPIRED although nobody has written that yet.
    return (
        f"SELECT {VERIFICATION} FROM verification WHERE {by} AND account_id = ?1"  # noqa: S608
        " AND (?4 = '' OR verification_id < ?4)"
        " AND (?5 IS NULL OR ?5 = CASE WHEN state = 'PENDING' AND expire_time <= ?6"
        " THEN 'EXPIRED' ELSE state END)"
        " ORDER BY verification_id DESC LIMIT ?7"
    )


_PAGE = _page("application_id = ?2 AND ?3 = x''")
_PAGE_OF_PHONE = _page("application_id = ?2 AND phone_index = ?3")


class SqliteVerificationStore:
    """Implements `VerificationStore`; see there for what each method means and raises."""

    def __init__(self, engine: Engine, leaves: LeafMaker) -> None:
        """Run on `engine`; `leaves` makes what goes into the audit log."""
        self._engine = engine
        self._leaves = leaves
        self._swept = FROM_THE_START

    async def start(self, command: StartCommand) -> StartOutcome:
        """Begin or resend."""
        leaves = self._leaves
        return await self._engine.write(lambda tx: commands.start(SqliteRows(tx), leaves, command))

    async def resend(self, command: ResendCommand) -> StartOutcome:
        """Queue one more send."""

        def run(tx: Transaction) -> StartOutcome | DomainError:
            return commands.resend(SqliteRows(tx), self._leaves, command)

        return await self._engine.write(run)

    async def check(self, command: CheckCommand) -> CheckOutcome:
        """Judge a code."""
        leaves = self._leaves
        return await self._engine.write(lambda tx: commands.check(SqliteRows(tx), leaves, command))

    async def cancel(self, command: CancelCommand) -> Snapshot:
        """Cancel."""

        def run(tx: Transaction) -> Snapshot | DomainError:
            return commands.cancel(SqliteRows(tx), self._leaves, command)

        return await self._engine.write(run)

    async def rebind(self, command: RebindCommand) -> RebindOutcome:
        """Schedule the end of a hard stop."""
        return await self._engine.write(
            lambda tx: commands.rebind(SqliteRows(tx), self._leaves, command)
        )

    async def get(self, verification_id: str, account_id: str, application_id: str) -> Snapshot:
        """Read the committed state; one found expired is written so first."""
        now = self._engine.now()
        snapshot = self._engine.look(partial(_snapshot_by_id, verification_id, now))
        if snapshot is not None and _overdue(snapshot):
            await self._expire([snapshot])
            snapshot = self._engine.look(partial(_snapshot_by_id, verification_id, now))
        if snapshot is None:
            raise NotFound("no such verification")
        row = snapshot.verification
        if row.account_id != account_id or row.application_id != application_id:
            raise NotFound("no such verification")
        return snapshot

    async def pending_ids(
        self, application_id: str, phone_index: bytes, purpose: str, binding_key: bytes | None
    ) -> list[str]:
        """Return up to two pending verifications in time."""
        keys = (application_id, phone_index, purpose, binding_key, self._engine.now())
        return self._engine.look(
            lambda db: [row[0] for row in db.execute(_PENDING_IDS, keys).fetchall()]
        )

    async def list(self, query: ListQuery) -> list[Snapshot]:
        """Read one page; what is found expired is written so first."""
        read = partial(_read_page, query, self._engine.now())
        page = await self._engine.read(read)
        overdue = [snapshot for snapshot in page if _overdue(snapshot)]
        if overdue:
            await self._expire(overdue)
            page = await self._engine.read(read)
        return page

    async def usage(
        self, account_id: str, application_id: str, send_key: bytes, phone_index: bytes
    ) -> PhoneUsage:
        """Read what the limits on a phone have used."""
        keys = (account_id, application_id, send_key, phone_index)
        return self._engine.look(partial(_read_usage, *keys, self._engine.now()))

    async def sweep(self, retention: Millis, limit: int) -> int:
        """Expire what is over and delete what is older than `retention`; returns rows touched."""
        write, leaves = self._engine.write, self._leaves
        expired = await write(lambda tx: commands.expire_overdue(SqliteRows(tx), leaves, limit))
        older = await write(lambda tx: SqliteRows(tx).delete_older(tx.now - retention, limit))
        after, looks = self._swept, STALE_LOOKS * limit
        stale = await write(lambda tx: SqliteRows(tx).delete_stale(after, looks))
        self._swept = stale.after
        return expired + older + stale.deleted

    async def _expire(self, snapshots: Iterable[Snapshot]) -> None:
        def run(tx: Transaction) -> None:
            rows = SqliteRows(tx)
            for snapshot in snapshots:
                commands.expire(rows, self._leaves, snapshot.verification.verification_id)

        await self._engine.write(run)


def _overdue(snapshot: Snapshot) -> bool:
    row = snapshot.verification
    return row.state is State.PENDING and snapshot.now >= row.expire_time


def _snapshot_by_id(verification_id: str, now: Millis, db: sqlite3.Connection) -> Snapshot | None:
    row = db.execute(sql.VERIFICATION_BY_ID, (verification_id,)).fetchone()
    return None if row is None else _snapshot(db, row, now)


def _snapshot(db: sqlite3.Connection, row: Row, now: Millis) -> Snapshot:
    verification = verification_of(row)
    sends = db.execute(sql.SENDS_OF_VERIFICATION, (verification.verification_id,)).fetchall()
    return Snapshot(verification, tuple(map(send_of, sends)), now)


def _read_page(query: ListQuery, now: Millis, db: sqlite3.Connection) -> list[Snapshot]:
    state = None if query.state is None else str(query.state)
    found = db.execute(
        _PAGE_OF_PHONE if query.phone_index else _PAGE,
        (
            query.account_id,
            query.application_id,
            query.phone_index,
            query.before,
            state,
            now,
            query.limit,
        ),
    ).fetchall()
    return [_snapshot(db, row, now) for row in found]


def _read_usage(
    account_id: str,
    application_id: str,
    send_key: bytes,
    phone_index: bytes,
    now: Millis,
    db: sqlite3.Connection,
) -> PhoneUsage:
    times = db.execute(sql.SEND_TIMES, (send_key, send_key)).fetchone()
    guard = db.execute(sql.GUESSES, (application_id, phone_index)).fetchone()
    budget = db.execute(sql.BUDGET, (account_id,)).fetchone()
    return PhoneUsage(
        sends=times_of(times[0]) if times[0] else (),
        guesses=GuessGuard() if guard is None else guard_of(guard),
        budget=AccountBudget() if budget is None else AccountBudget._make(budget),
        now=now,
    )
