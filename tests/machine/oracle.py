"""What must come of each call, said once more and plainly: no code of the server is used here.

Times are milliseconds. An outcome is a tuple: ("started",), ("approved",), ("canceled",),
("rejected", reason, checks remaining) or ("error", reason).
"""

from dataclasses import dataclass, field

SECOND = 1_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
TTL = 600 * SECOND
MAX_CHECKS = 5
MAX_SENDS = 5
SENDS_PER_HOUR, SENDS_PER_DAY = 5, 10
GUESSES, GUESSES_OF_STRANGERS = 10, 7

Outcome = tuple[str | int, ...]
STARTED: Outcome = ("started",)
APPROVED: Outcome = ("approved",)
CANCELED: Outcome = ("canceled",)
CLOSED: Outcome = ("error", "VERIFICATION_CLOSED")

_REJECTIONS = {
    "APPROVED": "ALREADY_USED",
    "CANCELED": "CANCELED",
    "EXPIRED": "EXPIRED",
    "EXHAUSTED": "EXHAUSTED",
    "FAILED": "FAILED",
}


def within(times: list[int], now: int, window: int) -> list[int]:
    """Return what happened in the window; what lies ahead of a clock set back counts as now."""
    return [min(t, now) for t in times if t > now - window]


def pause_after(sends: int) -> int:
    """Return the cool-down after so many sends: 30 s, 60 s, then two minutes each."""
    return (30 * SECOND, 60 * SECOND, 120 * SECOND)[min(sends, 3) - 1]


@dataclass
class Phone:
    """What is remembered of a phone."""

    sends: list[int] = field(default_factory=list)
    sends_time: int = 0
    wrong: list[int] = field(default_factory=list)
    bindings: set[bytes] = field(default_factory=set)

    def next_send(self, now: int) -> tuple[int, str]:
        """Return when the next message may go, and which limit says so."""
        day, hour = within(self.sends, now, DAY), within(self.sends, now, HOUR)
        waits = [(now, "SEND_COOLDOWN")]
        if day:
            waits.append((day[-1] + pause_after(len(day)), "SEND_COOLDOWN"))
        if len(hour) >= SENDS_PER_HOUR:
            waits.append((hour[-SENDS_PER_HOUR] + HOUR, "SEND_BUDGET_EXHAUSTED"))
        if len(day) >= SENDS_PER_DAY:
            waits.append((day[-SENDS_PER_DAY] + DAY, "SEND_BUDGET_EXHAUSTED"))
        return max(waits)

    def send(self, now: int) -> None:
        self.sends = [*within(self.sends, now, DAY), now]
        self.sends_time = now

    def guesses_left(self, now: int, *, known: bool) -> int:
        allowed = GUESSES if known else GUESSES_OF_STRANGERS
        return max(0, allowed - len(within(self.wrong, now, DAY)))

    def may_guess(self, now: int, *, known: bool) -> bool:
        """Tell whether any code may be compared now: five are free, then waits grow to an hour."""
        day = within(self.wrong, now, DAY)
        if not self.guesses_left(now, known=known):
            return False
        return len(day) < 5 or now >= day[-1] + min(30 * SECOND << len(day) - 5, HOUR)


@dataclass
class Verification:
    """One verification as its caller must find it."""

    phone: int
    purpose: str
    binding: bytes
    action: tuple[tuple[str, str], ...]
    resend: str
    state: str = "PENDING"
    generation: int = 0
    checks_used: int = 0
    send_count: int = 0
    next_send_time: int = 0
    expire_time: int = 0
    approve_time: int = 0
    verification_id: str = ""
    codes: dict[int, str] = field(default_factory=dict)

    @property
    def row(self) -> tuple[str | int, ...]:
        """Return what the store must hold."""
        return (
            *(self.state, self.generation, self.checks_used, self.send_count),
            *(self.next_send_time, self.expire_time, self.approve_time),
        )

    @property
    def remaining(self) -> int:
        return MAX_CHECKS - self.checks_used if self.state == "PENDING" else 0

    def overdue(self, now: int) -> bool:
        return self.state == "PENDING" and now >= self.expire_time

    def notice(self, now: int) -> None:
        """Write down that the time is over: for good, whatever the clock does."""
        if self.overdue(now):
            self.state = "EXPIRED"


@dataclass
class Oracle:
    """All phones and verifications of one application."""

    phones: list[Phone]
    verifications: list[Verification] = field(default_factory=list)

    def start(self, wish: Verification, now: int) -> tuple[Outcome, Verification]:
        """Begin `wish`, or send the pending one of the same tuple once more."""
        pending = self._pending(wish)
        if pending and not pending.overdue(now) and pending.action == wish.action:
            return self._send_again(pending, now), pending
        refusal = self._refused(wish, now)
        if refusal:
            return refusal, wish
        if pending:
            pending.state = "EXPIRED" if pending.overdue(now) else "CANCELED"
        wish.expire_time = now + TTL
        self.verifications.append(wish)
        self._sent(wish, now)
        return STARTED, wish

    def resend(self, row: Verification, now: int) -> Outcome:
        row.notice(now)
        if row.state != "PENDING":
            return CLOSED
        return self._send_again(row, now)

    def check(
        self,
        row: Verification,
        code: str,
        purpose: str,
        action: tuple[tuple[str, str], ...],
        binding: bytes,
        now: int,
    ) -> Outcome:
        row.notice(now)
        if row.state != "PENDING":
            return ("rejected", _REJECTIONS[row.state], 0)
        phone = self.phones[row.phone]
        known = bool(binding) and binding == row.binding and binding in phone.bindings
        if not phone.may_guess(now, known=known):
            return ("error", "GUESS_BUDGET_EXHAUSTED")
        newest = row.generation
        live = [newest]
        affordable = min(phone.guesses_left(now, known=known), row.remaining)
        if row.resend == "LAST_TWO" and newest and affordable > 1:
            live = [newest - 1, newest]
        fits = (purpose, action, binding) == (row.purpose, row.action, row.binding)
        if fits and any(row.codes.get(generation) == code for generation in live):
            return self._approve(row, phone, now)
        row.checks_used = min(MAX_CHECKS, row.checks_used + len(live))
        phone.wrong = within(phone.wrong, now, 30 * DAY) + [now] * len(live)
        if row.checks_used == MAX_CHECKS:
            row.state = "EXHAUSTED"
        older = any(row.codes.get(generation) == code for generation in range(live[0]))
        why = "SUPERSEDED" if older else "WRONG_CODE"
        return ("rejected", why if fits else "BINDING_MISMATCH", row.remaining)

    def cancel(self, row: Verification, now: int) -> Outcome:
        if row.state == "CANCELED":
            return CANCELED
        row.notice(now)
        if row.state != "PENDING":
            return CLOSED
        row.state = "CANCELED"
        return CANCELED

    def sweep(self, now: int) -> None:
        """Notice all that is over; forget what no window holds any more."""
        for row in self.verifications:
            row.notice(now)
        for phone in self.phones:
            if phone.sends_time <= now - DAY:
                phone.sends = []

    def _approve(self, row: Verification, phone: Phone, now: int) -> Outcome:
        row.checks_used += 1
        row.state, row.approve_time = "APPROVED", now
        phone.wrong = within(phone.wrong, now, 30 * DAY)
        phone.sends = []
        if row.binding:
            phone.bindings.add(row.binding)
        return APPROVED

    def _pending(self, wish: Verification) -> Verification | None:
        for row in self.verifications:
            same = (row.phone, row.purpose, row.binding) == (
                wish.phone,
                wish.purpose,
                wish.binding,
            )
            if same and row.state == "PENDING":
                return row
        return None

    def _send_again(self, row: Verification, now: int) -> Outcome:
        if row.send_count == MAX_SENDS:
            return ("error", "SEND_BUDGET_EXHAUSTED")
        if now < row.next_send_time:
            return ("error", "SEND_COOLDOWN")
        refusal = self._refused(row, now)
        if refusal:
            return refusal
        row.generation += row.resend != "SAME"
        self._sent(row, now)
        return STARTED

    def _refused(self, row: Verification, now: int) -> Outcome | None:
        when, why = self.phones[row.phone].next_send(now)
        return ("error", why) if when > now else None

    def _sent(self, row: Verification, now: int) -> None:
        phone = self.phones[row.phone]
        phone.send(now)
        row.send_count += 1
        row.next_send_time = max(phone.next_send(now)[0], now + pause_after(row.send_count))
