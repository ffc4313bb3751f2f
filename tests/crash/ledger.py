"""What a caller was told: every acknowledged reply, and what must therefore hold ever after."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from watchword.core.ports import MINUTE, Millis

RECEIPT_TTL: Millis = 5 * MINUTE
MAX_CHECKS = 5
MAX_SENDS = 5


class Kind(StrEnum):
    """What a caller may ask of one verification."""

    START = "start"
    RESEND = "resend"
    WRONG = "wrong"
    RIGHT = "right"
    CANCEL = "cancel"


class Answer(NamedTuple):
    """An acknowledged reply: `what` came of it, with the receipt or the checks that remain.

    `time` is when it was approved, by the server's clock.
    """

    what: str
    verification_id: str
    receipt: str = ""
    remaining: int = 0
    time: Millis = 0


@dataclass
class Request:
    """One request of an effect; repeating it must never have another one.

    `answer` is None while nobody knows what came of it; `refused` names an error that says
    that nothing was done.
    """

    kind: Kind
    request_id: str
    code: str = ""
    answer: Answer | None = None
    refused: str = ""


@dataclass
class Flow:
    """One person's verification: what is planned, and what was asked so far."""

    phone: str
    plan: list[tuple[Kind, ...]]
    requests: list[Request] = field(default_factory=list)
    expire_time: Millis = 0

    @property
    def verification_id(self) -> str:
        first = self.requests[0].answer if self.requests else None
        return first.verification_id if first else ""

    @property
    def settled(self) -> bool:
        """Tell whether the outcome of every request is known."""
        return all(r.answer or r.refused for r in self.requests)

    def count(self, what: str) -> int:
        """Return how many requests came to `what`."""
        return sum(r.answer is not None and r.answer.what == what for r in self.requests)

    @property
    def approvals(self) -> int:
        return self.count("APPROVED")

    @property
    def approved(self) -> bool:
        """Tell whether it is approved; the receipt may have expired before anybody had it."""
        return bool(self.approvals or self.count("ALREADY_USED"))

    @property
    def sends(self) -> int:
        """Return how many messages the caller was told of, repetitions apart."""
        return self.count("STARTED") + self.count("RESENT")

    def states(self, now: Millis) -> set[str]:
        """Return the states that agree with all that was acknowledged."""
        if self.approved:
            return {"APPROVED"}
        if self.count("CANCELED"):
            return {"CANCELED"}
        if self.count("WRONG_CODE") >= MAX_CHECKS:
            return {"EXHAUSTED"}
        if self.count("EXPIRED"):
            return {"EXPIRED"}
        return {"PENDING"} if now < self.expire_time else {"PENDING", "EXPIRED"}

    def check(self, state: str, checks_used: int, send_count: int, now: Millis) -> None:
        """Hold a stored row against what was acknowledged; nothing may be unknown."""
        assert self.settled
        assert self.approvals <= 1, "two requests were answered with an approval"
        assert state in self.states(now), f"{state} after {self.told()}"
        assert checks_used == self.count("WRONG_CODE") + self.approved, self.told()
        assert send_count == self.sends <= MAX_SENDS, self.told()

    def told(self) -> list[str]:
        """Return what was asked and answered, for a failure's text."""
        return [
            f"{r.kind}: {r.answer.what if r.answer else r.refused or 'unknown'}"
            for r in self.requests
        ]


def agrees(before: Answer, after: Answer, now: Millis) -> bool:
    """Tell whether a repeated request was answered as before; `now` is after both.

    A receipt is repeated until it expires, five minutes after the approval.
    """
    if before.what == "APPROVED" and after.what == "ALREADY_USED":
        return now - before.time >= RECEIPT_TTL
    return before == after


class Taken(NamedTuple):
    """A message that the carrier took."""

    send_id: str
    verification_id: str
    phone: str
    code: str


class Journal:
    """What the carrier took, read as it grows; a kill may not even tear a line."""

    def __init__(self, path: Path) -> None:
        """Read the file at `path`, which may not be there yet."""
        self._path = path
        self._offset = 0
        self._rest = b""
        self.messages: list[Taken] = []
        self.codes: dict[str, str] = {}

    def read(self) -> None:
        """Take in what was added."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            added = file.read()
        self._offset += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        for line in lines:
            found = json.loads(line)
            taken = Taken(found["send_id"], found["verification_id"], found["to"], found["code"])
            self.messages.append(taken)
            self.codes[taken.verification_id] = taken.code

    def check(self) -> dict[str, int]:
        """Hold the messages to the budgets; returns how often each send was taken."""
        assert not self._rest, "the last line is torn"
        times: dict[str, int] = defaultdict(int)
        codes: dict[str, set[str]] = defaultdict(set)
        sends: dict[str, set[str]] = defaultdict(set)
        for message in self.messages:
            times[message.send_id] += 1
            codes[message.verification_id].add(message.code)
            sends[message.verification_id].add(message.send_id)
        assert max(times.values(), default=0) <= 2, "a message was sent three times"
        assert all(len(found) == 1 for found in codes.values()), "a repeated message, another code"
        assert all(len(found) <= MAX_SENDS for found in sends.values()), "too many sends"
        return times
