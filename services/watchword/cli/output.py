"""How results and errors appear: a table for people, JSON for programs."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from watchword.cli.fields import printable, rows, text_of
from watchword.cli.hints import hint
from watchword.client import WatchwordError

_PIPE_WIDTH = 200


def as_json(message: Message) -> dict[str, Any]:
    """Return a message as protobuf's JSON, with the API's own field names."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


@dataclass(frozen=True, slots=True)
class Output:
    """Writes results on stdout and errors on stderr."""

    json: bool = False

    def message(self, message: Message, *, title: str = "") -> None:
        """Show one thing: its fields, those that are set."""
        if self.json:
            self.document(as_json(message))
            return
        table = Table(box=None, show_header=False, title=title or None, title_justify="left")
        for name, value in rows(message):
            table.add_row(name, value)
        self._print(table)

    def listing(
        self,
        name: str,
        messages: Sequence[Message],
        columns: Sequence[str],
        next_page_token: str = "",
    ) -> None:
        """Show a page of things by some of their fields; JSON has them all, under `name`."""
        if self.json:
            items = [as_json(message) for message in messages]
            self.document({name: items, "next_page_token": next_page_token})
            return
        table = Table(box=SIMPLE_HEAD)
        for column in columns:
            table.add_column(column.replace("_", " "))
        for message in messages:
            table.add_row(*(text_of(message, column) for column in columns))
        self._print(table if messages else f"no {name.replace('_', ' ')}")
        if next_page_token:
            self.line(f"more with --page-token {next_page_token}")

    def document(self, document: object) -> None:
        """Write one JSON document on a line of its own."""
        print(json.dumps(document, ensure_ascii=False), flush=True)  # noqa: T201

    def line(self, text: str) -> None:
        """Write a line for people; programs get none."""
        if not self.json:
            self._print(text)

    def error(self, error: WatchwordError) -> None:
        """Write one line that says why and what to do."""
        advice = hint(error)
        if self.json:
            document = {
                "code": error.code.name,
                "reason": error.reason,
                "message": error.message,
                "fields": list(error.fields),
                "retry_after": error.retry_after,
                "hint": advice,
            }
            print(json.dumps({"error": document}), file=sys.stderr)  # noqa: T201
            return
        message = error.message if error.reason else _transport_text(error)
        line = f"watchword: {error.reason or error.code.name}: {message}"
        print(printable(f"{line}; {advice}" if advice else line), file=sys.stderr)  # noqa: T201

    def _print(self, content: Table | str) -> None:
        # Neither markup nor colours are read into what others wrote.
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        console = Console(width=width, markup=False, highlight=False, emoji=False)
        console.print(content, soft_wrap=isinstance(content, str))


def _transport_text(error: WatchwordError) -> str:
    # grpc's own texts are long and name addresses; the code says it all.
    return {"UNAVAILABLE": "no answer", "DEADLINE_EXCEEDED": "the time ran out"}.get(
        error.code.name, error.message
    )
