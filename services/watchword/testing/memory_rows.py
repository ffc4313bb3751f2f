"""The verification's rows in dictionaries: what `Rows` says, as plainly as it can be said."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from watchword.audit.leaf import Leaf
from watchword.core.errors import DomainError
from watchword.core.ports import DAY, ChangeBus, Clock, Millis
from watchword.delivery.outbox import Send, SendKind, SendState
from watchword.fraud.budget import AccountBudget
from watchword.fraud.limits import KNOWN_BINDING_TTL, THIRTY_DAYS, GuessGuard, SendTimes
from watchword.verification.model import State, Verification
from watchword.verification.rows import PhoneState, StaleKeys, StoredRequest, Swept

T = TypeVar("T")


@dataclass
class Tables:
    """Everything that is kept; times beside values tell when they were written."""

    verifications: dict[str, Verification] = field(default_factory=dict)
    sends: dict[str, Send] = field(default_factory=dict)
    send_times: dict[bytes, tuple[SendTimes, Millis]] = field(default_factory=dict)
    guesses: dict[tuple[str, bytes], tuple[GuessGuard, Millis]] = field(default_factory=dict)
    bindings: dict[tuple[str, bytes, bytes], Millis] = field(default_factory=dict)
    budgets: dict[str, AccountBudget] = field(default_factory=dict)
    requests: dict[tuple[str, str, str], StoredRequest] = field(default_factory=dict)
    leaves: dict[int, Leaf] = field(default_factory=dict)

    def copy(self) -> "Tables":
        """Return tables with the same rows that change apart from these."""
        return Tables(*(dict(getattr(self, f.name)) for f in fields(self)))


class MemoryEngine:
    """Runs commands one at a time, each whole or not at all."""

    def __init__(self, clock: Clock, bus: ChangeBus) -> None:
        """Begin empty."""
        self.clock = clock
        self.tables = Tables()
        self._bus = bus

    async def write(self, command: "Callable[[MemoryRows], T | DomainError]") -> T:
        """Run `command`; what it returns is kept, a `DomainError` is then raised."""
        before = self.tables.copy()
        rows = MemoryRows(self.tables, self.clock.now())
        try:
            outcome = command(rows)
        except BaseException:
            self.tables = before
            raise
        for object_id in dict.fromkeys(rows.ids):
            self._bus.publish(object_id)
        if isinstance(outcome, DomainError):
            raise outcome
        return outcome


class MemoryRows:
    """Implements `Rows`; see there for what each method means."""

    def __init__(self, tables: Tables, now: Millis) -> None:
        """Work on `tables` at `now`."""
        self.tables = tables
        self.now = now
        self.ids: list[str] = []

    def verification(self, verification_id: str) -> Verification | None:
        """Return the row or None."""
        return self.tables.verifications.get(verification_id)

    def pending(
        self, application_id: str, phone_index: bytes, purpose: str, binding_key: bytes
    ) -> Verification | None:
        """Return the one row in state PENDING for this tuple, expired or not."""
        wanted = (application_id, phone_index, purpose, binding_key)
        for v in self.tables.verifications.values():
            found = (v.application_id, v.phone_index, v.purpose, v.binding_key)
            if found == wanted and v.state is State.PENDING:
                return v
        return None

    def insert_verification(self, row: Verification) -> None:
        """Add the row; a second one of its id or its pending tuple is a fault."""
        keys = (row.application_id, row.phone_index, row.purpose, row.binding_key)
        assert row.verification_id not in self.tables.verifications
        assert row.state is not State.PENDING or self.pending(*keys) is None
        self.tables.verifications[row.verification_id] = row

    def update_verification(self, row: Verification) -> None:
        """Replace the row of this id."""
        assert row.verification_id in self.tables.verifications
        self.tables.verifications[row.verification_id] = row

    def overdue(self, limit: int) -> list[Verification]:
        """Return rows in state PENDING whose `expire_time` has come, oldest first."""
        found = [
            v
            for v in self.tables.verifications.values()
            if v.state is State.PENDING and v.expire_time <= self.now
        ]
        return sorted(found, key=lambda v: (v.expire_time, v.verification_id))[:limit]

    def delete_older(self, before: Millis, limit: int) -> int:
        """Delete terminal rows updated before that time, with their sends; ended notices too."""
        ended = [
            v
            for v in self.tables.verifications.values()
            if v.state is not State.PENDING and v.update_time < before
        ]
        gone = {v.verification_id for v in sorted(ended, key=lambda v: v.update_time)[:limit]}
        notices = [
            s
            for s in self.tables.sends.values()
            if s.kind is SendKind.NOTICE
            and s.state is not SendState.QUEUED
            and s.update_time < before
        ]
        notices = sorted(notices, key=lambda s: s.update_time)[: limit - len(gone)]
        for verification_id in gone:
            del self.tables.verifications[verification_id]
        sends = [s.send_id for s in self.tables.sends.values() if s.subject_id in gone]
        for send_id in (*sends, *(s.send_id for s in notices)):
            del self.tables.sends[send_id]
        return len(gone) + len(notices)

    def delete_stale(self, after: StaleKeys, limit: int) -> Swept:
        """Delete request ids after 24 h, send times after a day, idle guards and bindings."""
        t, now = self.tables, self.now
        requests, times, bindings, guards = after
        parts = (
            _walk(t.requests, requests, limit, lambda row: row.create_time <= now - DAY),
            _walk(t.send_times, times, limit, lambda row: row[1] <= now - DAY),
            _walk(t.bindings, bindings, limit, lambda time: time <= now - KNOWN_BINDING_TTL),
            _walk(t.guesses, guards, limit, lambda row: _idle(*row, now)),
        )
        return Swept(sum(count for count, _ in parts), tuple(key for _, key in parts))

    def send(self, send_id: str) -> Send | None:
        """Return the send or None."""
        return self.tables.sends.get(send_id)

    def sends(self, subject_id: str) -> tuple[Send, ...]:
        """Return the sends of one verification, oldest first."""
        found = (s for s in self.tables.sends.values() if s.subject_id == subject_id)
        return tuple(sorted(found))

    def insert_send(self, row: Send) -> None:
        """Add the row."""
        assert row.send_id not in self.tables.sends
        self.tables.sends[row.send_id] = row

    def update_send(self, row: Send) -> None:
        """Replace the row of this id."""
        assert row.send_id in self.tables.sends
        self.tables.sends[row.send_id] = row

    def due_sends(
        self, limit: int, except_carriers: frozenset[str]
    ) -> list[tuple[Send, Verification | None]]:
        """Return QUEUED sends whose due time and lease have passed, with their verification."""
        queued = [
            s
            for s in self.tables.sends.values()
            if s.state is SendState.QUEUED and s.carrier not in except_carriers
        ]
        due = sorted(
            (s for s in queued if next_time(s) <= self.now),
            key=lambda s: (next_time(s), s.send_id),
        )
        return [(s, self.verification(s.subject_id)) for s in due[:limit]]

    def send_times(self, keys: tuple[bytes, ...]) -> Mapping[bytes, SendTimes]:
        """Return the send times kept under these keys; absent keys are left out."""
        kept = self.tables.send_times
        return {key: kept[key][0] for key in keys if key in kept}

    def put_send_times(self, times: Mapping[bytes, SendTimes]) -> None:
        """Replace the send times of these keys."""
        for key, value in times.items():
            self.tables.send_times[key] = (value, self.now)

    def drop_send_times(self, keys: tuple[bytes, ...]) -> None:
        """Forget the send times of these keys."""
        for key in keys:
            self.tables.send_times.pop(key, None)

    def phone_state(self, row: Verification) -> PhoneState:
        """Return what a send to the phone of `row` must keep to."""
        times = self.send_times((row.phone_index, row.limits_index))
        return PhoneState(
            account_sends=times.get(row.phone_index, ()),
            global_sends=times.get(row.limits_index, ()),
            guesses=self.guesses(row.application_id, row.phone_index) or GuessGuard(),
            budget=self.budget(row.account_id),
        )

    def guesses(self, application_id: str, phone_index: bytes) -> GuessGuard | None:
        """Return the guard or None where nothing ever happened."""
        kept = self.tables.guesses.get((application_id, phone_index))
        return None if kept is None else kept[0]

    def put_guesses(self, application_id: str, phone_index: bytes, guard: GuessGuard) -> None:
        """Replace the guard."""
        self.tables.guesses[application_id, phone_index] = (guard, self.now)

    def binding_time(self, application_id: str, phone_index: bytes, binding_key: bytes) -> Millis:
        """Return when this binding was last approved, 0 for never."""
        return self.tables.bindings.get((application_id, phone_index, binding_key), 0)

    def put_binding(self, application_id: str, phone_index: bytes, binding_key: bytes) -> None:
        """Record that this binding was approved now."""
        self.tables.bindings[application_id, phone_index, binding_key] = self.now

    def budget(self, account_id: str) -> AccountBudget:
        """Return what the account has used."""
        return self.tables.budgets.get(account_id, AccountBudget())

    def put_budget(self, account_id: str, budget: AccountBudget) -> None:
        """Replace what the account has used."""
        self.tables.budgets[account_id] = budget

    def request(self, scope: str, method: str, request_id: str) -> StoredRequest | None:
        """Return the stored request not older than 24 hours, or None."""
        row = self.tables.requests.get((scope, method, request_id))
        return row if row is not None and row.create_time > self.now - DAY else None

    def put_request(self, row: StoredRequest) -> None:
        """Add the stored request; one that is too old to count makes way."""
        self.tables.requests[row[:3]] = row

    def append_leaf(self, leaf: Leaf) -> None:
        """Append to the audit log."""
        self.tables.leaves[len(self.tables.leaves)] = leaf

    def changed(self, object_id: str) -> None:
        """Note what the change bus is told once the command is kept."""
        self.ids.append(object_id)


def next_time(send: Send) -> Millis:
    """Return when a queued send may be claimed: it is due and nobody leases it."""
    return max(send.due_time, send.lease_time)


def _idle(guard: GuessGuard, time: Millis, now: Millis) -> bool:
    if guard.rebind_time > now or (guard.approved and guard.in_a_row):
        return False
    return time <= now - (KNOWN_BINDING_TTL if guard.approved else THIRTY_DAYS)


V = TypeVar("V")
Key = tuple[str | bytes, ...]


def _walk(
    table: dict[Any, V], after: Key, limit: int, stale: Callable[[V], bool]
) -> tuple[int, Key]:
    """Delete the stale among the next `limit` rows; returns how many, and the last key seen."""
    keys = {key if isinstance(key, tuple) else (key,): key for key in table}
    seen = sorted(key for key in keys if key > after)[:limit]
    gone = [keys[key] for key in seen if stale(table[keys[key]])]
    for key in gone:
        del table[key]
    return len(gone), seen[-1] if len(seen) == limit else ()
