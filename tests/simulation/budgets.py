"""Counts guesses and sends once more, from what the rows say happened and when."""

from collections import defaultdict
from collections.abc import Hashable

from tests.simulation.findings import Findings

from watchword.core.ports import DAY, HOUR, Millis
from watchword.delivery.outbox import Send
from watchword.verification.model import Verification

GUESSES_A_DAY = 10
SENDS_AN_HOUR, SENDS_A_DAY = 5, 10


class Budgets:
    """What each phone was guessed at and sent to, in the windows of the store's clock.

    A time that the clock was set back from counts as now, as the published limits say.
    """

    def __init__(self, findings: Findings, phones: dict[tuple[str, bytes], str]) -> None:
        """Know which phone an account's index stands for."""
        self._findings = findings
        self._phones = phones
        self._guesses: defaultdict[Hashable, list[Millis]] = defaultdict(list)
        self._sends: defaultdict[Hashable, list[Millis]] = defaultdict(list)
        self._charged: dict[Hashable, Millis] = {}
        self._cleared: list[Hashable] = []

    def guessed(self, row: Verification, count: int) -> None:
        """Charge guesses that went wrong at the row's `update_time`."""
        times = self._guesses[row.application_id, row.phone_index]
        times += [row.update_time] * count
        used = _within(times, row.update_time, DAY)
        self._findings.hold(2, f"{used} guesses in a day", true=used <= GUESSES_A_DAY)

    def sent(self, send: Send, row: Verification, time: Millis) -> None:
        """Charge a message; one that is withheld costs nobody but its own account."""
        keys: list[Hashable] = [(row.account_id, row.phone_index)]
        if not send.withheld:
            keys.append(self._phones[row.account_id, row.phone_index])
        for key in keys:
            self._sends[key].append(time)
            self._charged[key] = time

    def approved(self, row: Verification) -> None:
        """Give back the sends that led to an approval."""
        key = (row.account_id, row.phone_index)
        self._cleared += [key, self._phones[key]]

    def settle(self) -> None:
        """Hold what was charged by one commit to the budgets, whatever its order was."""
        for key in self._cleared:
            self._sends[key].clear()
        self._cleared.clear()
        for key, now in self._charged.items():
            times = self._sends[key]
            for window, most in ((HOUR, SENDS_AN_HOUR), (DAY, SENDS_A_DAY)):
                used = _within(times, now, window)
                self._findings.hold(7, f"{used} sends to a phone", true=used <= most)
        self._charged.clear()

    def clock_moved(self, now: Millis) -> None:
        """Let times that lie ahead count as now, and forget what is over."""
        for table in (self._guesses, self._sends):
            for key, times in table.items():
                table[key] = [min(time, now) for time in times if time > now - DAY]


def _within(times: list[Millis], now: Millis, window: Millis) -> int:
    return sum(time > now - window for time in times)
