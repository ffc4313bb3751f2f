"""The sandbox's script: every outcome, delay and receipt by number."""

import asyncio
import stat
from pathlib import Path

import pytest

from watchword.core.errors import Unavailable
from watchword.delivery.carrier import (
    Ambiguous,
    CarrierError,
    Channel,
    Misconfigured,
    Receipt,
    ReceiptState,
    Rejected,
    Throttled,
    Unreachable,
)
from watchword.testing.carriers import a_message
from watchword_adapters.carriers import script
from watchword_adapters.carriers.sandbox import SandboxCarrier
from watchword_adapters.carriers.script import BUILT_IN, Rule, Script


class Phone:
    """Hears the receipts, and notes how long the carrier was asked to wait."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.waits: list[float] = []
        self.away = 0

    async def hear(self, receipt: Receipt) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        self.receipts.append(receipt)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


async def play(
    carrier: SandboxCarrier, number: str, times: int = 3
) -> list[type[CarrierError] | None]:
    """Return what each of some sends to one number came to."""
    outcomes: list[type[CarrierError] | None] = []
    for n in range(times):
        try:
            await carrier.send(a_message(n, to=number))
            outcomes.append(None)
        except CarrierError as error:
            outcomes.append(type(error))
    for _ in range(3):
        await asyncio.sleep(0)
    return outcomes


CASES = [
    ("80", [None] * 3, 3, ["DELIVERED"] * 3, []),
    ("81", [None] * 3, 3, [], []),
    ("82", [None] * 3, 3, ["UNDELIVERED"] * 3, []),
    ("83", [Rejected] * 3, 0, [], []),
    ("84", [Throttled, None, None], 2, ["DELIVERED"] * 2, []),
    ("85", [Unreachable, None, None], 2, ["DELIVERED"] * 2, []),
    ("86", [Unreachable] * 3, 0, [], []),
    ("87", [Misconfigured] * 3, 0, [], []),
    ("88", [Ambiguous] * 3, 3, [], []),
    ("89", [Ambiguous, None, None], 2, ["DELIVERED"] * 2, []),
    ("90", [None] * 3, 3, ["DELIVERED"] * 3, [2.0] * 3),
    ("92", [None] * 3, 3, ["DELIVERED"] * 3, [5.0] * 3),
    ("93", [Throttled] * 3, 0, [], []),
    ("94", [Ambiguous, None, None], 3, ["DELIVERED"] * 2, []),
    ("79", [None] * 3, 3, ["DELIVERED"] * 3, []),
]


@pytest.mark.parametrize(("end", "outcomes", "taken", "receipts", "waits"), CASES)
async def test_the_built_in_script(
    end: str,
    outcomes: list[type[CarrierError] | None],
    taken: int,
    receipts: list[str],
    waits: list[float],
) -> None:
    phone = Phone()
    carrier = SandboxCarrier(receipts=True, sleep=phone.sleep)
    await carrier.open(phone.hear)
    assert await play(carrier, f"+120255501{end}") == outcomes
    assert len(carrier.messages) == taken
    assert [receipt.state for receipt in phone.receipts] == receipts
    assert phone.waits == waits
    await carrier.close()


def test_the_docstring_lists_every_built_in_number() -> None:
    assert script.__doc__ is not None
    for rule in BUILT_IN:
        assert f"`{rule.suffix}`" in script.__doc__


async def test_a_hang_ends_only_by_cancellation() -> None:
    carrier = SandboxCarrier()
    sending = asyncio.create_task(carrier.send(a_message(to="+12025550191")))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not sending.done()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not carrier.messages


async def test_throttling_says_how_long() -> None:
    with pytest.raises(Throttled) as caught:
        await SandboxCarrier().send(a_message(to="+12025550193"))
    assert caught.value.retry_after == 1_000


async def test_by_default_every_number_is_taken_and_nothing_reported() -> None:
    phone = Phone()
    carrier = SandboxCarrier()
    await carrier.open(phone.hear)
    assert await play(carrier, "+4915123456789") == [None] * 3
    assert phone.receipts == []
    await carrier.close()


async def test_a_receipt_is_brought_again_while_the_store_is_away() -> None:
    phone = Phone()
    phone.away = 2
    carrier = SandboxCarrier(receipts=True, sleep=phone.sleep)
    await carrier.open(phone.hear)
    await play(carrier, "+12025550100", 1)
    assert phone.receipts == [Receipt(a_message(0).send_id, ReceiptState.DELIVERED)]
    await carrier.close()


async def test_only_the_last_messages_are_kept() -> None:
    carrier = SandboxCarrier(keep=2)
    await play(carrier, "+12025550100")
    assert [m.send_id for m in carrier.messages] == [a_message(1).send_id, a_message(2).send_id]


async def test_rules_from_settings_override_the_built_in_ones(tmp_path: Path) -> None:
    path = tmp_path / "out" / "messages.jsonl"
    carrier = SandboxCarrier.create(
        {
            "path": str(path),
            "rules": [
                {"suffix": "5550183", "outcome": "ok"},
                {"suffix": "77", "outcome": "unreachable", "times": 2},
                {"suffix": "177", "outcome": "throttled", "retry_after_ms": 7},
            ],
        }
    )
    await carrier.open(Phone().hear)
    assert await play(carrier, "+12025550183") == [None] * 3
    assert await play(carrier, "+12025550277") == [Unreachable, Unreachable, None]
    assert await play(carrier, "+12025550177") == [Throttled] * 3
    assert await play(carrier, "+12025550186") == [Unreachable] * 3
    await carrier.close()
    assert len(path.read_text().splitlines()) == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_without_the_built_in_script_its_numbers_are_ordinary() -> None:
    carrier = SandboxCarrier.create({"built_in": False})
    assert await play(carrier, "+12025550183") == [None] * 3


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"rules": [{"outcome": "ok"}]}, r"rules\.suffix"),
        ({"rules": [{"suffix": "x"}]}, r"rules\.suffix"),
        ({"rules": [{"suffix": "٣"}]}, r"rules\.suffix"),
        ({"rules": [{"suffix": "1", "outcome": "maybe"}]}, r"rules\.outcome"),
        ({"rules": [{"suffix": "1", "receipt": "maybe"}]}, r"rules\.receipt"),
        ({"rules": [{"suffix": "1", "delay_ms": -1}]}, r"rules\.delay_ms"),
        ({"rules": [{"suffix": "1", "extra": 1}]}, r"rules\.extra"),
        ({"rules": "all"}, "rules"),
        ({"keep": "many"}, "keep"),
        ({"receipts": 1}, "receipts"),
    ],
)
def test_a_bad_setting_is_refused_by_name(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=rf"^carriers\.sandbox\.{text} [^\n]+$"):
        SandboxCarrier.create(settings)


def test_the_memory_of_used_up_rules_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "_MOST_NUMBERS", 10)
    played = Script([Rule("1", times=1)])
    for n in range(100):
        assert played.next(f"+{n}1") is not None
    assert len(played._used) <= 10


def test_it_serves_no_production_store() -> None:
    assert SandboxCarrier.capabilities.worlds == {"dev", "sandbox"}
    assert Channel.SMS in SandboxCarrier.capabilities.channels
