"""Malformed input over a real socket: refused by its field, never compared, kept or logged."""

import zlib
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from tests.attacks.http2 import ask, prefixed
from tests.attacks.site import Site, Tenant, told
from tests.support.status import Details

from watchword.account.v1 import account_pb2 as account
from watchword.core.ports import DAY
from watchword.verification.v1 import verification_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEGABYTE = 1024 * 1024
START = "/watchword.verification.v1.VerificationService/StartVerification"


def invalid(refusal: Details, field: str, text: str = "") -> None:
    """Assert that a refusal names the field, and nothing of its value."""
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, refusal
    assert refusal.reason in {"FIELD_INVALID", "NUMBER_NOT_ALLOWED"}
    assert refusal.fields == (field,)
    if len(text.strip()) > 2:
        assert text not in refusal.message
        assert text.encode() not in refusal.raw


CODES = [
    "",
    "1",
    "12345",
    "1234567",
    "12345678901",
    "9" * 60_000,
    "12345a",
    "-12345",
    "+12345",
    "1e5000",
    "0x1F00",
    " 12345",
    "123456 ",
    "123456\n",
    "123 456",
    "\u0661\u0662\u0663\u0664\u0665\u0666",
    "\uff11\uff12\uff13\uff14\uff15\uff16",
    "\U0001d7cf\U0001d7d0\U0001d7d1\U0001d7d2\U0001d7d3\U0001d7d4",
    "12345\u00b2",
    "123\u200b456",
    "\u202e654321",
    "../sms",
    "123456#",
    "123456/..",
    "123456\x00",
    "\x00\x00\x00\x00\x00\x00",
    "' OR 1=1",
]


async def test_c055_what_is_no_code_is_not_compared(site: Site) -> None:
    tenant, phone = await site.tenant(), site.phone()
    verification_id, code = await tenant.started(phone)
    for text in CODES:
        request = pb.CheckVerificationRequest(verification_id=verification_id, code=text)
        call = site.live.verification.CheckVerification(request, metadata=tenant.auth)
        invalid(await told(call), "code", text)
    for text in (f" {code}", f"{code}\n", f"{code}\x00", f"0{code}", f"+{code}", f"{code}."):
        invalid(await told(tenant.check(verification_id, text)), "code", text)
    shown = await tenant.get(verification_id)
    assert shown.checks_remaining == 5
    assert (await tenant.quota(phone))["PHONE_GUESSES_DAY"][1] == 0
    assert await tenant.judged(verification_id, code) == "APPROVED"


async def test_c055_a_code_of_another_length_is_not_compared(site: Site) -> None:
    tenant = await site.tenant()
    policy = pb.CodePolicy(length=8)
    verification_id, code = await tenant.started(site.phone(), code_policy=policy)
    assert len(code) == 8
    for text in (code[:6], code[:7], code + "0"):
        invalid(await told(tenant.check(verification_id, text)), "code", text)
    assert await tenant.judged(verification_id, code) == "APPROVED"


PHONES = [
    "",
    " ",
    "+",
    "12125550100",
    "+1212",
    "+121",
    "+1212555010012345678",
    "+0212555010",
    "+999123456789",
    "+1911",
    "+1 911",
    "+12125550100 ext. 5",
    "+1415555' --",
    "+1415555\U0001f600100",
    "+1\u0662\u0661\u06625550100",
    "+\uff11212\uff15550100",
    "\uff0b12125550100",
    "+12125550100+12125550101",
    "+12125550100\x00",
    "+12125550100\r\nx: y",
    "tel:+12125550100;phone-context=evil",
    "sip:+12125550100@example.com",
    "call me",
    "+1" + "2" * 60_000,
]


@pytest.mark.parametrize("text", PHONES, ids=range(len(PHONES)))
async def test_c056_what_is_no_phone_number_goes_nowhere(site: Site, text: str) -> None:
    tenant = await site.tenant()
    refusal = await told(tenant.start(text))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == ("phone_number",)
    if len(text.strip()) > 2:
        assert text.encode() not in refusal.raw
    assert site.rows("SELECT * FROM send WHERE application_id = ?", tenant.application_id) == []


SPECIAL = [
    ("112", "DE"),
    ("911", "US"),
    ("999", "GB"),
    ("119", "JP"),
    ("000", "AU"),
    ("+49112", ""),
    ("+1911", ""),
    ("11833", "DE"),
    ("+881612345678", ""),
    ("+882161234567", ""),
    ("+883510012345", ""),
    ("+870773111632", ""),
    ("+979123456789", ""),
    ("+80012345678", ""),
    ("+80812345678", ""),
    ("+19002345678", ""),
    ("+449098790000", ""),
    ("+4990012345678", ""),
    ("+33899123456", ""),
]


@pytest.mark.parametrize(("text", "region"), SPECIAL)
async def test_c057_special_numbers_never_reach_a_carrier(
    site: Site, text: str, region: str
) -> None:
    tenant = await site.tenant()
    refusal = await told(tenant.start(text, region_code=region))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == ("phone_number",)
    assert refusal.reason in {"NUMBER_NOT_ALLOWED", "FIELD_INVALID"}
    assert site.rows("SELECT * FROM send WHERE application_id = ?", tenant.application_id) == []


async def test_c058_no_channel_stands_in_for_another(site: Site) -> None:
    tenant = await site.tenant()
    phone = site.phone()
    for channel in (0, 99, -1):
        invalid(await told(tenant.start(phone, channel=channel)), "channel")
    for number in (pb.CHANNEL_VOICE, pb.CHANNEL_EMAIL, pb.CHANNEL_AUTO):
        refusal = await told(tenant.start(phone, channel=number))
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.reason == "CHANNEL_UNAVAILABLE"
    for fields in ({"email_address": "a@example.com"}, {"user_id": "US" + "1" * 32}):
        request = pb.StartVerificationRequest(**fields)  # type: ignore[arg-type]
        call = site.live.verification.StartVerification(request, metadata=tenant.auth)
        assert (await told(call)).reason == "CHANNEL_UNAVAILABLE"
    assert site.bodies(phone) == []
    verification_id, _ = await tenant.started(phone)
    site.pass_time(DAY // 24 // 60)
    refusal = await told(tenant.resend(verification_id, channel=pb.CHANNEL_VOICE))
    assert refusal.reason == "CHANNEL_UNAVAILABLE"
    assert len(site.bodies(phone)) == 1


async def test_c058_a_channel_may_be_switched_where_it_is_enabled(site: Site) -> None:
    channels = [account.CHANNEL_SMS, account.CHANNEL_VOICE]
    tenant = await site.tenant(enabled_channels=channels)
    verification_id, code = await tenant.started(site.phone())
    site.pass_time(DAY // 24 // 60)
    again = await tenant.resend(verification_id, channel=pb.CHANNEL_VOICE)
    assert [send.channel for send in again.sends] == [pb.CHANNEL_SMS, pb.CHANNEL_VOICE]
    spoken = await site.live.message(verification_id, 2)
    assert (spoken.channel, spoken.code.reveal()) == ("VOICE", code)


async def test_c058_a_region_is_refused_unless_it_is_enabled(site: Site) -> None:
    tenant = await site.tenant(enabled_regions=["DE"])
    refusal = await told(tenant.start(site.phone()))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "REGION_DISABLED"
    assert "enabled_regions" in refusal.message


TEXTS = [
    "a\x00b",
    "a\x07b",
    "a\x9bb",
    "a\r\nb",
    "a\u202eb",
    "a\u2066b",
    "a\u2028b",
    "\x1b[31mred",
    "x" * 10_000,
    "z" + "\u0301" * 200,
    "a\u200bb",
    "\ufeffa",
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_c059_text_for_people_is_short_and_plain(site: Site, text: str) -> None:
    tenant = await site.tenant()
    phone = site.phone()
    invalid(await told(tenant.start(phone, tags={"k": text})), "tags", text)
    invalid(await told(tenant.start(phone, action={"k": text})), "action", text)
    invalid(await told(tenant.start(phone, tags={text: "v"})), "tags", text)
    invalid(await told(tenant.start(phone, purpose=text)), "purpose", text)
    invalid(await told(tenant.start(phone, language_code=text)), "language_code", text)
    invalid(await told(tenant.start(phone, web_otp_origin=text)), "web_otp_origin", text)
    invalid(await told(tenant.start(phone, android_app_hash=text)), "android_app_hash", text)
    for name in ("display_name", "brand_name"):
        change = account.UpdateApplicationRequest(
            application=account.Application(
                application_id=tenant.application_id,
                **{name: text},  # type: ignore[arg-type]
            ),
            update_mask=FieldMask(paths=[name]),
        )
        call = site.live.account.UpdateApplication(change, metadata=tenant.auth)
        invalid(await told(call), f"application.{name}", text)
    assert site.bodies(phone) == []


async def test_c059_a_brand_is_text_in_the_message_and_no_template(site: Site) -> None:
    tenant = await site.tenant(brand_name="{code} %s ${x} {{7*7}}")
    verification_id, code = await tenant.started(site.phone())
    body = (await site.live.message(verification_id)).body.reveal()
    assert body.count(code) == 1
    assert "49" not in body.replace(code, "")


def resident() -> int:
    """Return the bytes of this process, the server's too, that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def auth_headers(tenant: Tenant) -> list[tuple[str, str]]:
    return [(str(key), str(value)) for key, value in tenant.auth]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
async def test_c062_what_is_too_large_costs_no_memory(site: Site) -> None:
    tenant = await site.tenant()
    phone = site.phone()
    good = pb.StartVerificationRequest(phone_number=phone).SerializeToString()
    bomb = zlib.compress(b"\x0a" + b"1" * (64 * MEGABYTE), 9, wbits=31)
    assert len(bomb) < 64 * 1024 < 1000 * len(bomb)
    headers = auth_headers(tenant)
    gzip = [*headers, ("grpc-encoding", "gzip")]
    cases: dict[str, tuple[list[tuple[str, str]], bytes]] = {
        "64 KiB and one": (headers, prefixed(b"\x00" * (64 * 1024 + 1))),
        "2 GB claimed": (headers, prefixed(good, length=2**31 - 1)),
        "4 GB claimed": (headers, prefixed(good, length=2**32 - 1)),
        "too short": (headers, prefixed(good, length=len(good) - 3)),
        "bomb": (gzip, prefixed(bomb, compressed=True)),
        "bomb without its header": (headers, prefixed(bomb, compressed=True)),
        "an unknown flag": (headers, b"\x07" + prefixed(good)[1:]),
    }
    await ask(site.live.endpoint, START, headers, prefixed(b""))
    before = resident()
    for name, (fields, body) in cases.items():
        for _ in range(5):
            answer = await ask(site.live.endpoint, START, fields, body)
            assert b"VE0" not in answer, name
    for body in (prefixed(good, length=len(good) + 1), b"\x00\x00\x00", b""):
        answer = await ask(site.live.endpoint, START, headers, body, unfinished=True)
        assert b"VE0" not in answer
    assert resident() - before < 20 * MEGABYTE
    assert site.bodies(phone) == []
    assert site.rows("SELECT * FROM send WHERE application_id = ?", tenant.application_id) == []
    # The server is none the worse for it, and the same bytes well framed are served.
    await ask(site.live.endpoint, START, headers, prefixed(good))
    rows = site.rows(
        "SELECT state FROM verification WHERE application_id = ?", tenant.application_id
    )
    assert rows == [("PENDING",)]
    assert not [line for line in site.live.lines if line["event"] == "fault"]


async def test_c062_five_megabytes_are_refused(site: Site) -> None:
    tenant = await site.tenant()
    for size in (64 * 1024 + 1, 5 * MEGABYTE):
        refusal = await told(tenant.start("1" * size))
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_c066_a_request_id_belongs_to_its_tenant(site: Site) -> None:
    first, second = await site.tenant(), await site.tenant()
    phone = site.phone()
    mine = await first.start(phone, request_id="order-1")
    theirs = await second.start(site.phone(), request_id="order-1")
    assert mine.verification_id != theirs.verification_id
    assert mine.verification_id == (await first.start(phone, request_id="order-1")).verification_id
    stored = site.rows("SELECT * FROM request WHERE scope = ?", first.application_id)
    assert len(stored) == 1
    assert phone not in str(stored)


def at(seconds: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=seconds, nanos=nanos)


YEAR = 365 * 86_400


async def test_c067_the_servers_time_decides(site: Site) -> None:
    tenant = await site.tenant()
    now = site.clock.now() // 1000
    account_stub = site.live.account

    def wanted(**fields: Any) -> Any:
        request = account.CreateCredentialRequest(
            application_id=tenant.application_id,
            display_name="k",
            scopes=["verification.read"],
            **fields,
        )
        return account_stub.CreateCredential(request, metadata=tenant.auth)

    for moment in (
        at(now - 100 * YEAR),
        at(-1),
        at(0),
        at(now),
        at(-62_135_596_801),
        at(253_402_300_800),
        at(2**63 - 1),
        at(now + 60, -1),
        at(now + 60, 1_000_000_000),
    ):
        invalid(await told(wanted(expire_time=moment)), "expire_time")
    for length in (Duration(seconds=-1), Duration(seconds=2**62), Duration(seconds=1, nanos=-1)):
        invalid(await told(wanted(ttl=length)), "ttl")
    # A leap second and the last second there is are moments like any other.
    made = await wanted(expire_time=at(253_402_300_799, 999_999_999))
    assert made.credential.expire_time.seconds == 253_402_300_799
    usage = account.ListUsageRequest(start_time=at(-(10**10)), end_time=at(253_402_300_799))
    assert not (await account_stub.ListUsage(usage, metadata=tenant.auth)).rows
    shown = await tenant.start(site.phone())
    assert shown.create_time.ToMilliseconds() == site.clock.now()


BAD_POLICIES = [
    account.CodePolicy(length=5),
    account.CodePolicy(length=-6),
    account.CodePolicy(max_checks=11),
    account.CodePolicy(max_checks=-1),
    account.CodePolicy(ttl=Duration(seconds=-600)),
    account.CodePolicy(ttl=Duration(seconds=601)),
    account.CodePolicy(ttl=Duration(seconds=29)),
    account.CodePolicy(length=7, max_checks=99),
    account.CodePolicy(resend=0),  # type: ignore[arg-type]
    account.CodePolicy(resend=99),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("policy", BAD_POLICIES, ids=range(len(BAD_POLICIES)))
async def test_c068_a_policy_is_taken_whole_or_not_at_all(
    site: Site, policy: account.CodePolicy
) -> None:
    tenant = await site.tenant(code_policy=account.CodePolicy(length=8))
    change = account.UpdateApplicationRequest(
        application=account.Application(
            application_id=tenant.application_id, display_name="changed", code_policy=policy
        ),
        update_mask=FieldMask(paths=["display_name", "code_policy"]),
    )
    refusal = await told(site.live.account.UpdateApplication(change, metadata=tenant.auth))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields[0].startswith("application.code_policy")
    found = await site.live.account.GetApplication(
        account.GetApplicationRequest(application_id=tenant.application_id), metadata=tenant.auth
    )
    assert found.application.display_name == "Shop"
    assert found.application.code_policy.length == 8
    _, code = await tenant.started(site.phone())
    assert len(code) == 8


async def test_c068_no_region_no_application(site: Site) -> None:
    tenant = await site.tenant()
    for regions in ([], ["XX"], ["us"], ["US", "??"]):
        request = account.CreateApplicationRequest(display_name="x", enabled_regions=regions)
        call = site.live.account.CreateApplication(request, metadata=tenant.auth)
        invalid(await told(call), "enabled_regions")
