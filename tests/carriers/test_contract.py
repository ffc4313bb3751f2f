"""Every adapter, and the fake, against the suite that they must pass."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from watchword.core.secret import Secret
from watchword.delivery.carrier import Carrier, Rejected, Unreachable
from watchword.testing.carrier_contract import CarrierContract, Fault, Network, Taken, reveal_all
from watchword.testing.carriers import FakeCarrier
from watchword.testing.twilio_fake import (
    ACCOUNT_SID,
    AUTH_TOKEN,
    FROM_NUMBER,
    Answer,
    TwilioFake,
    twilio_fake,
)
from watchword.testing.twilio_fake import Fault as Wire
from watchword_adapters.carriers.console import ConsoleCarrier
from watchword_adapters.carriers.sandbox import SandboxCarrier
from watchword_adapters.carriers.script import Outcome, Rule
from watchword_adapters.carriers.twilio import TwilioCarrier


def lines(path: Path) -> list[Taken]:
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [Taken(row["to"], row["body"]) for row in rows]


def told(action: Callable[[], object]) -> Fault:
    async def fault() -> None:
        action()

    return fault


class TestFake(CarrierContract):
    @pytest.fixture
    def carrier(self) -> FakeCarrier:
        return FakeCarrier()

    @pytest.fixture
    def network(self, carrier: FakeCarrier) -> Network:
        return lambda: reveal_all(carrier.taken)

    @pytest.fixture
    def faults(self, carrier: FakeCarrier) -> Mapping[str, Fault]:
        return {
            "before": told(lambda: carrier.failures.append(Rejected("no"))),
            "after": told(lambda: carrier.lost.append(Unreachable("no"))),
        }


class TestConsole(CarrierContract):
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "messages.jsonl"

    @pytest.fixture
    def carrier(self, path: Path) -> Carrier:
        return ConsoleCarrier.create({"path": str(path), "stdout": False})

    @pytest.fixture
    def network(self, path: Path) -> Network:
        return lambda: lines(path)


class TestSandbox(CarrierContract):
    @pytest.fixture
    def carrier(self) -> SandboxCarrier:
        return SandboxCarrier(receipts=True)

    @pytest.fixture
    def network(self, carrier: SandboxCarrier) -> Network:
        return lambda: reveal_all(list(carrier.messages))

    @pytest.fixture
    def faults(self, carrier: SandboxCarrier) -> Mapping[str, Fault]:
        def fault(outcome: Outcome) -> Fault:
            rule = Rule("0100", outcome)
            return told(lambda: carrier.follow([rule]))

        return {o: fault(o) for o in Outcome if o not in (Outcome.OK, Outcome.HANG)}


class TestTwilio(CarrierContract):
    @pytest.fixture
    async def api(self) -> AsyncIterator[TwilioFake]:
        async with twilio_fake() as fake:
            yield fake

    @pytest.fixture
    def carrier(self, api: TwilioFake) -> Carrier:
        return TwilioCarrier.create(
            {
                "account_sid": ACCOUNT_SID,
                "auth_token": Secret(AUTH_TOKEN),
                "from_number": FROM_NUMBER,
                "base_url": api.base_url,
                "timeout_ms": 200,
            }
        )

    @pytest.fixture
    def network(self, api: TwilioFake) -> Network:
        return lambda: [Taken(message.to, message.body) for message in api.messages]

    @pytest.fixture
    def faults(self, api: TwilioFake) -> Mapping[str, Callable[[], Awaitable[None]]]:
        script: dict[str, Answer | Wire] = {
            "refused": Answer(400, 21610),
            "unauthorised": Answer(401, 20003),
            "throttled": Answer(429, 20429, {"Retry-After": "3"}),
            "down": Answer(503),
            "failed": Answer(500),
            "dropped": Wire.DROP_BEFORE,
            "taken and dropped": Wire.DROP_AFTER,
            "stalled": Wire.STALL_BEFORE,
            "taken and stalled": Wire.STALL_AFTER,
        }
        return {name: told(partial(api.script.append, entry)) for name, entry in script.items()}
