"""What callers were told, and what must be committed because they were told so."""

from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.simulation.findings import Findings
from tests.simulation.oracle import Oracle, Submission

from watchword.core.ports import MINUTE, Millis
from watchword.verification.model import State, Verification
from watchword.verification.service import VerificationService

Answer = tuple[str | int, ...]
"""("started", id), ("approved", receipt), ("rejected", reason, remaining), ("canceled",),
("read",) or ("error", reason)."""

UNKNOWN: Answer = ()
RECEIPT_TTL = 5 * MINUTE
_COMPARED = {"WRONG_CODE", "SUPERSEDED", "BINDING_MISMATCH"}
_ENDED = {
    "ALREADY_USED": State.APPROVED,
    "CANCELED": State.CANCELED,
    "EXPIRED": State.EXPIRED,
    "EXHAUSTED": State.EXHAUSTED,
    "FAILED": State.FAILED,
}
_REFUSALS = {
    *("SEND_COOLDOWN", "SEND_BUDGET_EXHAUSTED", "GUESS_BUDGET_EXHAUSTED"),
    *("VERIFICATION_CLOSED", "VERIFICATION_NOT_FOUND"),
}


@dataclass
class Ask:
    """One request of an effect, and what was answered; UNKNOWN while nobody knows."""

    kind: str
    request_id: str
    submission: Submission
    verification_id: str
    time: Millis
    call: Callable[[VerificationService], Coroutine[Any, Any, Any]]
    foreign: bool = False
    phone: str = ""
    answer: Answer = UNKNOWN
    clear: bool = False
    """Whether a right code is sure to be one: no clock was set, nobody resends a new code."""


class Ledger:
    """Compares each answer with those before it and with what is committed at that moment."""

    def __init__(self, oracle: Oracle, findings: Findings) -> None:
        self._oracle = oracle
        self._hold = findings.hold
        self._approvals: defaultdict[str, set[str]] = defaultdict(set)
        self._compared: defaultdict[str, set[str]] = defaultdict(set)

    def note(self, ask: Ask, answer: Answer, row: Verification | None, now: Millis) -> None:
        """Take an answer; `row` is the verification as the reply shows it."""
        before, ask.answer = ask.answer, answer
        if before != UNKNOWN and before[0] != "error":
            self._hold(3, f"{before} became {answer}", true=_agree(before, answer, row, now))
        if ask.foreign:
            refused = answer == ("error", "VERIFICATION_NOT_FOUND")
            self._hold(5, f"a stranger was told {answer}", true=refused)
        if answer[0] == "error":
            self._hold(12, f"refused for {answer[1]}", true=answer[1] in _REFUSALS)
        elif row is not None:
            self._told(ask, answer, row)

    def _told(self, ask: Ask, answer: Answer, told: Verification) -> None:
        name = told.verification_id
        row = self._oracle.row(name)
        self._hold(3, "an acknowledged verification is gone", true=row is not None)
        assert row is not None
        self._hold(3, "told of what is not committed", true=told.version <= row.version)
        known = self._oracle.rows.history.get((name, told.version), told)
        self._hold(3, "told of another row than the committed", true=known == told)
        if answer[0] == "started":
            self._started(ask, row)
        elif answer[0] == "approved":
            self._approvals[name].add(ask.request_id)
            self._hold(1, "approved twice", true=len(self._approvals[name]) == 1)
            self._hold(12, f"approved and {row.state}", true=row.state is State.APPROVED)
            self._hold(4, "approved for another deed", true=ask.submission.fits(row))
        elif answer[0] == "canceled":
            self._hold(3, f"canceled and {row.state}", true=row.state is State.CANCELED)
        elif answer[0] == "rejected":
            self._rejected(ask, str(answer[1]), row)

    def _started(self, ask: Ask, row: Verification) -> None:
        phone = self._oracle.phones[row.account_id, row.phone_index]
        if ask.phone:
            right = phone == ask.phone and ask.submission.fits(row)
            self._hold(5, "a verification of somebody else", true=right)
        else:
            right = row.verification_id == ask.verification_id
            self._hold(5, "a resend of another verification", true=right)

    def _rejected(self, ask: Ask, reason: str, row: Verification) -> None:
        name = row.verification_id
        if reason in _COMPARED:
            self._compared[name].add(ask.request_id)
        approved = row.state is State.APPROVED
        charged = row.checks_used - approved
        count = len(self._compared[name])
        self._hold(2, f"{count} compared, {charged} charged", true=count <= charged)
        if reason in _ENDED:
            self._hold(11, f"{reason} and {row.state}", true=row.state is _ENDED[reason])
        if reason == "WRONG_CODE" and ask.clear:
            right = ask.submission.code in self._oracle.live_codes(row)
            self._hold(3, "a right code was called wrong", true=not right)


def _agree(before: Answer, after: Answer, row: Verification | None, now: Millis) -> bool:
    """Tell whether a repeated request was answered as before; receipts end after a while."""
    if before[0] == "approved" and after[:2] == ("rejected", "ALREADY_USED"):
        return row is not None and now >= row.approve_time + RECEIPT_TTL
    return before == after
