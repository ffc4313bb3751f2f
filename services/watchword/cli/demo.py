"""`watchword demo`: the main job end to end, on a real server with a real client."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.console import Console

from watchword.cli.demo_server import DemoError, DemoServer
from watchword.cli.fields import printable, text_of
from watchword.client import (
    Approved,
    Outcome,
    ReceiptError,
    Rejected,
    SyncClient,
    WatchwordError,
    verify_receipt,
)
from watchword.client import verification_pb2 as pb

PHONE = "+14155550142"
"""A number that its regulator keeps for fiction."""

PURPOSE = "payment"
ACTION = {"amount": "49.90 EUR", "payee": "Corner Bookshop"}
BINDING = b"session-7f3a"

_SHOWN = 60

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def demo(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, a line each step.")] = False,
) -> None:
    """Show the main job end to end, on a server of its own.

    It starts the server in a temporary directory, verifies a phone number that its
    regulator keeps for fiction, and stops the server; nothing is left behind.
    """
    story = Story(as_json=as_json)
    try:
        _play(story)
    except (DemoError, WatchwordError, ReceiptError) as error:
        print(f"watchword: the demo failed: {printable(str(error))}", file=sys.stderr)  # noqa: T201
        for tail in filter(None, getattr(error, "__notes__", ())):
            print(f"the end of the server's log:\n{tail}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(1) from None


@dataclass
class Story:
    """Tells what happens, step by step: lines for people or a document for programs."""

    as_json: bool = False
    _console: Console = field(default_factory=lambda: Console(markup=False, highlight=False))
    _began: float = field(default_factory=time.monotonic)
    _step: int = 0

    def tell(self, title: str, facts: Mapping[str, str]) -> None:
        """Tell one step and what it found."""
        self._step += 1
        if self.as_json:
            document = {"step": self._step, "title": title, "facts": dict(facts)}
            print(json.dumps(document), flush=True)  # noqa: T201
            return
        self._console.print(f"{self._step}. {title}", style="bold")
        width = max(map(len, facts), default=0)
        for name, value in facts.items():
            self._console.print(f"   {name.ljust(width)}  {printable(value)}", soft_wrap=True)
        self._console.print()

    def end(self) -> None:
        """Say that all went well, and how long it took."""
        seconds = time.monotonic() - self._began
        took = {"took": f"{seconds:.1f} s"}
        self.tell("Done; the server is stopped and its files are gone", took)


def _play(story: Story) -> None:
    with DemoServer() as server:
        profile = server.profile
        where = {"gRPC": server.endpoint, "HTTP": server.http, "files": str(server.root)}
        story.tell("A server starts", where)
        before = _counters(server.fetch("/metrics"))
        with SyncClient(
            server.endpoint, profile["credential_id"], profile["credential_secret"]
        ) as client:
            _look_up(story, client)
            approved = _verify(story, client, server)
        _show_receipt(story, approved, server.fetch("/.well-known/jwks.json"), profile)
        story.tell("The metrics moved", _moved(before, _counters(server.fetch("/metrics"))))
    story.end()


def _look_up(story: Story, client: SyncClient) -> None:
    found = client.lookup(PHONE)
    story.tell(
        "The back end looks the number up",
        {
            "number": found.e164,
            "region": found.region_code,
            "line": text_of(found, "line_type"),
            "valid": text_of(found, "valid"),
        },
    )


def _verify(story: Story, client: SyncClient, server: DemoServer) -> Approved:
    started = client.start(PHONE, purpose=PURPOSE, action=ACTION, binding=BINDING)
    story.tell("It starts a verification", _of(started) | {"action": _text(ACTION)})
    message = server.message_for(started.verification_id)
    story.tell("The phone shows a message", {"to": message["to"], "message": message["body"]})
    wrong = _check(client, started, _another(message["code"]))
    if not isinstance(wrong, Rejected):
        raise DemoError("a wrong code was approved")
    left = f"{wrong.checks_remaining} checks"
    story.tell("The person mistypes the code", {"rejected": wrong.reason, "left": left})
    right = _check(client, started, message["code"])
    if not isinstance(right, Approved):
        raise DemoError(f"the right code was rejected: {right.reason}")
    state = text_of(right.verification, "state")
    facts = {"state": state, "receipt": _short(right.receipt)}
    story.tell("The person enters the right code", facts)
    return right


def _check(client: SyncClient, verification: pb.Verification, code: str) -> Outcome:
    return client.check(
        code,
        verification_id=verification.verification_id,
        purpose=PURPOSE,
        action=ACTION,
        binding=BINDING,
    )


def _show_receipt(story: Story, approved: Approved, jwks: str, profile: dict[str, str]) -> None:
    def verify(action: dict[str, str]) -> str:
        receipt = verify_receipt(
            approved.receipt,
            jwks,
            audience=profile["application_id"],
            purpose=PURPOSE,
            action=action,
            salts=approved.salts,
            phone_number=PHONE,
            allow_test=True,
        )
        return f"by {receipt.issuer}, for {receipt.purpose}, by {receipt.method}"

    proven = verify(ACTION)
    try:
        verify(ACTION | {"amount": "4990.00 EUR"})
    except ReceiptError as error:
        refused = str(error)
    else:
        raise DemoError("a receipt proved an amount that nobody approved")
    story.tell(
        "The shop verifies the receipt offline, with the published keys",
        {"proven": proven, "another amount": refused},
    )


def _of(verification: pb.Verification) -> dict[str, str]:
    names = ("verification_id", "state", "recipient_hint", "expire_time")
    return {name.replace("_", " "): text_of(verification, name) for name in names}


def _text(action: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in action.items())


def _another(code: str) -> str:
    return code[:-1] + str((int(code[-1]) + 1) % 10)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def _counters(exposition: str) -> dict[str, float]:
    """Return Watchword's own counters of a Prometheus text exposition."""
    return dict(_samples(exposition))


def _samples(exposition: str) -> Iterator[tuple[str, float]]:
    for line in exposition.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("watchword_") and name.partition("{")[0].endswith("_total"):
            yield name, float(value)


def _moved(before: dict[str, float], after: dict[str, float]) -> dict[str, str]:
    moved = {
        name: f"{before.get(name, 0):g} -> {value:g}"
        for name, value in after.items()
        if value != before.get(name, 0)
    }
    if not moved:
        raise DemoError("no metric moved")
    return moved
