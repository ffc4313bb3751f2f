"""One phone under many spellings is one phone, with one budget."""

import grpc
import pytest
from tests.attacks.site import Site, told

from watchword.verification.v1 import verification_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPELLINGS = {
    "+14155550142": (
        "+1 (415) 555-0142",
        "+1-415-555-0142",
        "+1.415.555.0142",
        "tel:+1-415-555-0142",
    ),
    "+393123456789": ("+39 312 345 6789", "tel:+39-312-3456789"),
    "+390612345678": ("+39 06 1234 5678",),
    "+5491123456789": ("+54 9 11 2345-6789", "+54 11 15-2345-6789"),
    "+525512345678": ("+52 55 1234 5678", "+52 1 55 1234 5678"),
    "+447400123456": ("+44 (0)7400 123456", "+44 7400 123456"),
}


@pytest.mark.parametrize("e164", SPELLINGS)
async def test_c041_a_spelling_is_no_new_phone(site: Site, e164: str) -> None:
    tenant = await site.tenant()
    verification_id, code = await tenant.started(e164)
    accepted = 0
    for text in SPELLINGS[e164]:
        refusal = await told(tenant.start(text))
        assert refusal.reason in {"SEND_COOLDOWN", "FIELD_INVALID"}, text
        assert text not in refusal.message
        if refusal.reason == "SEND_COOLDOWN":
            accepted += 1
            assert (await tenant.quota(text))["PHONE_SENDS_HOUR"][1] == 1
            spelled = text
    assert accepted
    assert len(site.bodies(e164)) == 1
    request = pb.CheckVerificationRequest(phone_number=spelled, code=code)
    reply = await site.live.verification.CheckVerification(request, metadata=tenant.auth)
    assert reply.verification.verification_id == verification_id
    assert reply.WhichOneof("result") == "approval"


@pytest.mark.parametrize(
    ("text", "region"),
    [("(415) 555-0143", "US"), ("1 415 555 0143", "US"), ("415.555.0143", "us"[:0] + "US")],
)
async def test_c041_a_national_spelling_is_the_same_phone(
    site: Site, text: str, region: str
) -> None:
    tenant = await site.tenant()
    await tenant.start("+14155550143")
    refusal = await told(tenant.start(text, region_code=region))
    assert refusal.reason == "SEND_COOLDOWN"


@pytest.mark.parametrize(
    "text",
    [
        "+14155550142;ext=1",
        "+14155550142x7",
        "+1415\u200b5550142",
        "+1415\u00ad5550142",
        "+1415\u202e5550142",
        "\uff0b14155550142",
        "+1415555014\u0662",
        "+0014155550142",
        "+14155550142,+14155550144",
        "0014155550142",
    ],
)
async def test_c041_what_has_no_one_form_is_refused(site: Site, text: str) -> None:
    tenant = await site.tenant()
    refusal = await told(tenant.start(text))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == ("phone_number",)
    assert "4155550142" not in refusal.message
    assert text.encode() not in refusal.raw
