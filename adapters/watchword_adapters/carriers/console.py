"""The console carrier: the terminal is the phone. For development alone.

Settings (`[carriers.console]`):

| setting | default | meaning |
|---|---|---|
| `path` | `var/messages.jsonl` | where each message is appended as a JSON object (mode 0600) |
| `stdout` | `true` | also print each message as a phone would show it |

A line has `send_id`, `verification_id`, `channel`, `to`, `body`, `code` and `time`.
"""

import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self, TextIO

from watchword.delivery.carrier import (
    Capabilities,
    Channel,
    Message,
    ReceiptSink,
    Submitted,
    Trust,
)
from watchword_adapters.carriers.journal import Journal
from watchword_adapters.carriers.settings import Settings

_WIDTH = 44


class ConsoleCarrier:
    """Appends messages to a file and prints them; delivers nothing."""

    name: ClassVar[str] = "console"
    capabilities: ClassVar[Capabilities] = Capabilities(
        channels=frozenset({Channel.SMS, Channel.VOICE}),
        trust=Trust.SANDBOX,
        worlds=frozenset({"dev"}),
    )

    def __init__(self, path: Path, *, stdout: bool = True, screen: TextIO | None = None) -> None:
        """Append to `path`; print to `screen`, the process's stdout by default."""
        self._journal = Journal(path)
        self._stdout = stdout
        self._screen = screen

    @classmethod
    def create(cls, settings: Mapping[str, object]) -> Self:
        """Make it from its settings. Raises `ValueError` with one line."""
        table = Settings(cls.name, settings)
        path = Path(table.text("path", "var/messages.jsonl"))
        stdout = table.flag("stdout", default=True)
        table.finish()
        return cls(path, stdout=stdout)

    async def open(self, receipts: ReceiptSink) -> None:
        """Open the file. Raises `OSError`."""
        del receipts
        self._journal.open()

    async def send(self, message: Message) -> Submitted:
        """Append and print one message. Raises `Unreachable` where the file is not writable."""
        self._journal.append(message)
        if self._stdout:
            self._show(message)
        return Submitted()

    async def close(self) -> None:
        """Close the file."""
        self._journal.close()

    def _show(self, message: Message) -> None:
        try:
            print(phone_screen(message), file=self._screen or sys.stdout, flush=True)
        except (OSError, ValueError):
            # Nobody looks at the screen any more; the file has the message.
            self._stdout = False


def phone_screen(message: Message) -> str:
    """Return the message in a frame; what a terminal would obey is replaced."""
    title = f"{message.channel} to {_harmless(message.to.reveal())}"
    lines = [
        part
        for line in message.body.reveal().split("\n")
        for part in textwrap.wrap(_harmless(line), _WIDTH) or [""]
    ]
    rows = [f"│ {line.ljust(_WIDTH)} │" for line in lines]
    top = f"╭─ {title} ".ljust(_WIDTH + 3, "─") + "╮"
    return "\n".join((top, *rows, "╰" + "─" * (_WIDTH + 2) + "╯"))


def _harmless(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
