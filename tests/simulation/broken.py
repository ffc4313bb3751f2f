"""Stores that break a promise on purpose: the simulator must catch each of them.

All of them are the memory store with one thing wrong.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from watchword.audit.leaf import LeafMaker
from watchword.core.ports import SECOND, Millis
from watchword.delivery.outbox import NO_CARRIERS, Claimed
from watchword.fraud.limits import PhoneLimits
from watchword.server.plugins import Stores
from watchword.testing.clock import FakeClock
from watchword.testing.memory_rows import MemoryEngine
from watchword.testing.memory_verification import MemoryOutbox, MemoryVerificationStore
from watchword.verification.checking import CheckCommand
from watchword.verification.model import State
from watchword.verification.starting import StartCommand
from watchword.verification.store import CancelCommand, CheckOutcome, Snapshot, StartOutcome


class Store(MemoryVerificationStore):
    """The memory store, with its engine at hand."""

    def __init__(self, engine: MemoryEngine, leaves: LeafMaker) -> None:
        super().__init__(engine, leaves)
        self.engine = engine


class ApprovesTwice(Store):
    async def check(self, command: CheckCommand) -> CheckOutcome:
        outcome = await super().check(command)
        row = outcome.snapshot.verification
        if row.state is State.APPROVED and command.matches >> row.generation & 1:
            return outcome._replace(approved=True, rejection=None)
        return outcome


class ForgetsGuesses(Store):
    async def check(self, command: CheckCommand) -> CheckOutcome:
        before = self.engine.tables.copy()
        outcome = await super().check(command)
        if outcome.rejection is not None:
            self.engine.tables = before
        return outcome


class KeepsNoGuard(Store):
    """Counts the checks of a verification, and not those of the phone."""

    async def check(self, command: CheckCommand) -> CheckOutcome:
        outcome = await super().check(command)
        self.engine.tables.guesses.clear()
        return outcome


class AnswersEarly(Store):
    """Says what it has not committed."""

    async def check(self, command: CheckCommand) -> CheckOutcome:
        before = self.engine.tables.copy()
        outcome = await super().check(command)
        if outcome.approved:
            self.engine.tables = before
        return outcome


class LosesCancels(Store):
    async def cancel(self, command: CancelCommand) -> Snapshot:
        before = self.engine.tables.copy()
        snapshot = await super().cancel(command)
        self.engine.tables = before
        return snapshot


class LosesUpdates(Store):
    """Reads, thinks, and writes over what others have written meanwhile."""

    async def check(self, command: CheckCommand) -> CheckOutcome:
        own = MemoryEngine(self.engine.clock, self.engine._bus)
        own.tables = self.engine.tables.copy()
        outcome = await MemoryVerificationStore(own, self._leaves).check(command)
        await asyncio.sleep(0.01)
        self.engine.tables = own.tables
        return outcome


class LeavesTwoLeaves(Store):
    async def check(self, command: CheckCommand) -> CheckOutcome:
        outcome = await super().check(command)
        leaves = self.engine.tables.leaves
        leaves[len(leaves)] = leaves[len(leaves) - 1]
        return outcome


class LeavesNoLeaf(Store):
    async def cancel(self, command: CancelCommand) -> Snapshot:
        before = dict(self.engine.tables.leaves)
        snapshot = await super().cancel(command)
        self.engine.tables.leaves = before
        return snapshot


class ForgetsExpiry(Store):
    """Says that the time is over and does not write it down."""

    async def check(self, command: CheckCommand) -> CheckOutcome:
        row = self.engine.tables.verifications.get(command.verification_id)
        outcome = await super().check(command)
        expired = outcome.snapshot.verification.state is State.EXPIRED
        if row is not None and row.state is State.PENDING and expired:
            self.engine.tables.verifications[row.verification_id] = row
            self.engine.tables.leaves.popitem()
        return outcome


class ForgetsRequests(Store):
    async def start(self, command: StartCommand) -> StartOutcome:
        return await super().start(command._replace(request=None))

    async def check(self, command: CheckCommand) -> CheckOutcome:
        return await super().check(command._replace(request=None))


class TellsStrangers(Store):
    async def get(self, verification_id: str, account_id: str, application_id: str) -> Snapshot:
        row = self.engine.tables.verifications.get(verification_id)
        if row is not None:
            account_id, application_id = row.account_id, row.application_id
        return await super().get(verification_id, account_id, application_id)


class IgnoresTheDeed(Store):
    """Takes a code for any action and purpose."""

    async def check(self, command: CheckCommand) -> CheckOutcome:
        row = self.engine.tables.verifications.get(command.verification_id)
        if row is not None:
            command = command._replace(action_mac=row.action_mac, purpose=row.purpose)
        return await super().check(command)


class AcceptsAnyCode(Store):
    async def check(self, command: CheckCommand) -> CheckOutcome:
        return await super().check(command._replace(matches=0xFF))


class IgnoresTime(Store):
    """Judges every code as if it came in time."""

    async def check(self, command: CheckCommand) -> CheckOutcome:
        row = self.engine.tables.verifications.get(command.verification_id)
        clock = self.engine.clock
        if row is not None:
            self.engine.clock = FakeClock(min(clock.now(), row.expire_time - 1))
        try:
            return await super().check(command)
        finally:
            self.engine.clock = clock


class SendsTooMuch(Store):
    """Has its own idea of how often a phone may be sent to."""

    async def start(self, command: StartCommand) -> StartOutcome:
        loose = PhoneLimits(sends_per_hour=100, sends_per_day=100, first_cooldown=SECOND)
        sending = command.sending._replace(limits=loose)
        return await super().start(command._replace(sending=sending))


class SendsUnrecorded(Store):
    """Hands a message over whose attempt it did not record."""

    async def start(self, command: StartCommand) -> StartOutcome:
        outcome = await super().start(command)
        if outcome.claim is not None:
            send = outcome.claim.send
            bare = send._replace(attempts=0, lease_time=0)
            self.engine.tables.sends[send.send_id] = bare
        return outcome


class Hangs(Store):
    """Now and then never answers."""

    calls = 0

    async def check(self, command: CheckCommand) -> CheckOutcome:
        self.calls += 1
        if self.calls % 5 == 0:
            await asyncio.Event().wait()
        return await super().check(command)


class CrashesOnRaces(Store):
    """Lets an error through that is none of the closed set."""

    async def check(self, command: CheckCommand) -> CheckOutcome:
        row = self.engine.tables.verifications.get(command.verification_id)
        if row is not None and row.state is State.APPROVED:
            raise KeyError(command.verification_id)
        return await super().check(command)


class ClaimsTwice(MemoryOutbox):
    """Hands out what another dispatcher has, as if its lease were over."""

    async def claim(
        self,
        limit: int,
        lease: Millis,
        limits: PhoneLimits,
        except_carriers: frozenset[str] = NO_CARRIERS,
    ) -> Claimed:
        claimed = await super().claim(limit, lease, limits, except_carriers)
        sends = self._engine.tables.sends
        for claim in claimed.claims:
            sends[claim.send.send_id] = sends[claim.send.send_id]._replace(lease_time=0)
        return claimed


class Broken(NamedTuple):
    """A broken store, and the invariants of which one must be found broken."""

    breaks: Callable[[Stores], Stores]
    invariants: set[int]


def _with(kind: type[Store]) -> Callable[[Stores], Stores]:
    def breaks(stores: Any) -> Stores:
        stores.verification = kind(stores.engine, stores.verification._leaves)
        broken: Stores = stores
        return broken

    return breaks


def _with_outbox(stores: Any) -> Stores:
    stores.outbox = ClaimsTwice(stores.engine, stores.outbox._leaves)
    broken: Stores = stores
    return broken


BROKEN = {
    "approves twice": Broken(_with(ApprovesTwice), {1}),
    "forgets guesses": Broken(_with(ForgetsGuesses), {2, 3}),
    "keeps no guard": Broken(_with(KeepsNoGuard), {2}),
    "answers early": Broken(_with(AnswersEarly), {3, 12}),
    "loses cancels": Broken(_with(LosesCancels), {3}),
    "loses updates": Broken(_with(LosesUpdates), {3, 10, 11}),
    "leaves two leaves": Broken(_with(LeavesTwoLeaves), {10}),
    "leaves no leaf": Broken(_with(LeavesNoLeaf), {10}),
    "forgets expiry": Broken(_with(ForgetsExpiry), {3, 11}),
    "forgets requests": Broken(_with(ForgetsRequests), {3}),
    "tells strangers": Broken(_with(TellsStrangers), {5}),
    "ignores the deed": Broken(_with(IgnoresTheDeed), {4}),
    "accepts any code": Broken(_with(AcceptsAnyCode), {4}),
    "ignores time": Broken(_with(IgnoresTime), {4}),
    "sends too much": Broken(_with(SendsTooMuch), {7}),
    "sends unrecorded": Broken(_with(SendsUnrecorded), {7, 11}),
    "claims twice": Broken(_with_outbox, {7, 11}),
    "hangs": Broken(_with(Hangs), {12}),
    "crashes on races": Broken(_with(CrashesOnRaces), {12}),
}
