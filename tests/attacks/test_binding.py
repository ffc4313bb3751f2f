"""Codes and receipts out of their place: another deed, another session, another time."""

import base64
from typing import Any
from urllib.parse import quote

import aiohttp
import grpc
import pytest
from tests.attacks.site import Site, outcome, raw, told, wrong

from watchword.client import ReceiptError, verify_receipt
from watchword.core.ports import MINUTE, SECOND
from watchword.verification.v1 import verification_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAY = {"amount": "10.00", "to": "shop"}


async def test_c019_a_check_before_any_start_finds_nothing(site: Site) -> None:
    tenant, phone = await site.tenant(), site.phone()
    verification_id, code = await tenant.started(phone)
    await tenant.cancel(verification_id)
    unknown = verification_id[:-4] + "0000"
    for request in (
        pb.CheckVerificationRequest(code=code, verification_id=unknown),
        pb.CheckVerificationRequest(code=code, verification_id="x"),
        pb.CheckVerificationRequest(code=code, phone_number=phone),
        pb.CheckVerificationRequest(code=code, phone_number=site.phone()),
    ):
        call = site.live.verification.CheckVerification(request, metadata=tenant.auth)
        refusal = await told(call)
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        assert refusal.reason == "VERIFICATION_NOT_FOUND"
    assert (await told(tenant.resend(unknown))).reason == "VERIFICATION_NOT_FOUND"
    assert (await told(tenant.cancel(unknown))).reason == "VERIFICATION_NOT_FOUND"


async def test_c020_a_code_serves_its_own_deed_alone(site: Site) -> None:
    tenant = await site.tenant()
    sibling = await site.application(tenant.account_id)
    fits: dict[str, Any] = {"purpose": "pay", "action": PAY, "binding": b"d1"}
    verification_id, code = await tenant.started(site.phone(), **fits)
    other_id, other_code = await tenant.started(site.phone(), **fits)
    if other_code != code:
        assert await tenant.judged(other_id, code, **fits) == "WRONG_CODE"
    changes: list[dict[str, Any]] = [
        {"purpose": "login"},
        {"action": {"amount": "99.00", "to": "shop"}},
        {"action": {}},
        {"binding": b"d2"},
    ]
    for number, changed in enumerate(changes):
        right = await tenant.check(verification_id, code, **{**fits, **changed})
        assert outcome(right) == "BINDING_MISMATCH"
        # The row is told as it stands: so many attempts were counted, no more is said.
        assert right.rejection.checks_remaining == 4 - number
    assert await sibling.judged(verification_id, code, **fits) == "VERIFICATION_NOT_FOUND"
    assert await tenant.judged(verification_id, code, **fits) == "APPROVED"


async def test_c020_a_mismatch_reads_the_same_with_the_wrong_code(site: Site) -> None:
    tenant = await site.tenant()
    told_of = []
    for shift in (0, 1):
        verification_id, code = await tenant.started(site.phone(), purpose="pay")
        reply = await tenant.check(verification_id, wrong(code, shift), purpose="login")
        told_of.append(raw(reply.rejection))
    assert told_of[0] == told_of[1]


async def test_c020_another_session_is_another_verification(site: Site) -> None:
    """A Start with another binding neither sees nor disturbs the pending one."""
    tenant, phone = await site.tenant(), site.phone()
    first, code = await tenant.started(phone, binding=b"mine")
    site.pass_time(MINUTE)
    second, _ = await tenant.started(phone, binding=b"theirs")
    assert first != second
    assert await tenant.judged(second, code, binding=b"mine") == "BINDING_MISMATCH"
    assert await tenant.judged(first, code, binding=b"mine") == "APPROVED"
    assert await tenant.state(second) == "PENDING"


async def test_c020_another_action_ends_the_pending_one(site: Site) -> None:
    tenant, phone = await site.tenant(), site.phone()
    first, code = await tenant.started(phone, action=PAY)
    await tenant.judged(first, wrong(code), action=PAY)
    site.pass_time(MINUTE)
    changed = {**PAY, "amount": "99.00"}
    second, _ = await tenant.started(phone, action=changed)
    assert first != second
    assert await tenant.state(first) == "CANCELED"
    assert await tenant.judged(first, code, action=PAY) == "CANCELED"
    # The budgets carry over: the guess is not forgotten.
    assert (await tenant.quota(phone))["PHONE_GUESSES_DAY"][1] == 1
    assert (await tenant.quota(phone))["PHONE_SENDS_HOUR"][1] == 2


async def test_c021_an_approved_code_is_used_up_under_every_name(site: Site) -> None:
    tenant = await site.tenant()
    verification_id, code = await tenant.started(site.phone())
    assert await tenant.judged(verification_id, code) == "APPROVED"
    assert await tenant.judged(verification_id, code) == "ALREADY_USED"
    for name in (
        verification_id.lower(),
        verification_id.upper().replace("VE", "ve"),
        f" {verification_id}",
        f"{verification_id} ",
        f"{verification_id}\n",
        f"{verification_id}/",
        quote(verification_id, safe="").replace("V", "%56"),
        base64.b64encode(verification_id.encode()).decode(),
        f"{verification_id}\u200b",
    ):
        if name != verification_id:
            assert await tenant.judged(name, code) == "VERIFICATION_NOT_FOUND"
    rows = site.rows(
        "SELECT state FROM verification WHERE application_id = ?", tenant.application_id
    )
    assert rows == [("APPROVED",)]


async def test_c022_a_receipt_serves_whom_and_what_it_was_made_for(site: Site) -> None:
    tenant, other = await site.tenant(), await site.tenant()
    phone = site.phone()
    verification_id, code = await tenant.started(phone, purpose="pay", action=PAY)
    approval = (await tenant.check(verification_id, code, purpose="pay", action=PAY)).approval
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{site.live.http}/.well-known/jwks.json") as reply,
    ):
        keys = await reply.text()
    now = site.clock.now() / SECOND
    right: dict[str, Any] = {
        "jwks": keys,
        "issuer": site.live.server.config.issuer,
        "audience": tenant.application_id,
        "purpose": "pay",
        "action": PAY,
        "phone_number": phone,
        "salts": approval.salts,
        "allow_test": True,
        "now": lambda: now,
    }
    receipt = verify_receipt(approval.receipt, **right)
    assert receipt.verification_id == verification_id
    changes: list[dict[str, Any]] = [
        {"audience": other.application_id},
        {"purpose": "login"},
        {"action": {**PAY, "amount": "99.00"}},
        {"action": {}},
        {"phone_number": site.phone()},
        {"issuer": "somebody"},
        {"allow_test": False},
        {"now": lambda: now + 306},
        {"jwks": '{"keys": []}'},
    ]
    for changed in changes:
        with pytest.raises(ReceiptError):
            verify_receipt(approval.receipt, **{**right, **changed})
