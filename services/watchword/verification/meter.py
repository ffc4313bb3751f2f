"""What the room tells the metrics; labels are from closed sets, never ids or numbers."""

from typing import Protocol

from watchword.core.errors import Reason


class VerificationMeter(Protocol):
    """Counts what callers and people do; every method is cheap and never raises."""

    def start(self, channel: str, region: str, outcome: str) -> None:
        """Count a Start: `created`, `resent`, `replayed` or `refused`."""
        ...

    def check(self, channel: str, region: str, outcome: str) -> None:
        """Count a Check: `approved`, `replayed` or the rejection's reason in lower case."""
        ...

    def conversion(self, channel: str, region: str, seconds: float) -> None:
        """Count an approval and how long the person took since the Start."""
        ...

    def limit_hit(self, reason: Reason) -> None:
        """Count a call that a limit, budget or cool-down refused."""
        ...
