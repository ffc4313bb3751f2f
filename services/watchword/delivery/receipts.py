"""Delivery receipts: what carriers hear later about messages they took."""

from typing import Protocol

from watchword.delivery.carrier import Receipt
from watchword.delivery.outbox import Outbox


class ReceiptMeter(Protocol):
    """Counts what became of messages; labels are from closed sets."""

    def delivered(self, channel: str, region: str, carrier: str, state: str) -> None:
        """Count a send that came to this state."""
        ...


class Receipts:
    """The `ReceiptSink` that every carrier is opened with.

    A receipt can only move a send forward; it never touches what a Check decides. One
    that names no send is dropped: carriers repeat receipts long after rows are gone.
    """

    def __init__(self, outbox: Outbox, meter: ReceiptMeter) -> None:
        """Record in `outbox`, count with `meter`."""
        self._outbox = outbox
        self._meter = meter

    async def __call__(self, receipt: Receipt) -> None:
        """Record a receipt. Raises `Unavailable`: the carrier brings it again."""
        send = await self._outbox.receive(receipt)
        # The row keeps the first final state: one that contradicts it counts nothing.
        if send is not None and send.state == str(receipt.state):
            self._meter.delivered(send.channel, send.region_code, send.carrier, send.state)
