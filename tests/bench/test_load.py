"""A reply that is not what it must be is found out."""

import asyncio
import base64
import json
from collections.abc import Callable

import pytest

from watchword.cli.bench.load import Verifications, WrongReply
from watchword.cli.bench.people import phone_number
from watchword.cli.bench.site import Profile
from watchword.cli.bench.wire import Connection, Headers
from watchword.client import verification_pb2 as pb
from watchword.core.ids import new_verification_id
from watchword.core.ports import DAY
from watchword.testing.entropy import SeededEntropy

EPOCH = 20_000
PROFILE = Profile("AP1", "CR1", "secret", {str(EPOCH): (b"k" * 32).hex()})
ID = new_verification_id(EPOCH * DAY, 6, SeededEntropy())


class Scripted(Connection):
    """Answers with the messages that it was given, in that order."""

    def __init__(
        self, *replies: pb.StartVerificationResponse | pb.CheckVerificationResponse
    ) -> None:
        super().__init__()
        self.replies = [reply.SerializeToString() for reply in replies]
        self.requests: list[bytes] = []

    def call(self, headers: Headers, message: bytes) -> "asyncio.Future[bytes]":
        self.requests.append(message)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        answer.set_result(self.replies.pop(0))
        return answer


def started() -> pb.StartVerificationResponse:
    return pb.StartVerificationResponse(
        verification=pb.Verification(
            verification_id=ID,
            application_id="AP1",
            state=pb.VERIFICATION_STATE_PENDING,
            recipient_hint=f"+1 ••••••{phone_number(0)[-2:]}",
            sends=[pb.Send(send_id="SE1")],
        )
    )


def receipt(**claims: str) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{body}.c2lnbmF0dXJl"


def approved() -> pb.CheckVerificationResponse:
    return pb.CheckVerificationResponse(
        verification=pb.Verification(
            verification_id=ID,
            state=pb.VERIFICATION_STATE_APPROVED,
            sends=[pb.Send(send_id="SE1", state=pb.SEND_STATE_SUBMITTED)],
        ),
        approval=pb.Approval(receipt=receipt(verification_id=ID, aud="AP1")),
    )


async def test_a_complete_verification_is_counted() -> None:
    connection = Scripted(started(), approved())
    load = Verifications([connection], "host:1", PROFILE)
    await load.complete()
    counts = load.counts
    assert (counts.checked, counts.approved, counts.sent) == (2, 1, 1)
    sent = pb.CheckVerificationRequest.FromString(connection.requests[1])
    assert sent.verification_id == ID
    assert len(sent.code) == 6


def _state(reply: pb.StartVerificationResponse) -> None:
    reply.verification.state = pb.VERIFICATION_STATE_APPROVED


def _application(reply: pb.StartVerificationResponse) -> None:
    reply.verification.application_id = "AP2"


def _hint(reply: pb.StartVerificationResponse) -> None:
    reply.verification.recipient_hint = "+1 ••••••99"


def _sends(reply: pb.StartVerificationResponse) -> None:
    del reply.verification.sends[:]


@pytest.mark.parametrize("spoil", [_state, _application, _hint, _sends])
async def test_a_wrong_start_is_found(
    spoil: Callable[[pb.StartVerificationResponse], None],
) -> None:
    reply = started()
    spoil(reply)
    load = Verifications([Scripted(reply)], "host:1", PROFILE)
    with pytest.raises(WrongReply):
        await load.start()
    assert load.counts.checked == 0


def _pending(reply: pb.CheckVerificationResponse) -> None:
    reply.verification.state = pb.VERIFICATION_STATE_PENDING


def _rejected(reply: pb.CheckVerificationResponse) -> None:
    reply.rejection.reason = pb.REJECTION_REASON_WRONG_CODE


def _another(reply: pb.CheckVerificationResponse) -> None:
    reply.verification.verification_id = "VE2"


def _receipt_of_another(reply: pb.CheckVerificationResponse) -> None:
    reply.approval.receipt = receipt(verification_id="VE2", aud="AP1")


def _receipt_for_another(reply: pb.CheckVerificationResponse) -> None:
    reply.approval.receipt = receipt(verification_id=ID, aud="AP2")


def _no_receipt(reply: pb.CheckVerificationResponse) -> None:
    reply.approval.receipt = ""


@pytest.mark.parametrize(
    "spoil",
    [_pending, _rejected, _another, _receipt_of_another, _receipt_for_another, _no_receipt],
)
async def test_a_wrong_approval_is_found(
    spoil: Callable[[pb.CheckVerificationResponse], None],
) -> None:
    reply = approved()
    spoil(reply)
    load = Verifications([Scripted(started(), reply)], "host:1", PROFILE)
    with pytest.raises(WrongReply):
        await load.complete()
    assert load.counts.approved == 0
