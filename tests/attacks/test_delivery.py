"""Carriers that answer in doubt, late or not at all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from tests.attacks.site import Site, Tenant

from watchword.core.phone import lookup
from watchword.core.ports import MINUTE, SECOND
from watchword.delivery.dispatcher import DispatchSettings
from watchword.verification.v1 import verification_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def settled(site: Site, tenant: Tenant, verification_id: str) -> pb.Send:
    """Let the retries of the first send come due until it is settled."""
    async with asyncio.timeout(20):
        while True:
            (send,) = (await tenant.get(verification_id)).sends
            if send.state != pb.SEND_STATE_QUEUED:
                return send
            site.pass_time(SECOND)
            await asyncio.sleep(0.005)


def texts(site: Site, verification_id: str) -> list[tuple[str, str]]:
    return [
        (m.attempt_id, m.code.reveal())
        for m in site.live.messages
        if m.verification_id == verification_id
    ]


async def test_c071_a_taken_message_whose_answer_is_lost_is_repeated_once(site: Site) -> None:
    """Twice in doubt: two messages with one code at most, both charged, and it says so."""
    tenant, phone = await site.tenant(), "+12125550188"
    verification_id = (await tenant.start(phone)).verification_id
    send = await settled(site, tenant, verification_id)
    assert (send.state, send.error_reason) == (pb.SEND_STATE_SUBMITTED, "OUTCOME_UNKNOWN")
    for _ in range(5):
        site.pass_time(MINUTE)
        await asyncio.sleep(0.01)
    (first, code), (second, same) = texts(site, verification_id)
    assert code == same
    assert first != second
    assert first.partition(".")[0] == second.partition(".")[0] == send.send_id
    quota = await tenant.quota(phone)
    assert quota["PHONE_SENDS_HOUR"][1] == 2
    assert quota["ACCOUNT_SENDS_HOUR"][1] == 2
    assert await tenant.judged(verification_id, code) == "APPROVED"


@pytest.mark.parametrize(("phone", "count"), [("+12125550189", 1), ("+12125550194", 2)])
async def test_c071_a_doubt_that_clears_up_ends_submitted(
    site: Site, phone: str, count: int
) -> None:
    tenant = await site.tenant()
    verification_id = (await tenant.start(phone)).verification_id
    send = await settled(site, tenant, verification_id)
    assert (send.state, send.error_reason) == (pb.SEND_STATE_SUBMITTED, "")
    sent = texts(site, verification_id)
    assert len(sent) == count
    assert len({code for _, code in sent}) == 1
    # What nobody knows is counted as sent.
    assert (await tenant.quota(phone))["PHONE_SENDS_HOUR"][1] == 2
    assert await tenant.judged(verification_id, sent[0][1]) == "APPROVED"


@pytest.mark.parametrize(
    ("phone", "error"),
    [
        ("+12125550183", "DELIVERY_REFUSED"),
        ("+12125550187", "CARRIER_MISCONFIGURED"),
        ("+12125550186", "CARRIER_UNREACHABLE"),
        ("+12125550193", "CARRIER_UNREACHABLE"),
    ],
)
async def test_c070_what_no_carrier_takes_fails_its_verification(
    site: Site, phone: str, error: str
) -> None:
    tenant = await site.tenant()
    verification_id = (await tenant.start(phone)).verification_id
    send = await settled(site, tenant, verification_id)
    assert (send.state, send.error_reason) == (pb.SEND_STATE_FAILED, error)
    assert await tenant.state(verification_id) == "FAILED"
    assert await tenant.judged(verification_id, "123456") == "FAILED"
    assert texts(site, verification_id) == []


@pytest.mark.parametrize(
    ("phone", "state", "error"),
    [
        ("+12125550180", pb.SEND_STATE_DELIVERED, ""),
        ("+12125550182", pb.SEND_STATE_UNDELIVERED, "UNDELIVERABLE"),
    ],
)
async def test_c080_a_receipt_moves_the_send_and_approves_nothing(
    site: Site, phone: str, state: "pb.SendState.ValueType", error: str
) -> None:
    tenant = await site.tenant()
    verification_id = (await tenant.start(phone)).verification_id
    async with (
        asyncio.timeout(20),
        site.live.server.bus.subscribe(verification_id) as changes,
    ):
        while True:
            (send,) = (await tenant.get(verification_id)).sends
            if send.state not in (pb.SEND_STATE_QUEUED, pb.SEND_STATE_SUBMITTED):
                break
            await anext(changes)
    assert (send.state, send.error_reason) == (state, error)
    assert await tenant.state(verification_id) == "PENDING"


@pytest_asyncio.fixture(loop_scope="module")
async def gate(site: Site) -> AsyncIterator[asyncio.Event]:
    """While it is closed, the carrier takes no message to numbers that end in 5550190."""
    carrier: Any = site.live.server.parts.carriers["sandbox"]
    opened = asyncio.Event()
    sleep = carrier._sleep

    async def held(_: float) -> None:
        await opened.wait()

    carrier._sleep = held
    yield opened
    opened.set()
    carrier._sleep = sleep


def areas() -> list[int]:
    """Return area codes in which a number that ends in 5550190 may be sent to."""
    numbers = {area: lookup(f"+1{area}5550190") for area in range(201, 1000)}
    return [area for area, found in numbers.items() if found.valid and found.region_code == "US"]


async def test_c072_a_carrier_that_hangs_holds_up_no_caller(
    site: Site, gate: asyncio.Event
) -> None:
    """Every Start is acknowledged while all of the carrier's lines are held."""
    tenant = await site.tenant()
    phones = [f"+1{area}5550190" for area in areas()[:150]]
    started = await asyncio.gather(*map(tenant.start, phones))
    assert len({verification.verification_id for verification in started}) == 150
    assert {v.state for v in started} == {pb.VERIFICATION_STATE_PENDING}
    # Checks and cancels go on, and what is canceled in line is not sent.
    assert await tenant.judged(started[0].verification_id, "123456") in {"WRONG_CODE", "APPROVED"}
    for verification in started[1:]:
        await tenant.cancel(verification.verification_id)
    gate.set()
    ends = [await tenant.sent(verification.verification_id) for verification in started]
    called = DispatchSettings().slots
    errors = Counter(send.error_reason for send in ends)
    assert errors["NOT_NEEDED"] in (150 - called - 1, 150 - called)
    assert errors[""] == 150 - errors["NOT_NEEDED"] == sum(len(site.bodies(p)) for p in phones)
