"""Both clients against a real gRPC server that answers as it is told."""

import base64
import pickle
from typing import Any

import grpc
import pytest
from tests.client.scripted import Ask, Refusal, ScriptedServer

from watchword import client as ww
from watchword.client import account_pb2
from watchword.client import verification_pb2 as pb

UNAVAILABLE = Refusal(grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
PENDING = pb.Verification(verification_id="VE1", state=pb.VERIFICATION_STATE_PENDING)
STARTED = pb.StartVerificationResponse(verification=PENDING)
APPROVED = pb.CheckVerificationResponse(
    verification=PENDING,
    approval=pb.Approval(
        receipt="a.b.c", salts=pb.ReceiptSalts(phone_salt=b"p" * 16, action_salt=b"a" * 16)
    ),
)
REJECTED = pb.CheckVerificationResponse(
    verification=PENDING,
    rejection=pb.Rejection(reason=pb.REJECTION_REASON_WRONG_CODE, checks_remaining=4),
)


def test_start_sends_what_it_was_given(server: ScriptedServer, ask: Ask) -> None:
    server.answers("StartVerification", STARTED)
    verification = ask(
        "start",
        "+14155550100",
        purpose="pay",
        action={"amount": "10"},
        binding=b"session",
        channel=pb.CHANNEL_SMS,
        code_policy=pb.CodePolicy(length=8),
        tags={"a": "b"},
        request_id="mine",
    )
    assert verification == PENDING
    assert server.requests("StartVerification") == [
        pb.StartVerificationRequest(
            phone_number="+14155550100",
            purpose="pay",
            action={"amount": "10"},
            binding=b"session",
            channel=pb.CHANNEL_SMS,
            code_policy=pb.CodePolicy(length=8),
            tags={"a": "b"},
            request_id="mine",
        )
    ]


def test_calls_carry_credential_and_deadline(server: ScriptedServer, ask: Ask) -> None:
    server.answers("GetVerification", pb.GetVerificationResponse(verification=PENDING))
    ask("get", "VE1", deadline=3.0)
    seen = server.seen[0]
    assert base64.b64decode(seen.metadata["authorization"].removeprefix("Basic ")) == b"CR1:s3cret"
    assert 0 < seen.time_remaining < 4  # the default is 5


def test_every_effect_gets_a_request_id_of_its_own(server: ScriptedServer, ask: Ask) -> None:
    server.answers("StartVerification", STARTED)
    server.answers("ResendVerification", pb.ResendVerificationResponse(verification=PENDING))
    server.answers("CheckVerification", REJECTED)
    server.answers("CancelVerification", pb.CancelVerificationResponse(verification=PENDING))
    server.answers("RebindPhone", pb.RebindPhoneResponse())
    ask("start", "+14155550100")
    ask("resend", "VE1")
    ask("check", "123456", verification_id="VE1")
    ask("cancel", "VE1")
    ask("rebind", "+14155550100", reason="lost")
    ids = [seen.request.request_id for seen in server.seen]
    assert len(set(ids)) == 5
    assert all(0 < len(each) <= 64 and each.isascii() and each.isprintable() for each in ids)


def test_an_approval_is_true_and_masks_its_receipt(server: ScriptedServer, ask: Ask) -> None:
    server.answers("CheckVerification", APPROVED)
    outcome = ask("check", "123456", verification_id="VE1", purpose="pay")
    assert outcome
    assert isinstance(outcome, ww.Approved)
    assert outcome.receipt == "a.b.c"
    assert outcome.salts == ww.Salts(b"p" * 16, b"a" * 16)
    assert "a.b.c" not in repr(outcome)
    assert "pppp" not in repr(outcome.salts)


def test_a_rejection_is_false(server: ScriptedServer, ask: Ask) -> None:
    server.answers("CheckVerification", REJECTED)
    outcome = ask("check", "000000", phone_number="+14155550100")
    assert not outcome
    assert isinstance(outcome, ww.Rejected)
    assert (outcome.reason, outcome.checks_remaining) == ("WRONG_CODE", 4)
    request = server.requests("CheckVerification")[0]
    assert request.WhichOneof("identifier") == "phone_number"


def test_a_reply_without_verdict_approves_nothing(server: ScriptedServer, ask: Ask) -> None:
    server.answers("CheckVerification", pb.CheckVerificationResponse(verification=PENDING))
    assert not ask("check", "000000", verification_id="VE1")


def test_a_reason_of_a_newer_server_is_still_a_rejection(server: ScriptedServer, ask: Ask) -> None:
    newer = pb.CheckVerificationResponse()
    newer.rejection.MergeFromString(b"\x08\x63")  # reason = 99
    server.answers("CheckVerification", newer)
    outcome = ask("check", "000000", verification_id="VE1")
    assert isinstance(outcome, ww.Rejected)
    assert outcome.reason == "REASON_99"


@pytest.mark.parametrize("given", [{}, {"verification_id": "VE1", "phone_number": "+1"}])
def test_check_needs_exactly_one_identifier(ask: Ask, given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="one of"):
        ask("check", "123456", **given)


def test_reads_return_what_the_server_says(server: ScriptedServer, ask: Ask) -> None:
    page = pb.ListVerificationsResponse(verifications=[PENDING], next_page_token="more")
    server.answers("ListVerifications", page)
    assert ask("list", page_size=1, state=pb.VERIFICATION_STATE_PENDING) == ((PENDING,), "more")
    quota = pb.Quota(name=pb.QUOTA_NAME_PHONE_SENDS_DAY, limit=10)
    reply = pb.GetQuotaResponse(quotas=[quota])
    reply.next_send_time.FromMilliseconds(1_500)
    server.answers("GetQuota", reply, pb.GetQuotaResponse())
    assert ask("get_quota", "+14155550100") == ((quota,), 1.5)
    assert ask("get_quota", "+14155550100") == ((), None)
    found = pb.LookupPhoneNumberResponse(e164="+14155550100", valid=True)
    server.answers("LookupPhoneNumber", found)
    assert ask("lookup", "4155550100", region_code="US") == found


def test_receipt_keys_are_those_for_receipts(server: ScriptedServer, ask: Ask) -> None:
    keys = account_pb2.KeySet(use=account_pb2.KEY_USE_RECEIPT, jwks='{"keys":[1]}')
    other = account_pb2.KeySet(jwks='{"keys":[2]}')
    reply = account_pb2.GetSigningKeysResponse(key_sets=[other, keys])
    server.answers("GetSigningKeys", reply, account_pb2.GetSigningKeysResponse())
    assert ask("receipt_keys") == '{"keys":[1]}'
    assert ask("receipt_keys") == '{"keys":[]}'


def test_watch_ends_with_the_stream(server: ScriptedServer, ask: Ask) -> None:
    server.answers("WatchVerification", _changes("1", "2"))
    assert _purposes(ask("watch", "VE1")) == ["1", "2"]


def test_watch_is_taken_up_again_when_it_breaks_off(server: ScriptedServer, ask: Ask) -> None:
    server.answers("WatchVerification", [*_changes("1"), UNAVAILABLE], _changes("1", "2"))
    assert _purposes(ask("watch", "VE1")) == ["1", "1", "2"]


def test_watch_gives_up_when_nothing_comes(server: ScriptedServer, ask: Ask) -> None:
    server.answers("WatchVerification", [UNAVAILABLE])
    with pytest.raises(ww.Unavailable):
        ask("watch", "VE1")
    assert len(server.seen) == 4


def test_watch_of_an_unknown_verification_fails_at_once(server: ScriptedServer, ask: Ask) -> None:
    refusal = Refusal(grpc.StatusCode.NOT_FOUND, "VERIFICATION_NOT_FOUND")
    server.answers("WatchVerification", [refusal])
    with pytest.raises(ww.NotFound):
        ask("watch", "VE1")
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, ww.InvalidArgument),
        (grpc.StatusCode.UNAUTHENTICATED, ww.Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, ww.PermissionDenied),
        (grpc.StatusCode.NOT_FOUND, ww.NotFound),
        (grpc.StatusCode.FAILED_PRECONDITION, ww.FailedPrecondition),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ww.ResourceExhausted),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ww.DeadlineExceeded),
        (grpc.StatusCode.UNIMPLEMENTED, ww.Unimplemented),
        (grpc.StatusCode.INTERNAL, ww.Internal),
        (grpc.StatusCode.ABORTED, ww.WatchwordError),
    ],
)
def test_errors_are_typed_and_never_retried(
    server: ScriptedServer, ask: Ask, code: grpc.StatusCode, kind: type[ww.WatchwordError]
) -> None:
    refusal = Refusal(code, "SOME_REASON", retry_after=1.5, fields=("a.b", "c"))
    server.answers("StartVerification", refusal)
    with pytest.raises(ww.WatchwordError) as caught:
        ask("start", "+14155550100")
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.reason, error.retry_after) == (code, "SOME_REASON", 1.5)
    assert (error.field, error.fields) == ("a.b", ("a.b", "c"))
    assert str(error) == "SOME_REASON: a fixed text"
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(grpc.StatusCode.NOT_FOUND),
        Refusal(grpc.StatusCode.NOT_FOUND, "THEIRS", domain="elsewhere"),
        Refusal(grpc.StatusCode.NOT_FOUND, details=b"\xff\xff\xff"),
    ],
)
def test_a_status_of_others_has_no_reason(
    server: ScriptedServer, ask: Ask, refusal: Refusal
) -> None:
    server.answers("GetVerification", refusal)
    with pytest.raises(ww.NotFound) as caught:
        ask("get", "VE1")
    assert (caught.value.reason, caught.value.field) == ("", None)


@pytest.mark.parametrize("method", ["start", "get"])
def test_unavailable_is_tried_again_with_the_same_request(
    server: ScriptedServer, ask: Ask, method: str
) -> None:
    reply: Any = STARTED if method == "start" else pb.GetVerificationResponse(verification=PENDING)
    name = {"start": "StartVerification", "get": "GetVerification"}[method]
    server.answers(name, UNAVAILABLE, UNAVAILABLE, reply)
    assert ask(method, "VE1") == PENDING
    first, *others = server.requests(name)
    assert others == [first, first]


def test_tries_are_bounded(server: ScriptedServer, ask: Ask) -> None:
    server.answers("StartVerification", UNAVAILABLE)
    with pytest.raises(ww.Unavailable) as caught:
        ask("start", "+14155550100")
    assert caught.value.reason == "OVERLOADED"
    assert len(server.seen) == 4


def test_a_wait_past_the_deadline_is_not_begun(server: ScriptedServer, ask: Ask) -> None:
    late = Refusal(grpc.StatusCode.UNAVAILABLE, "OVERLOADED", retry_after=60)
    server.answers("StartVerification", late)
    with pytest.raises(ww.Unavailable):
        ask("start", "+14155550100")
    assert len(server.seen) == 1


def test_an_absent_server_is_unavailable() -> None:
    with (
        ww.SyncClient("127.0.0.1:1", retry=ww.RetryPolicy(max_attempts=1)) as client,
        pytest.raises(ww.Unavailable) as caught,
    ):
        client.get("VE1")
    assert caught.value.reason == ""


def test_any_method_of_a_stub_can_be_called(server: ScriptedServer) -> None:
    created = account_pb2.CreateCredentialResponse(secret="shown once")
    server.answers("CreateCredential", UNAVAILABLE, created)
    request = account_pb2.CreateCredentialRequest(scopes=["verification.start"])
    with ww.SyncClient(server.endpoint, "CR1", "s3cret") as client:
        assert client.call(client.account.CreateCredential, request) == created
        assert client.call(client.account.CreateCredential, request) == created
    first, again, second = server.requests("CreateCredential")
    assert request.request_id == ""
    assert first == again
    assert first.request_id != second.request_id


async def test_any_method_of_an_async_stub_can_be_called(server: ScriptedServer) -> None:
    server.answers("GetAccount", account_pb2.GetAccountResponse())
    async with ww.Client(server.endpoint, "CR1", "s3cret") as client:
        request = account_pb2.GetAccountRequest(account_id="AC1")
        reply = await client.call(client.account.GetAccount, request)
        bare = await client.account.GetAccount(request, metadata=client.metadata())
    assert reply == bare == account_pb2.GetAccountResponse()
    assert [seen.metadata["authorization"] for seen in server.seen] == [
        "Basic Q1IxOnMzY3JldA=="
    ] * 2


@pytest.mark.parametrize("kind", [ww.Client, ww.SyncClient])
def test_a_client_masks_its_secret(kind: type[ww.Client | ww.SyncClient]) -> None:
    client = kind("watchword.example:443", "CR1", "s3cret")
    assert repr(client) == f"{kind.__name__}('watchword.example:443', 'CR1', tls)"
    assert "s3cret" not in repr(vars(client))
    with pytest.raises(TypeError):
        pickle.dumps(vars(client)["_authorization"])


@pytest.mark.parametrize("pair", [("CR1", None), (None, "s3cret")])
def test_half_a_credential_is_refused(pair: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="go together"):
        ww.SyncClient("127.0.0.1:1", *pair)


def test_half_a_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        ww.Tls(certificate_chain=b"PEM")


@pytest.mark.parametrize(
    ("endpoint", "secure"),
    [
        ("127.0.0.1:50051", False),
        ("127.8.8.8:1", False),
        ("[::1]:50051", False),
        ("localhost:50051", False),
        ("unix:/run/watchword.sock", False),
        ("localhost.example:50051", True),
        ("10.0.0.1:50051", True),
        ("watchword:50051", True),
    ],
)
def test_only_local_traffic_goes_in_the_clear_by_default(endpoint: str, *, secure: bool) -> None:
    assert ("plaintext" not in repr(ww.SyncClient(endpoint))) is secure
    assert "plaintext" in repr(ww.SyncClient(endpoint, tls=False))
    assert "plaintext" not in repr(ww.SyncClient(endpoint, tls=True))


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert methods(ww.Client) == methods(ww.SyncClient)


def _changes(*purposes: str) -> list[pb.WatchVerificationResponse]:
    verifications = [pb.Verification(verification_id="VE1", purpose=each) for each in purposes]
    return [pb.WatchVerificationResponse(verification=each) for each in verifications]


def _purposes(verifications: list[pb.Verification]) -> list[str]:
    return [verification.purpose for verification in verifications]
