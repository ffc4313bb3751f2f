"""`VerificationStore` and `Outbox` in memory, over the shared atomic commands."""

from collections.abc import Sequence

from watchword.audit.leaf import LeafMaker
from watchword.core.errors import DomainError, NotFound
from watchword.core.ports import Millis
from watchword.delivery.carrier import Receipt
from watchword.delivery.outbox import NO_CARRIERS, Claimed, OutboxDepth, Result, Send, SendState
from watchword.fraud.budget import AccountBudget
from watchword.fraud.limits import GuessGuard, PhoneLimits
from watchword.testing.memory_rows import MemoryEngine, MemoryRows, next_time
from watchword.verification import commands, model, outbox_commands
from watchword.verification.checking import CheckCommand
from watchword.verification.model import State, Verification
from watchword.verification.outbox_commands import ClaimCommand
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


class MemoryVerificationStore:
    """Implements `VerificationStore`; see there for what each method means and raises."""

    def __init__(self, engine: MemoryEngine, leaves: LeafMaker) -> None:
        """Run on `engine`."""
        self._engine = engine
        self._leaves = leaves
        self._after = FROM_THE_START

    async def start(self, command: StartCommand) -> StartOutcome:
        """Begin or resend."""
        return await self._engine.write(lambda rows: commands.start(rows, self._leaves, command))

    async def resend(self, command: ResendCommand) -> StartOutcome:
        """Queue one more send."""

        def run(rows: MemoryRows) -> StartOutcome | DomainError:
            return commands.resend(rows, self._leaves, command)

        return await self._engine.write(run)

    async def check(self, command: CheckCommand) -> CheckOutcome:
        """Judge a code."""
        return await self._engine.write(lambda rows: commands.check(rows, self._leaves, command))

    async def cancel(self, command: CancelCommand) -> Snapshot:
        """Cancel."""

        def run(rows: MemoryRows) -> Snapshot | DomainError:
            return commands.cancel(rows, self._leaves, command)

        return await self._engine.write(run)

    async def rebind(self, command: RebindCommand) -> RebindOutcome:
        """Schedule the end of a hard stop."""
        return await self._engine.write(lambda rows: commands.rebind(rows, self._leaves, command))

    async def get(self, verification_id: str, account_id: str, application_id: str) -> Snapshot:
        """Read the committed state; one found expired is written so first."""
        await self._expire_where_over(verification_id)
        row = self._rows().verification(verification_id)
        if row is None or (row.account_id, row.application_id) != (account_id, application_id):
            raise NotFound("no such verification")
        return self._snapshot(row)

    async def pending_ids(
        self, application_id: str, phone_index: bytes, purpose: str, binding_key: bytes | None
    ) -> "list[str]":
        """Return up to two pending verifications in time."""
        rows = self._rows()
        wanted = (application_id, phone_index, purpose, State.PENDING)
        return sorted(
            v.verification_id
            for v in rows.tables.verifications.values()
            if (v.application_id, v.phone_index, v.purpose, v.state) == wanted
            and binding_key in (None, v.binding_key)
            and v.expire_time > rows.now
        )[:2]

    async def list(self, query: ListQuery) -> list[Snapshot]:
        """Read one page; what is found expired is written so first."""
        rows = self._rows()
        shown = (model.expired(row, rows.now) for row in rows.tables.verifications.values())
        page = sorted((row.verification_id for row in shown if _listed(row, query)), reverse=True)
        page = page[: query.limit]
        for verification_id in page:
            await self._expire_where_over(verification_id)
        known = self._engine.tables.verifications
        return [self._snapshot(known[verification_id]) for verification_id in page]

    async def usage(
        self, account_id: str, application_id: str, send_key: bytes, phone_index: bytes
    ) -> PhoneUsage:
        """Read what the limits on a phone have used."""
        rows = self._rows()
        return PhoneUsage(
            sends=rows.send_times((send_key,)).get(send_key, ()),
            guesses=rows.guesses(application_id, phone_index) or GuessGuard(),
            budget=rows.tables.budgets.get(account_id, AccountBudget()),
            now=rows.now,
        )

    async def sweep(self, retention: Millis, limit: int) -> int:
        """Expire what is over and delete what is older than `retention`; returns rows touched."""

        def run(rows: MemoryRows) -> int:
            expired = commands.expire_overdue(rows, self._leaves, limit)
            older = rows.delete_older(rows.now - retention, limit)
            swept = rows.delete_stale(self._after, STALE_LOOKS * limit)
            self._after = swept.after
            return expired + older + swept.deleted

        return await self._engine.write(run)

    async def _expire_where_over(self, verification_id: str) -> None:
        def run(rows: MemoryRows) -> None:
            commands.expire(rows, self._leaves, verification_id)

        await self._engine.write(run)

    def _rows(self) -> MemoryRows:
        return MemoryRows(self._engine.tables, self._engine.clock.now())

    def _snapshot(self, row: Verification) -> Snapshot:
        rows = self._rows()
        return Snapshot(row, rows.sends(row.verification_id), rows.now)


class MemoryOutbox:
    """Implements `Outbox`; see there for what each method means."""

    def __init__(self, engine: MemoryEngine, leaves: LeafMaker) -> None:
        """Run on `engine`."""
        self._engine = engine
        self._leaves = leaves

    async def claim(
        self,
        limit: int,
        lease: Millis,
        limits: PhoneLimits,
        except_carriers: frozenset[str] = NO_CARRIERS,
    ) -> Claimed:
        """Lease up to `limit` due sends, and end those that must not go."""
        command = ClaimCommand(limit, lease, limits, except_carriers)
        return await self._engine.write(
            lambda rows: outbox_commands.claim(rows, self._leaves, command)
        )

    async def wanted(self, send_id: str) -> bool:
        """Tell whether a send should still go."""
        tables = self._engine.tables
        send = tables.sends.get(send_id)
        row = None if send is None else tables.verifications.get(send.subject_id)
        return outbox_commands.wanted(send, row)

    async def settle(self, results: Sequence[Result], limits: PhoneLimits) -> list[Send | None]:
        """Record what came of attempts, all or none."""
        return await self._engine.write(
            lambda rows: outbox_commands.settle(rows, self._leaves, results, limits)
        )

    async def receive(self, receipt: Receipt) -> Send | None:
        """Record a delivery receipt."""
        return await self._engine.write(
            lambda rows: outbox_commands.receive(rows, self._leaves, receipt)
        )

    async def next_due_time(self, except_carriers: frozenset[str] = NO_CARRIERS) -> Millis | None:
        """Return when the next send is due or its lease ends."""
        waiting = (s for s in self._queued() if s.carrier not in except_carriers)
        return min(map(next_time, waiting), default=None)

    async def depth(self) -> OutboxDepth:
        """Return how much waits."""
        queued, now = self._queued(), self._engine.clock.now()
        return OutboxDepth(len(queued), max([0, *(now - s.due_time for s in queued)]))

    def _queued(self) -> list[Send]:
        return [s for s in self._engine.tables.sends.values() if s.state is SendState.QUEUED]


def _listed(row: Verification, query: ListQuery) -> bool:
    return (
        (row.account_id, row.application_id) == (query.account_id, query.application_id)
        and query.phone_index in (b"", row.phone_index)
        and query.state in (None, row.state)
        and (not query.before or row.verification_id < query.before)
    )
