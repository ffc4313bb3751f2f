"""What the sandbox carrier does with which number: rules by the end of the number.

Without settings, these ends are scripted, so `+12025550183` is refused; every other
number is taken at once.

| number ends in | the carrier | receipt |
|---|---|---|
| `5550180` | takes it | delivered |
| `5550181` | takes it | none |
| `5550182` | takes it | undelivered |
| `5550183` | rejects it | |
| `5550184` | throttles once (1 s), then takes it | by default |
| `5550185` | is unreachable once, then takes it | by default |
| `5550186` | is unreachable always | |
| `5550187` | is misconfigured always | |
| `5550188` | takes it, then fails: ambiguous, each time | none |
| `5550189` | fails once without taking it: ambiguous, then takes it | by default |
| `5550190` | takes it after 2 s | by default |
| `5550191` | never answers | |
| `5550192` | takes it | delivered after 5 s |
| `5550193` | throttles always (1 s) | |
| `5550194` | takes it, then fails once: ambiguous, then takes it again | by default |
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from watchword.delivery.carrier import ReceiptState
from watchword_adapters.carriers.settings import Settings

_LONGEST_MS = 600_000
_MOST_TIMES = 1_000_000
_MOST_NUMBERS = 100_000


class Outcome(StrEnum):
    """What becomes of a message; the two ambiguous ones differ in whether it was taken."""

    OK = "ok"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    MISCONFIGURED = "misconfigured"
    AMBIGUOUS_TAKEN = "ambiguous_taken"
    AMBIGUOUS_LOST = "ambiguous_lost"
    HANG = "hang"


class Rule(NamedTuple):
    """What happens to numbers that end in `suffix`; times in milliseconds.

    `receipt` None follows the carrier's default, "" means none. After `times` messages to
    one number (0: never) the rule is used up for it and the message is simply taken.
    """

    suffix: str
    outcome: Outcome = Outcome.OK
    delay_ms: int = 0
    receipt: str | None = None
    receipt_delay_ms: int = 0
    retry_after_ms: int = 0
    times: int = 0


BUILT_IN = (
    Rule("5550180", receipt=ReceiptState.DELIVERED),
    Rule("5550181", receipt=""),
    Rule("5550182", receipt=ReceiptState.UNDELIVERED),
    Rule("5550183", Outcome.REJECTED),
    Rule("5550184", Outcome.THROTTLED, retry_after_ms=1_000, times=1),
    Rule("5550185", Outcome.UNREACHABLE, times=1),
    Rule("5550186", Outcome.UNREACHABLE),
    Rule("5550187", Outcome.MISCONFIGURED),
    Rule("5550188", Outcome.AMBIGUOUS_TAKEN),
    Rule("5550189", Outcome.AMBIGUOUS_LOST, times=1),
    Rule("5550190", delay_ms=2_000),
    Rule("5550191", Outcome.HANG),
    Rule("5550192", receipt=ReceiptState.DELIVERED, receipt_delay_ms=5_000),
    Rule("5550193", Outcome.THROTTLED, retry_after_ms=1_000),
    Rule("5550194", Outcome.AMBIGUOUS_TAKEN, times=1),
)


class Script:
    """Finds the rule for a number: the longest suffix wins, the later of equal ones."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Follow `rules`."""
        self._rules = {rule.suffix: rule for rule in rules}
        self._lengths = sorted({len(suffix) for suffix in self._rules}, reverse=True)
        self._used: dict[str, int] = {}

    def next(self, number: str) -> Rule | None:
        """Return the rule for one more message to `number`, None where it is simply taken."""
        for length in self._lengths:
            rule = self._rules.get(number[-length:])
            if rule is not None:
                return self._counted(rule, number) if rule.times else rule
        return None

    def _counted(self, rule: Rule, number: str) -> Rule | None:
        used = self._used.get(number, 0)
        if used >= rule.times:
            return None
        if len(self._used) >= _MOST_NUMBERS:
            self._used.clear()
        self._used[number] = used + 1
        return rule


def read_rule(table: Settings) -> Rule:
    """Return the rule that one table of the configuration describes. Raises `ValueError`."""
    suffix = table.text("suffix")
    if not suffix.isascii() or not suffix.isdigit():
        raise table.error("suffix", "must be the last digits of a number")
    outcome = table.text("outcome", "ok")
    if outcome not in set(Outcome):
        raise table.error("outcome", f"must be one of {', '.join(Outcome)}")
    receipt = table.text("receipt", "default").upper()
    if receipt not in {"DEFAULT", "NONE", *ReceiptState}:
        raise table.error("receipt", "must be default, none, delivered or undelivered")
    rule = Rule(
        suffix=suffix,
        outcome=Outcome(outcome),
        delay_ms=table.number("delay_ms", 0, 0, _LONGEST_MS),
        receipt=None if receipt == "DEFAULT" else receipt.replace("NONE", ""),
        receipt_delay_ms=table.number("receipt_delay_ms", 0, 0, _LONGEST_MS),
        retry_after_ms=table.number("retry_after_ms", 0, 0, _LONGEST_MS),
        times=table.number("times", 0, 0, _MOST_TIMES),
    )
    table.finish()
    return rule
