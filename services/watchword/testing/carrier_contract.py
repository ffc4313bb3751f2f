"""What every carrier must do: subclass `CarrierContract`, give it the fixtures.

The suite needs pytest-asyncio in auto mode. It sends through the adapter as it is,
against a network of the author's own: a stand-in on loopback, a file, a list.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple

import pytest

from watchword.delivery.carrier import (
    Carrier,
    CarrierError,
    Channel,
    Message,
    Receipt,
    Rejected,
    Submitted,
)
from watchword.testing.carriers import a_message

INJECTIONS = (
    "&to=+12025550199",
    "&To=%2B12025550199&Body=x",
    "?to=+12025550199#",
    "#fragment",
    "/../../Calls.json",
    "%2e%2e%2f",
    "\r\nTo: +12025550199\r\n\r\n",
    '"}, {"to": "+12025550199"}, {"',
    "'; DROP TABLE messages; --",
    "\x00",
    "; rm -rf /",
    "{code} {0.__class__} %s ${code} {{7*7}}",
    "\u202e\u2028 é 漢 \U0001f600",
)
_CODE = "493817"


class Taken(NamedTuple):
    """A message as the carrier's network has it."""

    to: str
    body: str


Fault = Callable[[], Awaitable[None]]
Network = Callable[[], list[Taken]]


class CarrierContract:
    """The suite behind the MUSTs of `Carrier`."""

    @pytest.fixture
    def carrier(self) -> Carrier:
        """Return the carrier under test, not opened yet."""
        raise NotImplementedError("override the carrier fixture")

    @pytest.fixture
    def network(self) -> Network:
        """Return what lists every message that the network has taken."""
        raise NotImplementedError("override the network fixture")

    @pytest.fixture
    def faults(self) -> Mapping[str, Fault]:
        """Return what makes the next send fail, by name; empty where nothing can."""
        return {}

    @pytest.fixture
    async def opened(self, carrier: Carrier) -> AsyncIterator[Carrier]:
        """Return the carrier between `open` and `close`."""

        async def receipts(receipt: Receipt) -> None:
            assert receipt.send_id

        await carrier.open(receipts)
        yield carrier
        await carrier.close()

    def test_it_says_honestly_what_it_can(self, carrier: Carrier) -> None:
        """Real channels, known worlds, a name fit for a label."""
        can = carrier.capabilities
        assert can.channels
        assert Channel.AUTO not in can.channels
        assert can.worlds
        assert can.worlds <= {"dev", "sandbox", "production"}
        assert carrier.name.isidentifier()
        assert carrier.name == carrier.name.lower()

    def test_an_unknown_setting_is_refused_in_one_line(self, carrier: Carrier) -> None:
        """Without repeating the value."""
        with pytest.raises(ValueError, match=r".+") as caught:
            type(carrier).create({"no_such_setting": "hunter2"})
        assert "\n" not in str(caught.value)
        assert "hunter2" not in str(caught.value)

    async def test_one_send_submits_one_message(self, opened: Carrier, network: Network) -> None:
        """To exactly the recipient, with exactly the body."""
        submitted = await opened.send(a_message())
        assert isinstance(submitted, Submitted)
        assert _CODE not in submitted.provider_id
        assert network() == [Taken("+12025550100", f"Your code is {_CODE}.")]

    async def test_every_channel_that_it_claims_works(
        self, opened: Carrier, network: Network
    ) -> None:
        """One message each."""
        for number, channel in enumerate(sorted(opened.capabilities.channels)):
            await opened.send(a_message(number)._replace(channel=channel))
        assert len(network()) == len(opened.capabilities.channels)

    async def test_idempotent_only_if_it_says_so(self, opened: Carrier, network: Network) -> None:
        """The same attempt again sends once where `idempotent`, twice otherwise."""
        await opened.send(a_message())
        await opened.send(a_message())
        assert len(network()) == (1 if opened.capabilities.idempotent else 2)

    async def test_many_at_a_time_arrive_once_each(self, opened: Carrier, network: Network) -> None:
        """None lost, none twice, none mixed up."""
        numbers = [f"+120255501{n:02}" for n in range(20)]
        messages = [a_message(n, to=to, body=f"for {to}") for n, to in enumerate(numbers)]
        await asyncio.gather(*(opened.send(message) for message in messages))
        assert sorted(network()) == [Taken(to, f"for {to}") for to in numbers]

    @pytest.mark.parametrize("text", INJECTIONS)
    async def test_c069_a_body_stays_a_body(
        self, opened: Carrier, network: Network, text: str
    ) -> None:
        """Whatever stands in it, one message goes to exactly the recipient."""
        body = f"Brand {text}: {_CODE}{text}."
        await opened.send(a_message(body=body))
        assert network() == [Taken("+12025550100", body)]

    @pytest.mark.parametrize("text", INJECTIONS)
    async def test_c069_a_recipient_stays_one_recipient(
        self, opened: Carrier, network: Network, text: str
    ) -> None:
        """It is taken as it is, or refused; it never becomes another or a second one."""
        to = f"+12025550100{text}"
        try:
            await opened.send(a_message(to=to))
        except Rejected:
            assert network() == []
        else:
            assert [taken.to for taken in network()] == [to]

    async def test_a_cancelled_send_ends_and_spoils_nothing(
        self, opened: Carrier, network: Network
    ) -> None:
        """At most one message of it went out, and the next one goes."""
        sending = asyncio.create_task(opened.send(a_message(1)))
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
        assert len(network()) <= 1
        before = len(network())
        await opened.send(a_message(2, to="+12025550102"))
        assert "+12025550102" in {taken.to for taken in network()[before:]}

    async def test_it_fails_with_carrier_errors_that_tell_nothing(
        self,
        opened: Carrier,
        network: Network,
        faults: Mapping[str, Fault],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Every fault is a typed error; number and code are in none of its parts nor logged."""
        caplog.set_level(logging.DEBUG)
        for name, fault in faults.items():
            before = len(network())
            await fault()
            with pytest.raises(CarrierError) as caught:
                await opened.send(a_message())
            assert len(network()) <= before + 1, name
            assert _is_silent(_everything(caught.value)), name
        assert _is_silent(caplog.text)

    async def test_nothing_personal_in_reprs_and_logs(
        self, opened: Carrier, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Of the carrier, after it sent."""
        caplog.set_level(logging.DEBUG)
        await opened.send(a_message())
        assert _is_silent(f"{opened!r} {opened}")
        assert _is_silent(caplog.text)

    async def test_it_closes_with_nothing_left_running(self, carrier: Carrier) -> None:
        """No task outlives `close`."""

        async def receipts(receipt: Receipt) -> None:
            assert receipt.send_id

        before = asyncio.all_tasks()
        await carrier.open(receipts)
        await carrier.send(a_message())
        await carrier.close()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() <= before


def _everything(error: BaseException | None) -> str:
    """Return whatever a careless log of this error could show."""
    text = ""
    while error is not None:
        text += f"{error} {error!r} {error.args!r} "
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return text


def _is_silent(text: str) -> bool:
    return _CODE not in text and "2025550100" not in text


def reveal_all(messages: list[Message]) -> list[Taken]:
    """Return messages as a network would show them."""
    return [Taken(message.to.reveal(), message.body.reveal()) for message in messages]
