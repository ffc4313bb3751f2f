"""The sandbox carrier: takes messages and delivers none, with any fault one asks for.

Settings (`[carriers.sandbox]`):

| setting | default | meaning |
|---|---|---|
| `receipts` | `false` | report each message that was simply taken as delivered |
| `built_in` | `true` | follow the script for numbers that end in 5550180 to 5550194 |
| `keep` | `1000` | how many of the last messages stay in memory |
| `path` | `""` | append each message taken to this file (mode 0600), like the console |
| `[[carriers.sandbox.rules]]` | none | `suffix`, `outcome`, `delay_ms`, `receipt`, `receipt_delay_ms`, `retry_after_ms`, `times` |

The built-in script and what a rule's fields mean stand in `script.py`.
"""  # noqa: E501 - a table row is one line

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import ClassVar, NoReturn, Self

from watchword.core.errors import Unavailable
from watchword.delivery.carrier import (
    Ambiguous,
    Capabilities,
    Channel,
    Message,
    Misconfigured,
    Receipt,
    ReceiptSink,
    ReceiptState,
    Rejected,
    Submitted,
    Throttled,
    Trust,
    Unreachable,
)
from watchword_adapters.carriers.journal import Journal
from watchword_adapters.carriers.script import BUILT_IN, Outcome, Rule, Script, read_rule
from watchword_adapters.carriers.settings import Settings

_RECEIPT_TRIES = 5
_RECEIPT_PAUSE = 1.0

Sleep = Callable[[float], Awaitable[None]]


class SandboxCarrier:
    """Follows a script; `messages` holds the last ones that it took."""

    name: ClassVar[str] = "sandbox"
    capabilities: ClassVar[Capabilities] = Capabilities(
        channels=frozenset({Channel.SMS, Channel.VOICE}),
        trust=Trust.SANDBOX,
        receipts=True,
        worlds=frozenset({"dev", "sandbox"}),
    )

    def __init__(
        self,
        rules: Iterable[Rule] = BUILT_IN,
        *,
        receipts: bool = False,
        keep: int = 1_000,
        path: Path | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Follow `rules`; wait with `sleep` (seconds)."""
        self.messages: deque[Message] = deque(maxlen=keep)
        self._script = Script(rules)
        self._default = ReceiptState.DELIVERED if receipts else ""
        self._journal = Journal(path) if path else None
        self._sleep = sleep
        self._sink: ReceiptSink | None = None
        self._reports: set[asyncio.Task[None]] = set()

    @classmethod
    def create(cls, settings: Mapping[str, object]) -> Self:
        """Make it from its settings. Raises `ValueError` with one line."""
        table = Settings(cls.name, settings)
        built_in = BUILT_IN if table.flag("built_in", default=True) else ()
        receipts = table.flag("receipts", default=False)
        keep = table.number("keep", 1_000, 0, 1_000_000)
        path = table.text("path", "")
        rules = [read_rule(row) for row in table.tables("rules")]
        table.finish()
        return cls((*built_in, *rules), receipts=receipts, keep=keep, path=_path(path))

    def follow(self, rules: Iterable[Rule]) -> None:
        """Follow other rules from now on; what numbers had used up is forgotten."""
        self._script = Script(rules)

    async def open(self, receipts: ReceiptSink) -> None:
        """Begin to report to `receipts`. Raises `OSError` where `path` cannot be opened."""
        self._sink = receipts
        if self._journal is not None:
            self._journal.open()

    async def send(self, message: Message) -> Submitted:
        """Do as the script says for this number; raises each of the `CarrierError`s."""
        rule = self._script.next(message.to.reveal())
        if rule is None:
            self._take(message, self._default, 0)
        else:
            await self._play(rule, message)
        return Submitted(f"SB{message.attempt_id}")

    async def close(self) -> None:
        """Drop the receipts that are still to come."""
        for report in self._reports:
            report.cancel()
        await asyncio.gather(*self._reports, return_exceptions=True)
        if self._journal is not None:
            self._journal.close()

    async def _play(self, rule: Rule, message: Message) -> None:
        if rule.delay_ms:
            await self._sleep(rule.delay_ms / 1000)
        if rule.outcome is Outcome.HANG:
            await asyncio.Event().wait()
        receipt = self._default if rule.receipt is None else rule.receipt
        if rule.outcome is Outcome.OK:
            self._take(message, receipt, rule.receipt_delay_ms)
            return
        if rule.outcome is Outcome.AMBIGUOUS_TAKEN:
            self._take(message, rule.receipt or "", rule.receipt_delay_ms)
        _fail(rule)

    def _take(self, message: Message, receipt: str, delay_ms: int) -> None:
        if self._journal is not None:
            self._journal.append(message)
        self.messages.append(message)
        if receipt and self._sink is not None:
            heard = Receipt(message.send_id, ReceiptState(receipt))
            report = asyncio.create_task(self._report(self._sink, heard, delay_ms))
            self._reports.add(report)
            report.add_done_callback(self._reports.discard)

    async def _report(self, sink: ReceiptSink, receipt: Receipt, delay_ms: int) -> None:
        if delay_ms:
            await self._sleep(delay_ms / 1000)
        for _ in range(_RECEIPT_TRIES):
            try:
                await sink(receipt)
            except Unavailable:
                await self._sleep(_RECEIPT_PAUSE)
            else:
                return


def _fail(rule: Rule) -> NoReturn:
    match rule.outcome:
        case Outcome.REJECTED:
            raise Rejected("the script rejects this number")
        case Outcome.THROTTLED:
            raise Throttled("the script throttles this number", rule.retry_after_ms)
        case Outcome.UNREACHABLE:
            raise Unreachable("the script makes the carrier unreachable")
        case Outcome.MISCONFIGURED:
            raise Misconfigured("the script makes the carrier misconfigured")
        case _:
            raise Ambiguous("the script leaves the outcome open")


def _path(text: str) -> Path | None:
    return Path(text) if text else None
