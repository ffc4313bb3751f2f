"""What must hold after every step, whatever it was: read from the store, not from the server."""

import asyncio
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
)
from tests.machine.oracle import (
    DAY,
    SECOND,
    Oracle,
    Outcome,
    Phone,
    Verification,
    within,
)
from tests.machine.world import World
from tests.support.places import PLACES

from watchword.verification import model

PHONES = ("+12127364981", "+16463287190", "+14152639475")
# Eight digits, so that none of them stands in a file by chance.
LENGTH = 8
MINUTE, HOUR = 60 * SECOND, 3_600 * SECOND
TERMINAL = {"APPROVED", "CANCELED", "EXPIRED", "EXHAUSTED", "FAILED"}

T = TypeVar("T")


def row_of(row: model.Verification) -> tuple[object, ...]:
    """Return what the oracle says of a row, too."""
    return (
        *(row.state, row.generation, row.checks_used, row.send_count),
        *(row.next_send_time, row.expire_time, row.approve_time),
    )


class Promises(RuleBasedStateMachine):
    """A deployment with an oracle beside it, and the promises that both must keep."""

    store: ClassVar[str]
    outcomes: ClassVar[Counter[Outcome]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="watchword-machine-"))
        self.loop = asyncio.Runner()
        self.world = World(PLACES[self.store], self.root)
        self.oracle = Oracle([Phone() for _ in PHONES])
        self.seen: dict[str, str] = {}
        self.approvals: Counter[str] = Counter()

    @initialize()
    def open(self) -> None:
        self.run(self.world.begin())

    def teardown(self) -> None:
        if hasattr(self.world, "parts"):
            self.run(self.world.close())
        self.loop.close()
        shutil.rmtree(self.root)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    @property
    def now(self) -> int:
        return self.world.clock.now()

    @property
    def rows(self) -> dict[str, Verification]:
        return {row.verification_id: row for row in self.oracle.verifications}

    @property
    def any_pending(self) -> bool:
        return any(row.state == "PENDING" for row in self.oracle.verifications)

    # --------------------------------------------------------------- invariants

    @invariant()
    def the_store_holds_what_the_oracle_says(self) -> None:
        assert {name: row_of(row) for name, row in self.world.committed.verifications.items()} == {
            verification_id: row.row for verification_id, row in self.rows.items()
        }

    @invariant()
    def no_state_moves_backwards(self) -> None:
        for row in self.oracle.verifications:
            before = self.seen.get(row.verification_id, "PENDING")
            assert before == row.state or before not in TERMINAL
            self.seen[row.verification_id] = row.state

    @invariant()
    def nothing_is_approved_twice_or_unasked(self) -> None:
        for row in self.oracle.verifications:
            approved = row.state == "APPROVED"
            assert self.approvals[row.verification_id] == approved
            assert not approved or any(
                message.verification_id == row.verification_id
                for message in self.world.carrier.taken
            )

    @invariant()
    def guesses_stay_within_the_budget(self) -> None:
        for row in self.oracle.verifications:
            assert row.checks_used <= 5
        for phone in self.oracle.phones:
            assert len(within(phone.wrong, self.now, DAY)) <= 10

    @invariant()
    def sends_stay_within_the_budget_and_are_recorded_first(self) -> None:
        sends = self.world.committed.sends
        times = Counter(message.send_id for message in self.world.carrier.taken)
        for send_id, count in times.items():
            assert count <= min(2, sends[send_id].attempts)
        codes = {(m.send_id, m.code.reveal()) for m in self.world.carrier.taken}
        assert len(codes) == len(times), "a repeated message with another code"
        assert all(row.send_count <= 5 for row in self.oracle.verifications)

    @invariant()
    def every_change_has_one_audit_leaf(self) -> None:
        committed = self.world.committed
        leaves = Counter(leaf[1:3] for leaf in committed.leaves if leaf.kind == "verification")
        assert leaves == {
            (name, version): 1
            for name, row in committed.verifications.items()
            for version in range(1, row.version + 1)
        }

    @invariant()
    def nothing_personal_is_at_rest_or_logged(self) -> None:
        secrets = {phone[2:] for phone in PHONES}
        secrets |= {message.code.reveal() for message in self.world.carrier.taken}
        pattern = re.compile(b"|".join(secret.encode() for secret in sorted(secrets)))
        for name, content in (*self.world.place.at_rest(), ("log", b"".join(self.world.lines))):
            assert pattern.search(content) is None, name
