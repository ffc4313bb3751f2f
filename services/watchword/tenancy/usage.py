"""The port by which a room says what an application used."""

from typing import Protocol


class UsageMeter(Protocol):
    """Port: counts usage by account, application, day, channel, region and carrier.

    MUST: return at once and raise nothing, for it is called on the hot path; hold only
    these closed labels, never a number. What it counts is approximate after a crash.
    """

    def record(
        self,
        account_id: str,
        application_id: str,
        channel: str,
        region_code: str,
        carrier: str,
        starts: int = 0,
        sends: int = 0,
        approvals: int = 0,
    ) -> None:
        """Add to today's counters (UTC); `carrier` is "" before one was chosen."""
        ...
