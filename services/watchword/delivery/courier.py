"""The short way to a carrier: from the transaction that queued a message, past the queue."""

from typing import Protocol

from watchword.core.ports import Millis
from watchword.delivery.outbox import Claim


class Courier(Protocol):
    """Takes messages whose attempt was recorded in the very transaction that queued them.

    Each place reserved MUST be given back: by one `deliver` or one `release`.
    """

    def reserve(self, carrier: str) -> Millis:
        """Keep a place at `carrier`; returns the lease to record (milliseconds from now).

        0 where there is none: the message then waits in the outbox, and nothing is kept.
        """
        ...

    def deliver(self, claim: Claim) -> None:
        """Send, in the place kept, what was leased and committed; returns at once."""
        ...

    def release(self, carrier: str) -> None:
        """Give back the place: no message was queued, or not as a leased one."""
        ...
