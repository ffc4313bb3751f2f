"""The oracle: sees acknowledged replies, messages and committed rows, and nothing else."""

import re
from collections import defaultdict
from typing import NamedTuple

from tests.simulation.budgets import Budgets
from tests.simulation.findings import Findings
from tests.simulation.network import Taken
from tests.simulation.replica import INDEX, KEYED, LEASE
from tests.simulation.rows import Rows
from tests.simulation.trouble import StoreClock
from tests.support.places import Place

from watchword.core.ports import SECOND
from watchword.delivery.carrier import Message
from watchword.tenancy.model import Caller, Resend
from watchword.verification.model import State, Verification

Action = tuple[tuple[str, str], ...]
_MOST_COPIES = 2
# How long a commit may take, and longer (seconds).
_SLACK = 5.0


class Submission(NamedTuple):
    """A code that somebody sent in, and what for."""

    caller: Caller
    code: str
    purpose: str
    action: Action
    binding: bytes

    def fits(self, row: Verification) -> bool:
        """Tell whether it is for the row's own application, purpose, action and binding."""
        account, application = self.caller.account_id, self.caller.application_id
        return (
            (row.account_id, row.application_id, row.purpose)
            == (account, application, self.purpose)
            and row.action_mac == KEYED.action(account, application, dict(self.action))
            and row.binding_key == KEYED.binding(account, application, self.binding)
        )


class Oracle:
    """Checks the promises after every step; see `findings.INVARIANTS`."""

    def __init__(
        self, place: Place, findings: Findings, clock: StoreClock, accounts: list[str]
    ) -> None:
        self._place = place
        self._clock = clock
        self._moved_time = -_SLACK
        self._findings = findings
        self._hold = findings.hold
        known = {(name, INDEX.phone(name, phone)): phone for name in accounts for phone in PHONES}
        self.phones = known
        self.budgets = Budgets(findings, known)
        self.rows = Rows(findings, self.budgets, LEASE)
        self.codes: dict[tuple[str, int], str] = {}
        self.submissions: defaultdict[str, list[Submission]] = defaultdict(list)
        self._copies: defaultdict[str, int] = defaultdict(int)
        self._secrets = [phone[2:].encode() for phone in PHONES]
        self._lines: list[bytes] = []

    # ------------------------------------------------------------------- the store

    def step(self) -> None:
        """Look at what was committed by the step that has just been made."""
        self._findings.check()
        if self._place.changed():
            for row in self.rows.look(self._place.committed()):
                self._approved(row)

    def row(self, verification_id: str) -> Verification | None:
        """Return the committed row."""
        self.step()
        return self.rows.now.verifications.get(verification_id)

    def clock_moved(self) -> None:
        """Take note of a clock that was set."""
        self.budgets.clock_moved(self._clock.now())
        self._moved_time = self._clock.elapsed

    def live_codes(self, row: Verification) -> set[str]:
        """Return the codes that were issued and that the row accepts."""
        live = {row.generation}
        if row.resend is Resend.LAST_TWO:
            live.add(row.generation - 1)
        found = (self.codes.get((row.verification_id, generation)) for generation in live)
        return {code for code in found if code is not None}

    def _approved(self, row: Verification) -> None:
        codes = self.live_codes(row)
        told = any(
            submission.code in codes and submission.fits(row)
            for submission in self.submissions[row.verification_id]
        )
        self._hold(4, "approved without a matching code", true=told)
        self._hold(4, "approved too late", true=row.approve_time < row.expire_time)
        # A command that the clock overtook was decided by what it showed before.
        if self._clock.elapsed - self._moved_time >= _SLACK:
            late = abs(self._clock.now() - row.approve_time)
            self._hold(4, "approved at another time", true=late < _SLACK * SECOND)

    # ------------------------------------------------------------------ the carrier

    def called(self, message: Message) -> None:
        """Hold a carrier's call against the record of it, which must be there already."""
        self.step()
        send = self.rows.now.sends.get(message.send_id)
        self._hold(7, "a message without a record", true=send is not None)
        assert send is not None
        number = int(message.attempt_id.rpartition(".")[2])
        self._hold(7, "an attempt without a record", true=1 <= number <= send.attempts)
        self._hold(7, "a withheld message is sent", true=not send.withheld)
        row = self.rows.now.verifications[message.verification_id]
        to = self.phones[row.account_id, row.phone_index]
        self._hold(5, "a message to another phone", true=message.to.reveal() == to)
        code = message.code.reveal()
        key = (row.verification_id, send.generation)
        self._hold(4, "a repeat with another code", true=self.codes.get(key, code) == code)
        if key not in self.codes:
            self.codes[key] = code
            self._secrets.append(code.encode())

    def took(self, message: Taken) -> None:
        """Count the copies of a message that reached the phone."""
        self._copies[message.send_id] += 1
        self._hold(7, "three copies", true=self._copies[message.send_id] <= _MOST_COPIES)

    # --------------------------------------------------------------------- the log

    def logged(self, line: bytes) -> None:
        """Take a log line."""
        self._lines.append(line)

    def told(self, text: str) -> None:
        """Take a text that a caller sees."""
        self._lines.append(text.encode())

    def finish(self) -> None:
        """Read all that was logged and told, now that every secret is known."""
        self.step()
        pattern = re.compile(b"|".join(map(re.escape, self._secrets)))
        for line in self._lines:
            self._hold(6, "a secret in a text", true=pattern.search(line) is None)
        ended = all(row.state is not State.PENDING for row in self.rows.now.verifications.values())
        self._hold(11, "a verification is pending past its time", true=ended)


PHONES = ("+12127364981", "+16463287190", "+14152639475", "+13124918305", "+16172538841")
"""The people; few, so that both accounts know some of them."""
