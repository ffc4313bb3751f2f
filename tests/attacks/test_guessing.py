"""Guessing codes: however it is tried, the published budget is what there is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.attacks.conftest import site_config
from tests.attacks.site import Site, Tenant, told, wrong
from tests.support.live import OWN_CONNECTION, Metadata, running

from watchword.core.ports import DAY, HOUR, MINUTE, Millis
from watchword.fraud.limits import PhoneLimits
from watchword.testing.clock import FakeClock
from watchword.verification.v1 import verification_pb2 as pb
from watchword.verification.v1 import verification_pb2_grpc

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHECKS = 5
BUDGET, KEPT = 10, 3
EXPIRY = 10 * MINUTE
BINDING = b"a session that was approved before"


class Comparisons:
    """Counts what a server's store compares, at the one place where it is decided."""

    def __init__(self, site: Site) -> None:
        self._check: Callable[..., Any] = site.live.server.parts.verification.store.check
        self.count = 0

    async def __call__(self, command: object) -> Any:
        outcome = await self._check(command)
        self.count += outcome.compared
        return outcome


@pytest.fixture
async def compared(site: Site) -> AsyncIterator[Comparisons]:
    counter = Comparisons(site)
    store: Any = site.live.server.parts.verification.store
    store.check = counter
    yield counter
    del store.check


async def test_c001_five_wrong_codes_are_the_end(site: Site, compared: Comparisons) -> None:
    tenant = await site.tenant()
    phone = site.phone()
    verification_id, code = await tenant.started(phone)
    for left in reversed(range(CHECKS)):
        reply = await tenant.check(verification_id, wrong(code, left + 1))
        assert reply.rejection.reason == pb.REJECTION_REASON_WRONG_CODE
        assert reply.rejection.checks_remaining == left
    assert await tenant.judged(verification_id, code) == "EXHAUSTED"
    assert await tenant.state(verification_id) == "EXHAUSTED"
    assert compared.count == CHECKS
    assert await told(tenant.resend(verification_id))
    assert await tenant.judged(verification_id, code) == "EXHAUSTED"


async def test_c002_the_limit_is_on_the_check_path(site: Site, compared: Comparisons) -> None:
    """A thousand Checks over several connections, and no further Start."""
    tenant = await site.tenant()
    verification_id, code = await tenant.started(site.phone())
    channels = [grpc.aio.insecure_channel(site.live.endpoint, OWN_CONNECTION) for _ in range(4)]
    stubs = [verification_pb2_grpc.VerificationServiceStub(channel) for channel in channels]

    async def one(number: int) -> pb.CheckVerificationResponse:
        request = pb.CheckVerificationRequest(
            verification_id=verification_id, code=wrong(code, number + 1)
        )
        async with slots:
            return await stubs[number % 4].CheckVerification(request, metadata=tenant.auth)

    slots = asyncio.Semaphore(64)
    replies = await asyncio.gather(*map(one, range(1_000)))
    for channel in channels:
        await channel.close()
    assert compared.count == CHECKS
    reasons = [reply.rejection.reason for reply in replies]
    assert reasons.count(pb.REJECTION_REASON_WRONG_CODE) == CHECKS
    assert reasons.count(pb.REJECTION_REASON_EXHAUSTED) == 1_000 - CHECKS


async def attack(
    site: Site,
    tenant: Tenant,
    phone: str,
    until: Millis,
    every: Millis = 5 * MINUTE,
    **fields: Any,
) -> list[tuple[Millis, str]]:
    """Start and guess wrong again and again until a time; returns when what was answered."""
    answers: list[tuple[Millis, str]] = []
    began = site.clock.now()
    while site.clock.now() < until:
        try:
            verification_id = (await tenant.start(phone, **fields)).verification_id
        except grpc.aio.AioRpcError:
            site.pass_time(every)
            continue
        code = await site.live.code(verification_id)
        for number in range(1, CHECKS):
            answer = await tenant.judged(verification_id, wrong(code, number), **fields)
            answers.append((site.clock.now() - began, answer))
        site.pass_time(every)
    return answers


def comparisons(answers: list[tuple[Millis, str]]) -> list[Millis]:
    return [time for time, answer in answers if answer == "WRONG_CODE"]


def most_in_a_day(times: list[Millis]) -> int:
    return max(sum(t <= other < t + DAY for other in times) for t in times)


async def test_c003_new_verifications_refill_nothing(tmp_path: Path) -> None:
    """A day of Starts and guesses, with a restart in the middle."""
    clock, directory = FakeClock(), tmp_path / "var"
    config = site_config(directory)
    async with running(directory, config=config, clock=clock) as live:
        site = Site(live, clock)
        tenant, phone = await site.tenant(), site.phone()
        before = await attack(site, tenant, phone, clock.now() + 12 * HOUR)
    assert len(comparisons(before)) == BUDGET - KEPT
    answers = {answer for _, answer in before}
    assert answers == {"WRONG_CODE", "EXHAUSTED", "GUESS_BUDGET_EXHAUSTED"}
    async with running(directory, config=config, clock=clock) as live:
        site.live = live
        after = await attack(site, tenant, phone, clock.now() + 11 * HOUR)
        assert comparisons(after) == []
        assert (await tenant.quota(phone))["PHONE_GUESSES_DAY"] == (BUDGET, 7, 3)
        later = await attack(site, tenant, phone, clock.now() + 3 * DAY, HOUR)
    assert 0 < most_in_a_day(comparisons(later)) <= BUDGET - KEPT


async def test_c003_a_used_up_budget_is_told_on_check(site: Site) -> None:
    """A Start may still be let; its code is not compared before the wait is over."""
    tenant, phone = await site.tenant(), site.phone()
    first, code = await tenant.started(phone)
    for number in range(CHECKS):
        await tenant.check(first, wrong(code, number + 1))
    site.pass_time(MINUTE)
    second, code = await tenant.started(phone)
    assert await tenant.judged(second, wrong(code)) == "WRONG_CODE"
    refusal = await told(tenant.check(second, code))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.reason == "GUESS_BUDGET_EXHAUSTED"
    assert refusal.retry is not None
    site.pass_time(refusal.retry.ToMilliseconds() - 1)
    assert await tenant.judged(second, code) == "GUESS_BUDGET_EXHAUSTED"
    site.pass_time(1)
    assert await tenant.judged(second, code) == "APPROVED"


async def test_c003_a_known_binding_has_its_own_share_and_no_more(site: Site) -> None:
    tenant, phone = await site.tenant(), site.phone()
    verification_id, code = await tenant.started(phone, binding=BINDING)
    assert await tenant.judged(verification_id, code, binding=BINDING) == "APPROVED"
    site.pass_time(HOUR)
    began = site.clock.now()
    strangers = await attack(site, tenant, phone, began + 20 * MINUTE, binding=b"another")
    known = await attack(site, tenant, phone, began + 16 * HOUR, binding=BINDING)
    assert len(comparisons(strangers)) == BUDGET - KEPT
    assert len(comparisons(known)) == KEPT
    assert "GUESS_BUDGET_EXHAUSTED" in {answer for _, answer in strangers}
    assert "APPROVED" not in {answer for _, answer in (*strangers, *known)}


async def test_c004_claimed_origins_change_nothing(site: Site) -> None:
    tenant = await site.tenant()
    plain, spoofing = site.phone(), site.phone()
    began = site.clock.now()
    expected = await attack(site, tenant, plain, began + 6 * HOUR)
    number = 0

    class Spoofing(Tenant):
        async def judged(self, verification_id: str, code: str, **fields: Any) -> str:
            nonlocal number
            number += 1
            origin = f"203.0.113.{number % 250}"
            self.auth = (*tenant.auth, *spoofed(origin))
            return await super().judged(verification_id, code, **fields)

    spoofer = Spoofing(site, tenant.account_id, tenant.application_id, tenant.auth)
    got = await attack(site, spoofer, spoofing, site.clock.now() + 6 * HOUR)
    assert number > BUDGET
    assert got == expected


def spoofed(origin: str) -> Metadata:
    return (
        ("x-forwarded-for", origin),
        ("x-real-ip", origin),
        ("forwarded", f"for={origin}"),
        ("x-client-cert-serial", origin),
        ("x-user-agent", origin),
    )


async def test_c005_an_old_request_id_brings_no_new_guess(
    site: Site, compared: Comparisons
) -> None:
    tenant = await site.tenant()
    verification_id, code = await tenant.started(site.phone())
    first = await tenant.check(verification_id, wrong(code), request_id="try")
    for number in (2, 3, 4):
        refusal = await told(tenant.check(verification_id, wrong(code, number), request_id="try"))
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.reason == "REQUEST_ID_MISMATCH"
    # Not even the right one: an old answer is for the old question alone.
    assert (await told(tenant.check(verification_id, code, request_id="try"))).reason == (
        "REQUEST_ID_MISMATCH"
    )
    again = await tenant.check(verification_id, wrong(code), request_id="try")
    assert again.rejection == first.rejection
    assert compared.count == 1
    assert (await tenant.get(verification_id)).checks_remaining == CHECKS - 1


@pytest.mark.parametrize(("late", "expected"), [(-1, "APPROVED"), (0, "EXPIRED"), (1, "EXPIRED")])
async def test_c007_a_code_ends_with_its_time(site: Site, late: Millis, expected: str) -> None:
    tenant = await site.tenant()
    verification_id, code = await tenant.started(site.phone())
    shown = await tenant.get(verification_id)
    lifetime = shown.expire_time.ToMilliseconds() - shown.create_time.ToMilliseconds()
    assert lifetime == EXPIRY
    site.pass_time(EXPIRY + late)
    assert await tenant.judged(verification_id, code) == expected
    # What is over stays over, even where the clock steps back.
    site.clock.advance(-MINUTE)
    again = "ALREADY_USED" if expected == "APPROVED" else "EXPIRED"
    assert await tenant.judged(verification_id, code) == again
    site.clock.advance(MINUTE)


async def test_c008_the_limits_hold_without_any_setting(site: Site) -> None:
    assert site.live.server.config.limits == PhoneLimits()
    tenant = await site.tenant(caps=(0, 0))
    phone = site.phone()
    shown = await tenant.quota(phone)
    assert shown == {
        "PHONE_SENDS_HOUR": (5, 0, 5),
        "PHONE_SENDS_DAY": (10, 0, 10),
        "PHONE_GUESSES_DAY": (BUDGET, 0, BUDGET),
        "ACCOUNT_SENDS_HOUR": (1_000, 0, 1_000),
        "ACCOUNT_SENDS_DAY": (10_000, 0, 10_000),
    }
    started = await tenant.start(phone)
    assert (started.checks_remaining, started.sends_remaining) == (CHECKS, 4)
    assert (await told(tenant.start(phone))).reason == "SEND_COOLDOWN"


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (pb.CodePolicy(max_checks=10**9), "code_policy.max_checks"),
        (pb.CodePolicy(max_checks=11), "code_policy.max_checks"),
        (pb.CodePolicy(max_checks=-1), "code_policy"),
        (pb.CodePolicy(length=1), "code_policy.length"),
        (pb.CodePolicy(length=5), "code_policy.length"),
        (pb.CodePolicy(length=9), "code_policy.length"),
        (pb.CodePolicy(ttl=Duration(seconds=10 * 365 * 86_400)), "code_policy.ttl"),
        (pb.CodePolicy(ttl=Duration(seconds=601)), "code_policy.ttl"),
        (pb.CodePolicy(ttl=Duration(seconds=600, nanos=1_000_000)), "code_policy.ttl"),
        (pb.CodePolicy(ttl=Duration(seconds=-600)), "code_policy.ttl"),
    ],
)
async def test_c010_a_caller_stays_within_the_hard_bounds(
    site: Site, policy: pb.CodePolicy, field: str
) -> None:
    tenant, phone = await site.tenant(), site.phone()
    refusal = await told(tenant.start(phone, code_policy=policy))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == (field,)
    assert site.bodies(phone) == []
    assert (await tenant.quota(phone))["PHONE_SENDS_HOUR"] == (5, 0, 5)


async def test_c010_a_callers_own_code_needs_a_grant_and_some_entropy(site: Site) -> None:
    tenant, phone = await site.tenant(), site.phone()
    refusal = await told(tenant.start(phone, custom_code="739204"))
    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    assert refusal.reason == "CUSTOM_CODE_NOT_GRANTED"
    await site.update(tenant.application_id, "custom_code_granted", custom_code_granted=True)
    for code in ("000000", "123456", "987654", "12345", "12345678901", "12a456", "\uff1739204"):
        refusal = await told(tenant.start(phone, custom_code=code))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.fields == ("custom_code",)
        assert code not in refusal.message
    assert site.bodies(phone) == []
    verification_id, code = await tenant.started(phone, custom_code="7392048165")
    assert code == "7392048165"
    reply = await tenant.check(verification_id, code)
    assert reply.WhichOneof("result") == "approval"
    assert reply.verification.code_origin == pb.CODE_ORIGIN_CALLER


async def test_c013_a_hundred_wrong_codes_stop_an_approved_phone(site: Site) -> None:
    """The factor is off until it is re-bound, which takes a day and a notice."""
    tenant, phone = await site.tenant(), site.phone()
    verification_id, code = await tenant.started(phone)
    assert await tenant.judged(verification_id, code) == "APPROVED"
    site.pass_time(HOUR)
    total = 0
    while total < 100:
        answers = await attack(site, tenant, phone, site.clock.now() + DAY, 2 * HOUR)
        total += len(comparisons(answers))
        assert most_in_a_day(comparisons(answers)) <= BUDGET - KEPT
    assert total == 100
    site.pass_time(40 * DAY)
    refusal = await told(tenant.start(phone))
    assert (refusal.reason, refusal.retry) == ("GUESS_BUDGET_EXHAUSTED", None)
    count = len(site.bodies(phone))

    request = pb.RebindPhoneRequest(phone_number=phone, reason="the person called", request_id="r")
    stub = site.live.verification
    rebind = (await stub.RebindPhone(request, metadata=tenant.auth)).rebind
    assert rebind.state == pb.REBIND_STATE_PENDING
    assert rebind.effective_time.ToMilliseconds() == site.clock.now() + DAY
    again = (await stub.RebindPhone(request, metadata=tenant.auth)).rebind
    assert again == rebind
    async with asyncio.timeout(10):
        while len(site.bodies(phone)) == count:  # noqa: ASYNC110 - a notice has no topic
            await asyncio.sleep(0.01)
    (notice,) = site.bodies(phone)[count:]
    assert "unlock this phone number takes effect in 24 hours" in notice

    site.pass_time(DAY - 1)
    assert (await told(tenant.start(phone))).reason == "GUESS_BUDGET_EXHAUSTED"
    site.pass_time(1)
    verification_id, code = await tenant.started(phone)
    assert await tenant.judged(verification_id, code) == "APPROVED"


async def test_c013_a_success_ends_the_row(site: Site) -> None:
    tenant, phone = await site.tenant(), site.phone()
    for _ in range(18):
        verification_id, code = await tenant.started(phone)
        for number in range(1, CHECKS):
            await tenant.judged(verification_id, wrong(code, number))
        await tenant.judged(verification_id, wrong(code, 9))
        site.pass_time(11 * MINUTE)
        verification_id, code = await tenant.started(phone)
        assert await tenant.judged(verification_id, code) == "APPROVED"
        site.pass_time(DAY)
    # Ninety wrong codes in all, and never more than five in a row.
    assert (await tenant.start(phone)).state == pb.VERIFICATION_STATE_PENDING
