"""What the verifications of one phone are, one call after the other; no server code is used.

A phone is the smallest thing whose calls are independent of all others: its verifications
share the budgets of guesses and of sends. Time is an operation, `Tick`. A request id of ""
is one that nobody uses twice.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

SECOND = 1_000
MINUTE, HOUR, DAY = 60 * SECOND, 3_600 * SECOND, 86_400 * SECOND
TTL, RECEIPT_TTL = 10 * MINUTE, 5 * MINUTE
CHECKS, SENDS = 5, 5
SENDS_AN_HOUR, SENDS_A_DAY = 5, 10
GUESSES, FREE_GUESSES = 7, 5

Answer = tuple[str | int, ...]
_CLOSED: Answer = ("error", "VERIFICATION_CLOSED")
_ENDED = {"APPROVED": "ALREADY_USED"}


class Start(NamedTuple):
    request_id: str
    action: str


class Resend(NamedTuple):
    request_id: str
    name: str


class Check(NamedTuple):
    request_id: str
    name: str
    action: str
    right: bool


class Cancel(NamedTuple):
    request_id: str
    name: str


class Get(NamedTuple):
    name: str


class Tick(NamedTuple):
    """Time moves on to `now`."""

    now: int


Op = Start | Resend | Check | Cancel | Get | Tick


def forget_lone_requests(ops: Sequence[Op]) -> list[Op]:
    """Return the operations without the request ids that come up only once.

    What was answered need not be remembered where nobody asks again; and the fewer states
    there are, the shorter is the search.
    """
    counted = Counter(op.request_id for op in ops if not isinstance(op, Get | Tick))
    return [
        op
        if isinstance(op, Get | Tick) or counted[op.request_id] > 1
        else op._replace(request_id="")
        for op in ops
    ]


class Row(NamedTuple):
    """A verification; its name begins with "?" while nobody was told it."""

    name: str
    action: str
    expire_time: int
    state: str = "PENDING"
    checks: int = 0
    sends: int = 0
    next_send: int = 0
    approve_time: int = 0

    @property
    def remaining(self) -> int:
        return CHECKS - self.checks if self.state == "PENDING" else 0


class Phone(NamedTuple):
    """All that is kept of a phone; `answered` holds what each request id was answered."""

    now: int = 0
    rows: tuple[Row, ...] = ()
    sends: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()
    answered: frozenset[tuple[str, Answer]] = frozenset()


def apply(phone: Phone, op: Op, answer: Answer | None) -> Phone | None:
    """Return the phone after `op`, None where it would not be answered with `answer`."""
    if isinstance(op, Tick):
        return phone._replace(now=op.now)
    if isinstance(op, Get):
        return _get(phone, op, answer)
    known = dict(phone.answered).get(op.request_id) if op.request_id else None
    if known is not None:
        return _repeated(phone, known, answer)
    if isinstance(op, Start):
        after, said = _start(phone, op)
    elif isinstance(op, Resend):
        after, said = _resend(phone, op)
    elif isinstance(op, Check):
        after, said = _check(phone, op)
    else:
        after, said = _cancel(phone, op)
    if said[0] != "error" and op.request_id:
        after = after._replace(answered=after.answered | {(op.request_id, said)})
    return _said(after, said, answer)


def _said(after: Phone, said: Answer, answer: Answer | None) -> Phone | None:
    """Return `after` where `said` is the answer; a name that is told for the first time counts."""
    if answer is None or answer == said:
        return after
    if said[0] == answer[0] == "started" and str(said[1]).startswith("?"):
        known = {row.name for row in after.rows}
        if str(answer[1]) not in known:
            return _named(after, str(said[1]), str(answer[1]))
    return None


def _named(phone: Phone, old: str, new: str) -> Phone:
    rows = tuple(row._replace(name=new) if row.name == old else row for row in phone.rows)
    answered = frozenset(
        (request_id, ("started", new) if said == ("started", old) else said)
        for request_id, said in phone.answered
    )
    return phone._replace(rows=rows, answered=answered)


def _repeated(phone: Phone, known: Answer, answer: Answer | None) -> Phone | None:
    if known[0] == "approved":
        row = _row(phone, str(known[1]))
        if row is not None and phone.now >= row.approve_time + RECEIPT_TTL:
            known = ("rejected", "ALREADY_USED", 0)
    return _said(phone, known, answer)


def _row(phone: Phone, name: str) -> Row | None:
    """Return the row as it is at this time."""
    for row in phone.rows:
        if row.name == name:
            return _aged(row, phone.now)
    return None


def _aged(row: Row, now: int) -> Row:
    if row.state == "PENDING" and now >= row.expire_time:
        return row._replace(state="EXPIRED")
    return row


def _put(phone: Phone, row: Row) -> Phone:
    rows = tuple(row if old.name == row.name else old for old in phone.rows)
    return phone._replace(rows=rows)


def _get(phone: Phone, op: Get, answer: Answer | None) -> Phone | None:
    row = _row(phone, op.name)
    if row is None:
        return None
    return _said(phone, ("read", row.state, row.remaining, row.sends), answer)


def _start(phone: Phone, op: Start) -> tuple[Phone, Answer]:
    for old in phone.rows:
        row = _aged(old, phone.now)
        if row.state == "PENDING" and row.action == op.action:
            return _sent_again(phone, row)
    when, why = _next_send(phone)
    if when > phone.now:
        return phone, ("error", why)
    for old in phone.rows:
        row = _aged(old, phone.now)
        if row.state == "PENDING":
            phone = _put(phone, row._replace(state="CANCELED"))
    new = Row(f"?{len(phone.rows)}", op.action, phone.now + TTL)
    return _sent(phone._replace(rows=(*phone.rows, new)), new), ("started", new.name)


def _resend(phone: Phone, op: Resend) -> tuple[Phone, Answer]:
    row = _row(phone, op.name)
    if row is None or row.state != "PENDING":
        return phone, _CLOSED
    return _sent_again(phone, row)


def _sent_again(phone: Phone, row: Row) -> tuple[Phone, Answer]:
    if row.sends == SENDS:
        return phone, ("error", "SEND_BUDGET_EXHAUSTED")
    if phone.now < row.next_send:
        return phone, ("error", "SEND_COOLDOWN")
    when, why = _next_send(phone)
    if when > phone.now:
        return phone, ("error", why)
    return _sent(phone, row), ("started", row.name)


def _sent(phone: Phone, row: Row) -> Phone:
    phone = phone._replace(sends=(*phone.sends, phone.now))
    count = row.sends + 1
    following = max(_next_send(phone)[0], phone.now + _pause(count))
    return _put(phone, row._replace(sends=count, next_send=following))


def _pause(sends: int) -> int:
    return (30 * SECOND, 60 * SECOND, 120 * SECOND)[min(sends, 3) - 1]


def _next_send(phone: Phone) -> tuple[int, str]:
    waits = [(phone.now, "SEND_COOLDOWN")]
    day = [time for time in phone.sends if time > phone.now - DAY]
    hour = [time for time in day if time > phone.now - HOUR]
    if day:
        waits.append((day[-1] + _pause(len(day)), "SEND_COOLDOWN"))
    if len(hour) >= SENDS_AN_HOUR:
        waits.append((hour[-SENDS_AN_HOUR] + HOUR, "SEND_BUDGET_EXHAUSTED"))
    if len(day) >= SENDS_A_DAY:
        waits.append((day[-SENDS_A_DAY] + DAY, "SEND_BUDGET_EXHAUSTED"))
    return max(waits)


def _check(phone: Phone, op: Check) -> tuple[Phone, Answer]:
    row = _row(phone, op.name)
    if row is None:
        return phone, ("error", "VERIFICATION_NOT_FOUND")
    if row.state != "PENDING":
        return phone, ("rejected", _ENDED.get(row.state, row.state), 0)
    wrong = [time for time in phone.wrong if time > phone.now - DAY]
    wait = 30 * SECOND << max(0, len(wrong) - FREE_GUESSES)
    waiting = len(wrong) >= FREE_GUESSES and phone.now < wrong[-1] + wait
    if waiting or len(wrong) >= GUESSES:
        return phone, ("error", "GUESS_BUDGET_EXHAUSTED")
    fits = op.action == row.action
    row = row._replace(checks=row.checks + 1)
    if op.right and fits:
        row = row._replace(state="APPROVED", approve_time=phone.now)
        return _put(phone._replace(sends=()), row), ("approved", row.name)
    if row.checks == CHECKS:
        row = row._replace(state="EXHAUSTED")
    phone = _put(phone._replace(wrong=(*phone.wrong, phone.now)), row)
    return phone, ("rejected", "WRONG_CODE" if fits else "BINDING_MISMATCH", row.remaining)


def _cancel(phone: Phone, op: Cancel) -> tuple[Phone, Answer]:
    row = _row(phone, op.name)
    if row is None or row.state not in ("PENDING", "CANCELED"):
        return phone, _CLOSED
    return _put(phone, row._replace(state="CANCELED")), ("canceled",)
