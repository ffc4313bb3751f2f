"""Spending other people's money, and bombing one person's phone."""

import asyncio
from collections import Counter
from itertools import pairwise
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tests.attacks.conftest import site_config
from tests.attacks.site import Site, Tenant, raw, told
from tests.support.live import OWN_CONNECTION, running
from tests.support.status import details

from watchword.core.ports import DAY, HOUR, MINUTE, SECOND, Millis
from watchword.testing.clock import START, FakeClock
from watchword.verification.v1 import verification_pb2 as pb
from watchword.verification.v1 import verification_pb2_grpc

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAP = 100
CALLERS = 8


async def pumped(site: Site, tenant: Tenant, count: int) -> Counter[str]:
    """Start `count` verifications of as many numbers over eight connections at once."""
    channels = [grpc.aio.insecure_channel(site.live.endpoint, OWN_CONNECTION) for _ in range(8)]
    stubs = [verification_pb2_grpc.VerificationServiceStub(channel) for channel in channels]
    answers: Counter[str] = Counter()

    async def caller(number: int) -> None:
        for _ in range(count // CALLERS):
            request = pb.StartVerificationRequest(phone_number=site.phone())
            try:
                await stubs[number].StartVerification(request, metadata=tenant.auth)
                answers["started"] += 1
            except grpc.aio.AioRpcError as error:
                refusal = details(error)
                assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert refusal.retry is not None
                answers[refusal.reason] += 1

    await asyncio.gather(*map(caller, range(CALLERS)))
    for channel in channels:
        await channel.close()
    return answers


async def test_c086_the_cap_is_exact_at_once_and_after_a_restart(tmp_path: Path) -> None:
    clock, directory = FakeClock(START - START % DAY + MINUTE), tmp_path / "var"
    config = site_config(directory)
    async with running(directory, config=config, clock=clock) as live:
        site = Site(live, clock)
        tenant = await site.tenant(caps=(CAP, CAP + 20))
        first = await pumped(site, tenant, 800)
        assert first == {"started": CAP, "ACCOUNT_BUDGET_EXHAUSTED": 800 - CAP}
        counted = 'watchword_limits_hit_total{reason="ACCOUNT_BUDGET_EXHAUSTED"} 700.0'
        assert counted in live.server.metrics.text().decode()
    async with running(directory, config=config, clock=clock) as live:
        site.live = live
        again = await pumped(site, tenant, 80)
        assert again == {"ACCOUNT_BUDGET_EXHAUSTED": 80}
        # A new hour brings what is left of the day, and no more.
        clock.advance(HOUR)
        later = await pumped(site, tenant, 80)
        assert later == {"started": 20, "ACCOUNT_BUDGET_EXHAUSTED": 60}
        sends = site.rows("SELECT count(*) FROM send WHERE account_id = ?", tenant.account_id)
        assert sends == [(CAP + 20,)]
        quota = await tenant.quota(site.phone())
        assert quota["ACCOUNT_SENDS_DAY"] == (CAP + 20, CAP + 20, 0)


async def test_c086_resends_are_charged_like_starts(site: Site) -> None:
    tenant = await site.tenant(caps=(2, 2))
    verification_id, _ = await tenant.started(site.phone())
    site.pass_time(MINUTE)
    await tenant.resend(verification_id)
    site.pass_time(5 * MINUTE)
    refusal = await told(tenant.resend(verification_id))
    assert refusal.reason == "ACCOUNT_BUDGET_EXHAUSTED"


async def test_c088_twenty_applications_cannot_bomb_one_phone(site: Site) -> None:
    """Each stays within its own limits; what the phone got stays within everybody's."""
    victim = site.phone()
    tenants = [await site.tenant() for _ in range(5)]
    for tenant in tuple(tenants):
        tenants += [await site.application(tenant.account_id) for _ in range(3)]
    assert len(tenants) == 20
    times: list[Millis] = []
    refusals: Counter[str] = Counter()
    began = site.clock.now()
    while site.clock.now() < began + 26 * HOUR:
        for tenant in tenants:
            try:
                started = await tenant.start(victim)
            except grpc.aio.AioRpcError as error:
                refusals[details(error).reason] += 1
                continue
            count = len(started.sends)
            send = await tenant.sent(started.verification_id, count)
            if send.state == pb.SEND_STATE_SUBMITTED:
                times.append(site.clock.now())
            else:
                refusals[send.error_reason] += 1
        early = site.clock.now() < began + 90 * MINUTE
        site.pass_time(4 * MINUTE if early else 2 * HOUR)
    assert len(site.bodies(victim)) == len(times) > 5
    assert most_within(times, HOUR) <= 5
    assert most_within(times, DAY) <= 10
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert min(waits) >= 30 * SECOND
    # What stops them all is never told: each hears of its own limits, or of a refusal.
    assert set(refusals) <= {"SEND_COOLDOWN", "SEND_BUDGET_EXHAUSTED", "DELIVERY_REFUSED"}
    assert refusals["DELIVERY_REFUSED"] > 20


def most_within(times: list[Millis], window: Millis) -> int:
    return max(sum(begin <= t < begin + window for t in times) for begin in times)


# Everything in a reply that is of this one verification alone.
OWN = ("verification_id", "application_id", "recipient_hint")


def anonymous(verification: pb.Verification) -> bytes:
    """Return a reply's bytes without ids and hint, its times as spans since the Start."""
    shape = pb.Verification()
    shape.CopyFrom(verification)
    began = shape.create_time.ToMilliseconds()
    for name in OWN:
        assert getattr(shape, name)
        shape.ClearField(name)  # type: ignore[arg-type]
    for name in ("create_time", "update_time", "expire_time", "next_send_time"):
        if shape.HasField(name):  # type: ignore[arg-type]
            _since(getattr(shape, name), began)
    for send in shape.sends:
        send.ClearField("send_id")
        for name in ("create_time", "update_time", "submit_time"):
            if send.HasField(name):  # type: ignore[arg-type]
                _since(getattr(send, name), began)
    return raw(shape)


def _since(moment: Timestamp, began: Millis) -> None:
    moment.FromMilliseconds(moment.ToMilliseconds() - began)


async def test_c088_what_all_used_up_reads_like_a_carriers_refusal(site: Site) -> None:
    """Start, Get, Check, Watch and quota: byte for byte but for ids, times and the hint."""
    victim, refused = site.phone(), "+12125550183"
    for _ in range(5):
        bomber = await site.tenant()
        await bomber.started(victim)
        site.pass_time(3 * MINUTE)
    replies = []
    for phone in (victim, refused):
        tenant = await site.tenant()
        started = await tenant.start(phone)
        verification_id = started.verification_id
        send = await tenant.sent(verification_id)
        assert (send.state, send.error_reason) == (pb.SEND_STATE_FAILED, "DELIVERY_REFUSED")
        shown = await tenant.get(verification_id)
        checked = await tenant.check(verification_id, "1" * 6)
        watch = site.live.verification.WatchVerification(
            pb.WatchVerificationRequest(verification_id=verification_id), metadata=tenant.auth
        )
        watched = [reply.verification async for reply in watch]
        quota = await tenant.quota(phone)
        site.pass_time(MINUTE)
        resent = await tenant.judged(verification_id, "1" * 6)
        again = await tenant.start(phone)
        await tenant.sent(again.verification_id)
        replies.append(
            (
                anonymous(started),
                anonymous(shown),
                anonymous(checked.verification),
                raw(checked.rejection),
                [anonymous(one) for one in watched],
                quota,
                resent,
                anonymous(await tenant.get(again.verification_id)),
            )
        )
    for number, (withheld, rejected) in enumerate(zip(*replies, strict=True)):
        assert withheld == rejected, number
    assert len(site.bodies(victim)) == 5
