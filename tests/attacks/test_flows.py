"""What callers rely on over a real server: watching, resending, accounts, test numbers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import jwt
import pytest
from tests.attacks.site import Site, Tenant, outcome, raw, reason, told, wrong

from watchword.account.v1 import account_pb2 as account
from watchword.core.ports import DAY, MINUTE, SECOND, Millis
from watchword.verification.v1 import verification_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECEIPT_TTL: Millis = 5 * MINUTE
TEST_NUMBER = "+12025550123"


def watch(site: Site, tenant: Tenant, verification_id: str) -> AsyncIterator[pb.Verification]:
    request = pb.WatchVerificationRequest(verification_id=verification_id)
    stream = site.live.verification.WatchVerification(request, metadata=tenant.auth, timeout=20)

    async def states() -> AsyncIterator[pb.Verification]:
        async for reply in stream:
            yield reply.verification

    return states()


def claims(approval: pb.Approval) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(approval.receipt, options={"verify_signature": False})
    return found


# ---------------------------------------------------------------------- watching


async def test_a_watch_shows_everything_at_once_then_each_change(site: Site) -> None:
    tenant = await site.tenant()
    verification_id, code = await tenant.started(site.phone())
    await tenant.sent(verification_id)
    seen = watch(site, tenant, verification_id)
    assert raw(await anext(seen)) == raw(await tenant.get(verification_id))
    await tenant.check(verification_id, wrong(code))
    assert (await anext(seen)).checks_remaining == 4
    site.pass_time(MINUTE)
    await tenant.resend(verification_id)
    shown = await anext(seen)
    assert len(shown.sends) == 2
    while shown.sends[1].state == pb.SEND_STATE_QUEUED:
        shown = await anext(seen)
    assert shown.sends[1].state == pb.SEND_STATE_SUBMITTED
    await tenant.check(verification_id, code)
    assert (await anext(seen)).state == pb.VERIFICATION_STATE_APPROVED
    with pytest.raises(StopAsyncIteration):
        await anext(seen)


Ending = Callable[[Site, Tenant, str], Awaitable[object]]


async def cancel(_: Site, tenant: Tenant, verification_id: str) -> None:
    await tenant.cancel(verification_id)


async def expire(site: Site, _: Tenant, verification_id: str) -> None:
    """Nobody calls: the sweeper alone notices."""
    del verification_id
    site.pass_time(10 * MINUTE)


async def exhaust(site: Site, tenant: Tenant, verification_id: str) -> None:
    code = await site.live.code(verification_id)
    for number in range(1, 6):
        await tenant.check(verification_id, wrong(code, number))


@pytest.mark.parametrize(
    ("ending", "state"), [(cancel, "CANCELED"), (expire, "EXPIRED"), (exhaust, "EXHAUSTED")]
)
async def test_a_watch_ends_after_a_terminal_state(site: Site, ending: Ending, state: str) -> None:
    tenant = await site.tenant()
    verification_id, _ = await tenant.started(site.phone())
    watchers = [watch(site, tenant, verification_id) for _ in range(3)]
    for watcher in watchers:
        await anext(watcher)
    await ending(site, tenant, verification_id)
    for watcher in watchers:
        states = [shown.state async for shown in watcher]
        assert pb.VerificationState.Name(states[-1]) == f"VERIFICATION_STATE_{state}"
        assert set(states[:-1]) <= {pb.VERIFICATION_STATE_PENDING}
    # Watching what has ended shows it once.
    over = [shown.state async for shown in watch(site, tenant, verification_id)]
    assert over == states[-1:]


async def test_a_watch_shows_a_failed_delivery(site: Site) -> None:
    tenant = await site.tenant()
    verification_id = (await tenant.start("+12145550183")).verification_id
    shown = [one async for one in watch(site, tenant, verification_id)]
    assert shown[-1].state == pb.VERIFICATION_STATE_FAILED
    assert shown[-1].sends[0].error_reason == "DELIVERY_REFUSED"


# ---------------------------------------------------------------------- resending


@pytest.mark.parametrize(
    ("policy", "first", "second", "left"),
    [
        (pb.RESEND_POLICY_SAME, "APPROVED", "APPROVED", 4),
        (pb.RESEND_POLICY_NEW, "SUPERSEDED", "APPROVED", 4),
        (pb.RESEND_POLICY_LAST_TWO, "APPROVED", "APPROVED", 3),
    ],
)
async def test_which_code_serves_after_a_resend(
    site: Site, policy: "pb.ResendPolicy.ValueType", first: str, second: str, left: int
) -> None:
    tenant = await site.tenant()
    for number, expected in enumerate((first, second)):
        wish = pb.CodePolicy(resend=policy)
        verification_id, _ = await tenant.started(site.phone(), code_policy=wish)
        before = await tenant.get(verification_id)
        site.pass_time(30 * SECOND)
        after = await tenant.resend(verification_id)
        assert after.verification_id == verification_id
        assert after.expire_time == before.expire_time
        codes = [await site.live.code(verification_id, count) for count in (1, 2)]
        assert (codes[0] == codes[1]) == (policy == pb.RESEND_POLICY_SAME)
        reply = await tenant.check(verification_id, wrong(codes[1], 5))
        assert reply.rejection.checks_remaining == left
        assert await tenant.judged(verification_id, codes[number]) == expected


async def test_the_last_two_codes_serve_and_no_older_one(site: Site) -> None:
    tenant = await site.tenant()
    wish = pb.CodePolicy(resend=pb.RESEND_POLICY_LAST_TWO)
    verification_id, oldest = await tenant.started(site.phone(), code_policy=wish)
    for wait in (30 * SECOND, MINUTE):
        site.pass_time(wait)
        await tenant.resend(verification_id)
    middle = await site.live.code(verification_id, 2)
    assert await tenant.judged(verification_id, oldest) == "SUPERSEDED"
    assert await tenant.judged(verification_id, middle) == "APPROVED"


async def test_resends_wait_longer_each_time_and_end(site: Site) -> None:
    tenant = await site.tenant()
    verification_id, code = await tenant.started(site.phone())
    await tenant.check(verification_id, wrong(code))
    for wait in (30 * SECOND, 60 * SECOND, 120 * SECOND, 120 * SECOND):
        refusal = await told(tenant.resend(verification_id))
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.reason == "SEND_COOLDOWN"
        assert refusal.retry is not None
        assert refusal.retry.ToMilliseconds() == wait
        site.pass_time(wait)
        shown = await tenant.resend(verification_id)
        assert shown.checks_remaining == 4
    assert shown.sends_remaining == 0
    site.pass_time(120 * SECOND)
    assert (await told(tenant.resend(verification_id))).reason == "SEND_BUDGET_EXHAUSTED"


# ---------------------------------------------------------------------- by phone number


async def test_a_check_by_phone_number_needs_one_that_fits(site: Site) -> None:
    tenant, phone = await site.tenant(), site.phone()

    async def judged(code: str, **fields: Any) -> str:
        request = pb.CheckVerificationRequest(phone_number=phone, code=code, **fields)
        call = site.live.verification.CheckVerification(request, metadata=tenant.auth)
        try:
            return outcome(await call)
        except grpc.aio.AioRpcError:
            return (await told(call)).reason

    assert await judged("123456") == "VERIFICATION_NOT_FOUND"
    first, code = await tenant.started(phone, binding=b"one")
    assert await judged(code, purpose="pay") == "VERIFICATION_NOT_FOUND"
    assert await judged(code, binding=b"two") == "VERIFICATION_NOT_FOUND"
    site.pass_time(MINUTE)
    await tenant.started(phone, binding=b"two")
    assert await judged(code) == "VERIFICATION_AMBIGUOUS"
    assert await tenant.state(first) == "PENDING"
    assert await judged(code, binding=b"one") == "APPROVED"
    assert await tenant.state(first) == "APPROVED"


# ---------------------------------------------------------------------- replays


async def test_c022_an_approval_is_replayed_until_its_receipt_ends(site: Site) -> None:
    tenant = await site.tenant()
    verification_id, code = await tenant.started(site.phone())
    first = await tenant.check(verification_id, code, request_id="once")
    assert outcome(first) == "APPROVED"
    for wait in (0, MINUTE, RECEIPT_TTL - MINUTE - 1):
        site.pass_time(wait)
        again = await tenant.check(verification_id, code, request_id="once")
        assert raw(again) == raw(first)
    found = claims(first.approval)
    assert found["exp"] - found["iat"] == RECEIPT_TTL // SECOND
    site.pass_time(1)
    late = await tenant.check(verification_id, code, request_id="once")
    assert outcome(late) == "ALREADY_USED"
    assert not late.approval.receipt
    # Another request id never gets the receipt, not even in time.
    assert await tenant.judged(verification_id, code, request_id="twice") == "ALREADY_USED"


# ---------------------------------------------------------------------- accounts


async def test_a_suspended_account_starts_nothing_and_checks_on(site: Site) -> None:
    tenant = await site.tenant()
    pending, code = await tenant.started(site.phone())
    other, _ = await tenant.started(site.phone())
    await site.live.account.SuspendAccount(
        account.SuspendAccountRequest(account_id=tenant.account_id, reason="unpaid"),
        metadata=site.live.admin,
    )
    phone = site.phone()
    site.pass_time(MINUTE)
    for call in (tenant.start(phone), tenant.resend(other)):
        refusal = await told(call)
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.reason == "ACCOUNT_SUSPENDED"
    assert site.bodies(phone) == []
    assert await tenant.judged(pending, code) == "APPROVED"
    assert await tenant.state(other) == "PENDING"
    assert (await tenant.cancel(other)).state == pb.VERIFICATION_STATE_CANCELED
    await site.activate(tenant.account_id)
    await tenant.started(phone)


async def test_a_resend_obeys_a_region_that_was_closed(site: Site) -> None:
    tenant = await site.tenant()
    verification_id, code = await tenant.started(site.phone())
    await site.update(tenant.application_id, "enabled_regions", enabled_regions=["DE"])
    site.pass_time(MINUTE)
    assert (await told(tenant.resend(verification_id))).reason == "REGION_DISABLED"
    assert await tenant.judged(verification_id, code) == "APPROVED"


async def test_a_trial_sends_to_its_own_contact_alone(site: Site) -> None:
    contact, stranger = site.phone(), site.phone()
    tenant = await site.tenant(active=False, contact=contact)
    refusal = await told(tenant.start(stranger))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "ACCOUNT_TRIAL"
    assert site.bodies(stranger) == []
    verification_id, code = await tenant.started(contact)
    assert await tenant.judged(verification_id, code) == "APPROVED"
    await site.activate(tenant.account_id)
    await tenant.started(stranger)


async def test_a_revocation_holds_at_once_even_for_a_stream(site: Site) -> None:
    tenant = await site.tenant()
    verification_id, _ = await tenant.started(site.phone())
    (credential_id,) = site.rows(
        "SELECT credential_id FROM credential WHERE application_id = ?", tenant.application_id
    )[0]
    fresh = await site.credential(tenant.application_id, ["verification.read"])
    await site.live.account.RevokeCredential(
        account.RevokeCredentialRequest(credential_id=credential_id), metadata=tenant.auth
    )
    for call in (tenant.get(verification_id), tenant.start(site.phone())):
        refusal = await told(call)
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
        assert refusal.reason == "CREDENTIALS_INVALID"
    with pytest.raises(grpc.aio.AioRpcError):
        await anext(watch(site, tenant, verification_id))
    tenant.auth = fresh
    assert await tenant.state(verification_id) == "PENDING"


# ---------------------------------------------------------------------- test numbers, own codes


async def test_a_test_number_takes_its_code_and_no_message(site: Site) -> None:
    tenant = await site.tenant()
    stub = site.live.account
    await stub.CreateTestNumber(
        account.CreateTestNumberRequest(
            application_id=tenant.application_id, phone_number=TEST_NUMBER, code="482915"
        ),
        metadata=tenant.auth,
    )
    count = len(site.live.messages)
    verification = await tenant.start(TEST_NUMBER)
    assert (verification.test, len(verification.sends)) == (True, 0)
    assert await tenant.judged(verification.verification_id, "482916") == "WRONG_CODE"
    site.pass_time(MINUTE)
    assert not (await tenant.resend(verification.verification_id)).sends
    reply = await tenant.check(verification.verification_id, "482915")
    found = claims(reply.approval)
    assert (found["test"], found["carrier_trust"]) == (True, "sandbox")
    assert len(site.live.messages) == count
    assert (await tenant.quota(TEST_NUMBER))["ACCOUNT_SENDS_HOUR"][1] == 0
    # To any other application it is a number like all others, and so it is after 90 days.
    stranger = await site.tenant()
    _, code = await stranger.started(TEST_NUMBER)
    assert code != "482915" or len(site.bodies(TEST_NUMBER)) == 1
    site.pass_time(90 * DAY)
    verification_id, code = await tenant.started(TEST_NUMBER)
    reply = await tenant.check(verification_id, code)
    assert claims(reply.approval)["test"] is False


async def test_only_fictitious_numbers_are_test_numbers(site: Site) -> None:
    tenant = await site.tenant()
    for phone in (site.phone(), "+12025550200", "+4915123456789"):
        request = account.CreateTestNumberRequest(
            application_id=tenant.application_id, phone_number=phone, code="482915"
        )
        call = site.live.account.CreateTestNumber(request, metadata=tenant.auth)
        refusal = await told(call)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.fields == ("phone_number",)


async def test_a_callers_own_code_is_told_in_the_receipt_and_kept_sealed(site: Site) -> None:
    tenant, phone = await site.tenant(), site.phone()
    await site.update(tenant.application_id, "custom_code_granted", custom_code_granted=True)
    first, code = await tenant.started(phone, custom_code="7392048")
    site.pass_time(MINUTE)
    # Another own code is another verification, never a resend of the first.
    second, other = await tenant.started(phone, custom_code="9151623")
    assert (code, other) == ("7392048", "9151623")
    assert await tenant.judged(first, code) == "CANCELED"
    reply = await tenant.check(second, other)
    assert claims(reply.approval)["code_origin"] == "caller"
    # It proves nothing of the phone, so the sends still count.
    assert (await tenant.quota(phone))["PHONE_SENDS_HOUR"][1] == 2
    kept = str(site.rows("SELECT * FROM verification WHERE account_id = ?", tenant.account_id))
    assert code not in kept
    assert other not in kept


# ---------------------------------------------------------------------- quota


async def test_a_quota_tells_what_was_used_and_when_it_comes_back(site: Site) -> None:
    tenant, phone = await site.tenant(caps=(50, 60)), site.phone()
    began = site.clock.now()
    verification_id, code = await tenant.started(phone)
    await tenant.check(verification_id, wrong(code))
    await tenant.start(site.phone())
    site.pass_time(SECOND)
    reply = await site.live.verification.GetQuota(
        pb.GetQuotaRequest(phone_number=phone), metadata=tenant.auth
    )
    figures = {
        pb.QuotaName.Name(q.name).removeprefix("QUOTA_NAME_"): (
            q.limit,
            q.used,
            q.remaining,
            q.reset_time.ToMilliseconds(),
        )
        for q in reply.quotas
    }
    hour, day = 60 * MINUTE, DAY
    assert figures == {
        "PHONE_SENDS_HOUR": (5, 1, 4, began + hour),
        "PHONE_SENDS_DAY": (10, 1, 9, began + day),
        "PHONE_GUESSES_DAY": (10, 1, 9, began + day),
        "ACCOUNT_SENDS_HOUR": (50, 2, 48, began - began % hour + hour),
        "ACCOUNT_SENDS_DAY": (60, 2, 58, began - began % day + day),
    }
    assert reply.next_send_time.ToMilliseconds() == began + 30 * SECOND
    await tenant.check(verification_id, code)
    # An approval proves that the person asked: the sends to them count no more.
    assert (await tenant.quota(phone))["PHONE_SENDS_HOUR"][1] == 0
    assert (await tenant.quota(phone))["ACCOUNT_SENDS_HOUR"][1] == 2


async def test_calls_at_once_on_one_verification_end_in_order(site: Site) -> None:
    """Start, Check, Resend, Cancel and Get together: no state ever moves backwards."""
    tenant = await site.tenant()
    for _ in range(10):
        verification_id, code = await tenant.started(site.phone())
        seen = watch(site, tenant, verification_id)
        await anext(seen)
        site.pass_time(MINUTE)
        await asyncio.gather(
            tenant.judged(verification_id, code),
            tenant.judged(verification_id, wrong(code)),
            done_or_refused(tenant.resend(verification_id)),
            done_or_refused(tenant.cancel(verification_id)),
            tenant.get(verification_id),
        )
        states = [shown.state async for shown in seen]
        assert states[-1] in (pb.VERIFICATION_STATE_APPROVED, pb.VERIFICATION_STATE_CANCELED)
        assert set(states[:-1]) <= {pb.VERIFICATION_STATE_PENDING}
        assert (await tenant.get(verification_id)).state == states[-1]


async def done_or_refused(call: Awaitable[object]) -> None:
    assert await reason(call) in {"", "VERIFICATION_CLOSED", "SEND_COOLDOWN"}
