"""Everything at once: whatever comes first, the sums are right."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from tests.attacks.site import Site, outcome, raw, reason, told, wrong
from tests.support.live import OWN_CONNECTION

from watchword.core.ports import DAY, MINUTE
from watchword.verification.v1 import verification_pb2 as pb
from watchword.verification.v1 import verification_pb2_grpc

pytestmark = pytest.mark.asyncio(loop_scope="module")

Stubs = list["verification_pb2_grpc.VerificationServiceAsyncStub"]
CALLERS = 64


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stubs(site: Site) -> AsyncIterator[Stubs]:
    """Stubs over connections of their own."""
    channels = [
        grpc.aio.insecure_channel(site.live.endpoint, OWN_CONNECTION) for _ in range(CALLERS)
    ]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    yield [verification_pb2_grpc.VerificationServiceStub(channel) for channel in channels]
    await asyncio.gather(*(channel.close() for channel in channels))


async def test_c025_one_of_many_right_codes_is_approved(site: Site, stubs: Stubs) -> None:
    tenant = await site.tenant()
    verification_id, code = await tenant.started(site.phone())
    request = pb.CheckVerificationRequest(verification_id=verification_id, code=code)
    replies = await asyncio.gather(
        *(stub.CheckVerification(request, metadata=tenant.auth) for stub in stubs)
    )
    assert Counter(map(outcome, replies)) == {"APPROVED": 1, "ALREADY_USED": CALLERS - 1}
    assert len({reply.approval.receipt for reply in replies} - {""}) == 1
    leaves = "SELECT count(*) FROM audit_leaf WHERE object_id = ?"
    versions = "SELECT version, state FROM verification WHERE verification_id = ?"
    # One leaf for the Start and one for the approval.
    assert site.rows(leaves, verification_id) == [(2,)]
    assert site.rows(versions, verification_id) == [(2, "APPROVED")]


async def test_c026_of_many_wrong_codes_five_are_compared(site: Site, stubs: Stubs) -> None:
    tenant, phone = await site.tenant(), site.phone()
    verification_id, code = await tenant.started(phone)
    replies = await asyncio.gather(
        *(
            stub.CheckVerification(
                pb.CheckVerificationRequest(
                    verification_id=verification_id, code=wrong(code, number)
                ),
                metadata=tenant.auth,
            )
            for number, stub in enumerate(stubs, 1)
        )
    )
    assert Counter(map(outcome, replies)) == {"WRONG_CODE": 5, "EXHAUSTED": CALLERS - 5}
    left = sorted(r.rejection.checks_remaining for r in replies if outcome(r) == "WRONG_CODE")
    assert left == [0, 1, 2, 3, 4]
    assert (await tenant.quota(phone))["PHONE_GUESSES_DAY"] == (10, 5, 5)


@pytest.mark.parametrize("place", [0, 1, 31, 63])
async def test_c027_at_the_boundary_the_first_decides(site: Site, stubs: Stubs, place: int) -> None:
    tenant = await site.tenant()
    verification_id, code = await tenant.started(site.phone())
    for number in range(1, 5):
        await tenant.check(verification_id, wrong(code, number))
    codes = [wrong(code, number + 10) for number in range(CALLERS)]
    codes[place] = code
    replies = await asyncio.gather(
        *(
            stub.CheckVerification(
                pb.CheckVerificationRequest(verification_id=verification_id, code=tried),
                metadata=tenant.auth,
            )
            for stub, tried in zip(stubs, codes, strict=True)
        )
    )
    counted = Counter(map(outcome, replies))
    if counted["APPROVED"]:
        assert counted == {"APPROVED": 1, "ALREADY_USED": CALLERS - 1}
        assert await tenant.state(verification_id) == "APPROVED"
    else:
        assert counted == {"WRONG_CODE": 1, "EXHAUSTED": CALLERS - 1}
        assert await tenant.state(verification_id) == "EXHAUSTED"


async def test_c028_check_and_cancel_never_both_win(site: Site) -> None:
    tenant = await site.tenant()
    seen = set()
    for seed in range(60):
        verification_id, code = await tenant.started(site.phone())
        check = tenant.judged(verification_id, code)
        cancel = reason(tenant.cancel(verification_id))
        calls = (check, cancel) if seed % 2 else (cancel, check)
        answers = await asyncio.gather(*calls)
        checked, canceled = answers if seed % 2 else reversed(answers)
        state = await tenant.state(verification_id)
        seen.add(state)
        assert (checked, canceled, state) in {
            ("APPROVED", "VERIFICATION_CLOSED", "APPROVED"),
            ("CANCELED", "", "CANCELED"),
        }
        # And it stays so.
        assert await tenant.judged(verification_id, code) in {"ALREADY_USED", "CANCELED"}
        assert await tenant.state(verification_id) == state
    assert seen == {"APPROVED", "CANCELED"}


async def test_c030_a_storm_of_starts_sends_once(site: Site, stubs: Stubs) -> None:
    tenant, phone = await site.tenant(), site.phone()
    request = pb.StartVerificationRequest(phone_number=phone)
    answers = await asyncio.gather(
        *(stub.StartVerification(request, metadata=tenant.auth) for stub in stubs[:50]),
        return_exceptions=True,
    )
    started = [a for a in answers if isinstance(a, pb.StartVerificationResponse)]
    refused = [a for a in answers if isinstance(a, grpc.aio.AioRpcError)]
    assert (len(started), len(refused)) == (1, 49)
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    await site.live.code(started[0].verification.verification_id)
    assert len(site.bodies(phone)) == 1
    rows = site.rows(
        "SELECT state FROM verification WHERE application_id = ?", tenant.application_id
    )
    assert rows == [("PENDING",)]


async def test_c034_one_request_id_has_one_effect(site: Site, stubs: Stubs) -> None:
    tenant, phone = await site.tenant(), site.phone()
    request = pb.StartVerificationRequest(phone_number=phone, request_id="k")
    answers = await asyncio.gather(
        *(stub.StartVerification(request, metadata=tenant.auth) for stub in stubs[:20])
    )
    assert len({answer.verification.verification_id for answer in answers}) == 1
    first = answers[0].verification.verification_id
    code = await site.live.code(first)
    assert len(site.bodies(phone)) == 1
    assert (await tenant.quota(phone))["PHONE_SENDS_HOUR"][1] == 1

    refusal = await told(tenant.start(site.phone(), request_id="k"))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "REQUEST_ID_MISMATCH"
    # The same text is another request id for another method, application or account.
    assert await tenant.judged(first, code, request_id="k") == "APPROVED"
    sibling = await site.application(tenant.account_id)
    stranger = await site.tenant()
    for other in (sibling, stranger):
        made = await other.start(site.phone(), request_id="k")
        assert made.application_id == other.application_id

    site.pass_time(DAY - 1)
    assert (await tenant.start(phone, request_id="k")).verification_id == first
    site.pass_time(MINUTE)
    second = await tenant.start(phone, request_id="k")
    assert second.verification_id != first


async def test_c034_one_check_in_twenty_copies_is_one_guess(site: Site, stubs: Stubs) -> None:
    tenant = await site.tenant()
    verification_id, code = await tenant.started(site.phone())
    for text, rest in ((wrong(code), 4), (code, 0)):
        request = pb.CheckVerificationRequest(
            verification_id=verification_id, code=text, request_id=text
        )
        answers = await asyncio.gather(
            *(stub.CheckVerification(request, metadata=tenant.auth) for stub in stubs[:20])
        )
        assert len({raw(answer) for answer in answers}) == 1
        assert answers[0].verification.checks_remaining == rest
