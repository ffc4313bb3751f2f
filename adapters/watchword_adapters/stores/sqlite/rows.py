"""The verification's rows over an open SQLite transaction: constant SQL, no decisions."""

# ruff: noqa: S608 - the SQL is put together from constants

import sqlite3
from collections.abc import Mapping

from watchword.audit.leaf import Leaf
from watchword.core.ports import DAY, Millis
from watchword.delivery.outbox import Send
from watchword.fraud.budget import AccountBudget
from watchword.fraud.limits import GuessGuard, SendTimes
from watchword.verification.model import Verification
from watchword.verification.rows import PhoneState, StaleKeys, StoredRequest, Swept
from watchword_adapters.stores.sqlite.audit import append_leaf
from watchword_adapters.stores.sqlite.columns import (
    SEND,
    SEND_OF_JOIN,
    SEND_WIDTH,
    VERIFICATION,
    VERIFICATION_OF_JOIN,
    guard_of,
    marks,
    send_of,
    send_row,
    times_of,
    times_text,
    verification_of,
    verification_row,
)
from watchword_adapters.stores.sqlite.engine import Transaction
from watchword_adapters.stores.sqlite.stale import delete_stale

_REQUEST_TTL = DAY

VERIFICATION_BY_ID = f"SELECT {VERIFICATION} FROM verification WHERE verification_id = ?"
_PENDING = (
    f"SELECT {VERIFICATION} FROM verification WHERE application_id = ? AND phone_index = ?"
    " AND purpose = ? AND binding_key = ? AND state = 'PENDING'"
)
_INSERT_VERIFICATION = (
    f"INSERT INTO verification ({VERIFICATION}) VALUES ({marks(len(Verification._fields))})"
)
# What no command changes is left alone.
_UPDATE_VERIFICATION = (
    "UPDATE verification SET version = ?, state = ?, channel = ?, limits_index = ?,"
    " phone_sealed = ?, custom_sealed = ?, generation = ?, checks_used = ?, send_count = ?,"
    " next_send_time = ?, update_time = ?, approve_time = ?, receipt_kid = ?"
    " WHERE verification_id = ?"
)
_OVERDUE = (
    f"SELECT {VERIFICATION} FROM verification WHERE state = 'PENDING' AND expire_time <= ?"
    " ORDER BY expire_time, verification_id LIMIT ?"
)
_DELETE_VERIFICATIONS = (
    "DELETE FROM verification WHERE seq IN (SELECT seq FROM verification"
    " WHERE state <> 'PENDING' AND update_time < ? ORDER BY update_time LIMIT ?)"
    " RETURNING verification_id"
)
_DELETE_NOTICES = (
    "DELETE FROM send WHERE send_id IN (SELECT send_id FROM send WHERE kind = 'NOTICE'"
    " AND state <> 'QUEUED' AND update_time < ? ORDER BY update_time LIMIT ?)"
)
_SEND_BY_ID = f"SELECT {SEND} FROM send WHERE send_id = ?"
# A verification's sends bear its name and two digits.
_OF_VERIFICATION = "send_id > 'SE' || substr(?1, 3) AND send_id < 'SE' || substr(?1, 3) || 'g'"
SENDS_OF_VERIFICATION = f"SELECT {SEND} FROM send WHERE {_OF_VERIFICATION} ORDER BY send_id"
_DELETE_SENDS = f"DELETE FROM send WHERE {_OF_VERIFICATION}"
_INSERT_SEND = f"INSERT INTO send ({SEND}) VALUES ({marks(SEND_WIDTH)})"
_UPDATE_SEND = (
    "UPDATE send SET version = ?, carrier = ?, state = ?, error_reason = ?, provider_id = ?,"
    " attempts = ?, doubts = ?, due_time = ?, lease_time = ?, submit_time = ?, update_time = ?"
    " WHERE send_id = ?"
)
# Each carrier's queue by name and the time of its head, by skipping through the index.
QUEUE_HEADS = (
    "WITH RECURSIVE queue (name) AS ("
    " SELECT min(carrier) FROM send WHERE state = 'QUEUED' UNION ALL"
    " SELECT (SELECT min(carrier) FROM send WHERE state = 'QUEUED' AND carrier > queue.name)"
    " FROM queue WHERE queue.name IS NOT NULL)"
    " SELECT name, (SELECT min(max(due_time, lease_time)) FROM send"
    " WHERE state = 'QUEUED' AND carrier = queue.name) FROM queue WHERE name IS NOT NULL"
)
_DUE_SENDS = (
    f"SELECT {SEND_OF_JOIN}, {VERIFICATION_OF_JOIN} FROM send s"
    " LEFT JOIN verification v ON v.verification_id = s.subject_id"
    " WHERE s.state = 'QUEUED' AND s.carrier = ? AND max(s.due_time, s.lease_time) <= ?"
    " ORDER BY max(s.due_time, s.lease_time), s.send_id LIMIT ?"
)
# Scalar subqueries are quicker than any list or union of keys.
SEND_TIMES = (
    "SELECT (SELECT times FROM send_times WHERE key = ?),"
    " (SELECT times FROM send_times WHERE key = ?)"
)
# What is not there is NULL: the row itself always is.
_PHONE_STATE = (
    "SELECT (SELECT times FROM send_times WHERE key = ?),"
    " (SELECT times FROM send_times WHERE key = ?), g.wrong, g.in_a_row, g.approved,"
    " g.rebind_time, b.hour_start, b.hour_used, b.day_start, b.day_used, b.hour_cap, b.day_cap"
    " FROM (SELECT 1) LEFT JOIN guess_guard g ON g.application_id = ? AND g.phone_index = ?"
    " LEFT JOIN account_budget b ON b.account_id = ?"
)
_PUT_SEND_TIMES = "INSERT OR REPLACE INTO send_times (key, times, update_time) VALUES (?, ?, ?)"
_DROP_SEND_TIMES = "DELETE FROM send_times WHERE key = ?"
GUESSES = (
    "SELECT wrong, in_a_row, approved, rebind_time FROM guess_guard"
    " WHERE application_id = ? AND phone_index = ?"
)
_PUT_GUESSES = (
    "INSERT OR REPLACE INTO guess_guard (application_id, phone_index, wrong, in_a_row, approved,"
    " rebind_time, update_time) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_BINDING = (
    "SELECT approve_time FROM approved_binding"
    " WHERE application_id = ? AND phone_index = ? AND binding_key = ?"
)
_PUT_BINDING = (
    "INSERT OR REPLACE INTO approved_binding"
    " (application_id, phone_index, binding_key, approve_time) VALUES (?, ?, ?, ?)"
)
BUDGET = (
    "SELECT hour_start, hour_used, day_start, day_used, hour_cap, day_cap FROM account_budget"
    " WHERE account_id = ?"
)
_PUT_BUDGET = (
    "INSERT OR REPLACE INTO account_budget (account_id, hour_start, hour_used, day_start,"
    " day_used, hour_cap, day_cap) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_REQUEST = (
    "SELECT scope, method, request_id, mac, object_id, outcome, create_time FROM request"
    " WHERE scope = ? AND method = ? AND request_id = ? AND create_time > ?"
)
_PUT_REQUEST = (
    "INSERT OR REPLACE INTO request"
    " (scope, method, request_id, mac, object_id, outcome, create_time)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)


def send_and_verification(
    db: sqlite3.Connection, send_id: str
) -> tuple[Send | None, Verification | None]:
    """Read a send and what it belongs to."""
    found = db.execute(_SEND_BY_ID, (send_id,)).fetchone()
    if found is None:
        return None, None
    send = send_of(found)
    row = db.execute(VERIFICATION_BY_ID, (send.subject_id,)).fetchone()
    return send, None if row is None else verification_of(row)


def _waited_longest(due: tuple[Send, Verification | None]) -> tuple[Millis, str]:
    send = due[0]
    return max(send.due_time, send.lease_time), send.send_id


class SqliteRows:
    """Implements `Rows`; see there for what each method means."""

    __slots__ = ("_db", "_execute", "changed", "now")

    def __init__(self, tx: Transaction) -> None:
        """Work inside `tx`."""
        self._db = tx.db
        self._execute = tx.db.execute
        self.now: Millis = tx.now
        self.changed = tx.ids.append

    def verification(self, verification_id: str) -> Verification | None:
        """Return the row or None."""
        row = self._execute(VERIFICATION_BY_ID, (verification_id,)).fetchone()
        return None if row is None else verification_of(row)

    def pending(
        self, application_id: str, phone_index: bytes, purpose: str, binding_key: bytes
    ) -> Verification | None:
        """Return the one row in state PENDING for this tuple, expired or not."""
        keys = (application_id, phone_index, purpose, binding_key)
        row = self._execute(_PENDING, keys).fetchone()
        return None if row is None else verification_of(row)

    def insert_verification(self, row: Verification) -> None:
        """Add the row."""
        self._execute(_INSERT_VERIFICATION, verification_row(row))

    def update_verification(self, row: Verification) -> None:
        """Replace what may change in the row of this id."""
        self._execute(
            _UPDATE_VERIFICATION,
            (
                row.version,
                row.state._value_,
                row.channel._value_,
                row.limits_index,
                row.phone_sealed,
                row.custom_sealed,
                row.generation,
                row.checks_used,
                row.send_count,
                row.next_send_time,
                row.update_time,
                row.approve_time,
                row.receipt_kid,
                row.verification_id,
            ),
        )

    def overdue(self, limit: int) -> list[Verification]:
        """Return rows in state PENDING whose `expire_time` has come, oldest first."""
        found = self._execute(_OVERDUE, (self.now, limit)).fetchall()
        return [verification_of(row) for row in found]

    def delete_older(self, before: Millis, limit: int) -> int:
        """Delete terminal rows updated before that time, with their sends; ended notices too."""
        gone = self._execute(_DELETE_VERIFICATIONS, (before, limit)).fetchall()
        self._db.executemany(_DELETE_SENDS, gone)
        notices = self._execute(_DELETE_NOTICES, (before, limit - len(gone))).rowcount
        return len(gone) + notices

    def delete_stale(self, after: StaleKeys, limit: int) -> Swept:
        """Delete request ids after 24 h, send times after a day, idle guards and bindings."""
        return delete_stale(self._db, self.now, after, limit)

    def send(self, send_id: str) -> Send | None:
        """Return the send or None."""
        row = self._execute(_SEND_BY_ID, (send_id,)).fetchone()
        return None if row is None else send_of(row)

    def sends(self, subject_id: str) -> tuple[Send, ...]:
        """Return the sends of one verification, oldest first."""
        return tuple(map(send_of, self._execute(SENDS_OF_VERIFICATION, (subject_id,)).fetchall()))

    def insert_send(self, row: Send) -> None:
        """Add the row."""
        self._execute(_INSERT_SEND, send_row(row))

    def update_send(self, row: Send) -> None:
        """Replace what may change in the row of this id."""
        self._execute(
            _UPDATE_SEND,
            (
                row.version,
                row.carrier,
                row.state._value_,
                row.error_reason._value_,
                row.provider_id,
                row.attempts,
                row.doubts,
                row.due_time,
                row.lease_time,
                row.submit_time,
                row.update_time,
                row.send_id,
            ),
        )

    def due_sends(
        self, limit: int, except_carriers: frozenset[str]
    ) -> list[tuple[Send, Verification | None]]:
        """Return QUEUED sends whose due time and lease have passed, with their verification."""
        found = []
        queues = self._execute(QUEUE_HEADS).fetchall()
        for carrier, head in queues:
            if head <= self.now and carrier not in except_carriers:
                due = self._execute(_DUE_SENDS, (carrier, self.now, limit)).fetchall()
                found += [
                    (
                        send_of(row[:SEND_WIDTH]),
                        None if row[SEND_WIDTH] is None else verification_of(row[SEND_WIDTH:]),
                    )
                    for row in due
                ]
        if len(queues) > 1:
            found = sorted(found, key=_waited_longest)[:limit]
        return found

    def send_times(self, keys: tuple[bytes, ...]) -> Mapping[bytes, SendTimes]:
        """Return the send times kept under these two keys; absent keys are left out."""
        found = self._execute(SEND_TIMES, keys).fetchone()
        return {key: times_of(text) for key, text in zip(keys, found, strict=True) if text}

    def put_send_times(self, times: Mapping[bytes, SendTimes]) -> None:
        """Replace the send times of these keys."""
        for key, value in times.items():
            self._execute(_PUT_SEND_TIMES, (key, times_text(value), self.now))

    def drop_send_times(self, keys: tuple[bytes, ...]) -> None:
        """Forget the send times of these keys."""
        for key in keys:
            self._execute(_DROP_SEND_TIMES, (key,))

    def phone_state(self, row: Verification) -> PhoneState:
        """Return what a send to the phone of `row` must keep to, in one read."""
        phone = row.phone_index
        keys = (phone, row.limits_index, row.application_id, phone, row.account_id)
        found = self._execute(_PHONE_STATE, keys).fetchone()
        in_account, in_all = found[:2]
        return PhoneState(
            account_sends=times_of(in_account) if in_account else (),
            global_sends=times_of(in_all) if in_all else (),
            guesses=GuessGuard() if found[2] is None else guard_of(found[2:6]),
            budget=AccountBudget() if found[6] is None else AccountBudget._make(found[6:]),
        )

    def guesses(self, application_id: str, phone_index: bytes) -> GuessGuard | None:
        """Return the guard or None where nothing ever happened."""
        row = self._execute(GUESSES, (application_id, phone_index)).fetchone()
        return None if row is None else guard_of(row)

    def put_guesses(self, application_id: str, phone_index: bytes, guard: GuessGuard) -> None:
        """Replace the guard."""
        wrong, in_a_row, approved, rebind_time = guard
        values = (times_text(wrong), in_a_row, int(approved), rebind_time, self.now)
        self._execute(_PUT_GUESSES, (application_id, phone_index, *values))

    def binding_time(self, application_id: str, phone_index: bytes, binding_key: bytes) -> Millis:
        """Return when this binding was last approved, 0 for never."""
        row = self._execute(_BINDING, (application_id, phone_index, binding_key)).fetchone()
        return 0 if row is None else int(row[0])

    def put_binding(self, application_id: str, phone_index: bytes, binding_key: bytes) -> None:
        """Record that this binding was approved now."""
        self._execute(_PUT_BINDING, (application_id, phone_index, binding_key, self.now))

    def budget(self, account_id: str) -> AccountBudget:
        """Return what the account has used."""
        row = self._execute(BUDGET, (account_id,)).fetchone()
        return AccountBudget() if row is None else AccountBudget._make(row)

    def put_budget(self, account_id: str, budget: AccountBudget) -> None:
        """Replace what the account has used."""
        self._execute(_PUT_BUDGET, (account_id, *budget))

    def request(self, scope: str, method: str, request_id: str) -> StoredRequest | None:
        """Return the stored request not older than 24 hours, or None."""
        since = self.now - _REQUEST_TTL
        row = self._execute(_REQUEST, (scope, method, request_id, since)).fetchone()
        return None if row is None else StoredRequest._make(row)

    def put_request(self, row: StoredRequest) -> None:
        """Add the stored request; one that is too old to count makes way."""
        self._execute(_PUT_REQUEST, row)

    def append_leaf(self, leaf: Leaf) -> None:
        """Append to the audit log."""
        append_leaf(self._db, leaf)
