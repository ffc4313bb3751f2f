"""The carrier author's page: everything an adapter needs to know is here.

An adapter is a class found by the entry point group `watchword.carriers`. It is made
once a process by `create(settings)`, started with `open`, and asked to `send`; it
never sees a store, a key or another carrier. `watchword.testing.carrier_contract`
holds the suite that every adapter must pass.
"""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol, Self

from watchword.core.ports import Millis
from watchword.core.secret import Secret


class Channel(StrEnum):
    """How a code reaches a person."""

    SMS = "SMS"
    VOICE = "VOICE"
    EMAIL = "EMAIL"
    AUTO = "AUTO"


class Trust(StrEnum):
    """Who answers for the carrier: a receipt tells it to whoever relies on it."""

    OPERATOR = "operator"
    TENANT = "tenant"
    SANDBOX = "sandbox"


class Capabilities(NamedTuple):
    """What a carrier can do.

    `idempotent`: repeating a send with the same `attempt_id` sends once.
    `receipts`: the carrier reports later whether the message arrived.
    `worlds`: the store stamps under which it may load.
    """

    channels: frozenset[Channel]
    trust: Trust
    idempotent: bool = False
    receipts: bool = False
    worlds: frozenset[str] = frozenset({"dev", "sandbox", "production"})


class Message(NamedTuple):
    """One message to one person. `send_id` is stable across retries, `attempt_id` is not."""

    send_id: str
    attempt_id: str
    verification_id: str
    channel: Channel
    to: Secret[str]
    body: Secret[str]
    code: Secret[str]
    language_code: str
    time: Millis


class Submitted(NamedTuple):
    """The carrier has taken the message. `provider_id` is its own name for it ("" if none)."""

    provider_id: str = ""


class CarrierError(Exception):
    """Base of what `send` may raise; the text is fixed and holds no number and no code."""

    kind: ClassVar[str] = "ambiguous"


class Rejected(CarrierError):
    """The carrier refuses this recipient or message for good: nothing was sent."""

    kind = "rejected"


class Throttled(CarrierError):
    """The carrier asks to slow down: nothing was sent. `retry_after` in milliseconds."""

    kind = "throttled"

    def __init__(self, message: str, retry_after: Millis = 0) -> None:
        """Keep how long the carrier asks to wait (0: it did not say)."""
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(CarrierError):
    """The carrier could not be reached or is down: nothing was sent."""

    kind = "unreachable"


class Misconfigured(CarrierError):
    """Our credentials, sender or set-up are wrong: nothing was sent, retrying is no use."""

    kind = "misconfigured"


class Ambiguous(CarrierError):
    """The request left and no answer came: the message may or may not be on its way."""

    kind = "ambiguous"


class ReceiptState(StrEnum):
    """What a delivery receipt says."""

    DELIVERED = "DELIVERED"
    UNDELIVERED = "UNDELIVERED"


class Receipt(NamedTuple):
    """A delivery receipt for one send; `error_reason` is from the closed set of `outbox`."""

    send_id: str
    state: ReceiptState
    error_reason: str = ""


ReceiptSink = Callable[[Receipt], Awaitable[None]]
"""Where a carrier with `capabilities.receipts` delivers what it hears."""


class Carrier(Protocol):
    """Port: hands messages to a network.

    MUST: submit a message at most once per call of `send`; return only when the carrier
    has taken it; raise only `CarrierError`s; raise `Ambiguous` whenever the request may
    have been taken; keep its own connection pool; obey cancellation; put neither number
    nor code into logs or errors. A call is time-boxed from outside.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    @classmethod
    def create(cls, settings: Mapping[str, object]) -> Self:
        """Make the adapter from its own table of the configuration.

        Raises `ValueError` with one line that names the setting and what to do.
        """
        ...

    async def open(self, receipts: ReceiptSink) -> None:
        """Acquire connections; keep `receipts` for what comes later."""
        ...

    async def send(self, message: Message) -> Submitted:
        """Submit one message; see the class for what it raises."""
        ...

    async def close(self) -> None:
        """Let go of every connection; no `send` follows."""
        ...
