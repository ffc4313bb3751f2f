"""`watchword verify`: what is sent, what is shown, how it ends."""

import grpc
import pytest
from tests.cli.conftest import Run
from tests.client.scripted import Refusal, ScriptedServer

from watchword.client import verification_pb2 as pb

PENDING = pb.Verification(
    verification_id="VE1",
    state=pb.VERIFICATION_STATE_PENDING,
    channel=pb.CHANNEL_SMS,
    recipient_hint="+1 •••••••00",
    checks_remaining=5,
    sends=[pb.Send(send_id="SE1", state=pb.SEND_STATE_SUBMITTED, carrier="console")],
)
PENDING.expire_time.FromJsonString("2026-01-02T03:04:05Z")
APPROVED = pb.CheckVerificationResponse(
    verification=PENDING,
    approval=pb.Approval(receipt="a.b.c", salts=pb.ReceiptSalts(phone_salt=b"p", action_salt=b"a")),
)
REJECTED = pb.CheckVerificationResponse(
    verification=PENDING,
    rejection=pb.Rejection(reason=pb.REJECTION_REASON_WRONG_CODE, checks_remaining=4),
)


def test_start_sends_its_options(call: Run, server: ScriptedServer) -> None:
    server.answers("StartVerification", pb.StartVerificationResponse(verification=PENDING))
    ended = call(
        *("verify", "start", "4155550100", "--region", "US", "--channel", "sms"),
        *("--purpose", "pay", "--action", "amount=10", "--action", "to=a=b", "--binding", "s1"),
        *("--length", "8", "--ttl", "60", "--max-checks", "3", "--resend", "last-two"),
        *("--tag", "k=v", "--language", "en", "--request-id", "mine"),
    )
    assert (ended.status, ended.err) == (0, "")
    policy = pb.CodePolicy(length=8, max_checks=3, resend=pb.RESEND_POLICY_LAST_TWO)
    policy.ttl.FromSeconds(60)
    assert server.requests("StartVerification") == [
        pb.StartVerificationRequest(
            phone_number="4155550100",
            region_code="US",
            channel=pb.CHANNEL_SMS,
            purpose="pay",
            action={"amount": "10", "to": "a=b"},
            binding=b"s1",
            code_policy=policy,
            tags={"k": "v"},
            language_code="en",
            request_id="mine",
        )
    ]


def test_start_shows_the_verification_to_people(call: Run, server: ScriptedServer) -> None:
    server.answers("StartVerification", pb.StartVerificationResponse(verification=PENDING))
    ended = call("verify", "start", "+14155550100")
    assert "VE1" in ended.out
    assert "PENDING" in ended.out
    assert "2026-01-02 03:04:05 UTC" in ended.out
    assert "watchword verify check VE1 CODE" in ended.out
    assert not server.requests("StartVerification")[0].HasField("code_policy")


def test_start_gives_programs_the_whole_verification(call: Run, server: ScriptedServer) -> None:
    server.answers("StartVerification", pb.StartVerificationResponse(verification=PENDING))
    shown = call("verify", "start", "+14155550100", "--json").json
    assert shown["verification_id"] == "VE1"
    assert shown["state"] == "VERIFICATION_STATE_PENDING"
    assert shown["sends_remaining"] == 0
    assert shown["sends"][0]["carrier"] == "console"
    assert shown["expire_time"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("option", ["--action", "--tag"])
@pytest.mark.parametrize("given", [["amount"], ["a=1", "a=2"]])
def test_pairs_need_key_and_value(call: Run, option: str, given: list[str]) -> None:
    options = [part for pair in given for part in (option, pair)]
    ended = call("verify", "start", "+14155550100", *options)
    assert ended.status == 2
    assert ended.err == f"watchword: {option} takes KEY=VALUE, each key once\n"


def test_an_approval_ends_with_0_and_shows_the_receipt(call: Run, server: ScriptedServer) -> None:
    server.answers("CheckVerification", APPROVED)
    ended = call("verify", "check", "VE1", "123456", "--purpose", "pay")
    assert ended.status == 0
    assert ended.out.splitlines() == ["approved", "receipt: a.b.c"]
    request = server.requests("CheckVerification")[0]
    assert (request.verification_id, request.code, request.purpose) == ("VE1", "123456", "pay")


def test_an_approval_s_json_has_the_api_s_shape(call: Run, server: ScriptedServer) -> None:
    server.answers("CheckVerification", APPROVED)
    shown = call("verify", "check", "VE1", "123456", "--json").json
    assert shown["approval"]["receipt"] == "a.b.c"
    assert shown["approval"]["salts"] == {"phone_salt": "cA==", "action_salt": "YQ=="}
    assert shown["verification"]["verification_id"] == "VE1"
    assert "rejection" not in shown


def test_a_rejection_ends_with_1(call: Run, server: ScriptedServer) -> None:
    server.answers("CheckVerification", REJECTED)
    ended = call("verify", "check", "+14155550100", "000000")
    assert (ended.status, ended.out) == (1, "rejected: WRONG_CODE; 4 checks left\n")
    assert server.requests("CheckVerification")[0].phone_number == "+14155550100"
    ended = call("verify", "check", "VE1", "000000", "--json")
    assert ended.status == 1
    assert ended.json["rejection"] == {"reason": "WRONG_CODE", "checks_remaining": 4}
    assert "approval" not in ended.json


def test_watch_shows_a_line_a_change(call: Run, server: ScriptedServer) -> None:
    change = pb.WatchVerificationResponse(verification=PENDING)
    server.answers("WatchVerification", [change, change])
    ended = call("verify", "watch", "VE1")
    assert [line.split()[-3:] for line in ended.out.splitlines()] == [
        ["SUBMITTED", "by", "console"]
    ] * 2
    ended = call("verify", "watch", "VE1", "--json")
    assert ended.out.count('"verification_id": "VE1"') == len(ended.out.splitlines()) == 2


def test_the_other_calls_name_their_verification(call: Run, server: ScriptedServer) -> None:
    server.answers("ResendVerification", pb.ResendVerificationResponse(verification=PENDING))
    server.answers("CancelVerification", pb.CancelVerificationResponse(verification=PENDING))
    server.answers("GetVerification", pb.GetVerificationResponse(verification=PENDING))
    for command in ("resend", "cancel", "get"):
        ended = call("verify", command, "VE1", "--json")
        assert (ended.status, ended.json["verification_id"]) == (0, "VE1")
    assert [seen.request.verification_id for seen in server.seen] == ["VE1"] * 3


def test_a_list_is_a_table_or_a_page(call: Run, server: ScriptedServer) -> None:
    page = pb.ListVerificationsResponse(verifications=[PENDING], next_page_token="more")
    server.answers("ListVerifications", page)
    ended = call("verify", "list", "--state", "pending", "--page-size", "1")
    assert "VE1" in ended.out
    assert "--page-token more" in ended.out
    request = server.requests("ListVerifications")[0]
    assert (request.state, request.page_size) == (pb.VERIFICATION_STATE_PENDING, 1)
    shown = call("verify", "list", "--json").json
    assert [each["verification_id"] for each in shown["verifications"]] == ["VE1"]
    assert shown["next_page_token"] == "more"


def test_an_empty_list_says_so(call: Run, server: ScriptedServer) -> None:
    server.answers("ListVerifications", pb.ListVerificationsResponse())
    assert call("verify", "list").out == "no verifications\n"
    assert call("verify", "list", "--json").json == {"verifications": [], "next_page_token": ""}


def test_quota_shows_what_is_left(call: Run, server: ScriptedServer) -> None:
    quota = pb.Quota(name=pb.QUOTA_NAME_PHONE_SENDS_DAY, limit=10, used=3, remaining=7)
    reply = pb.GetQuotaResponse(quotas=[quota])
    reply.next_send_time.FromJsonString("2026-01-02T03:04:05Z")
    server.answers("GetQuota", reply)
    ended = call("verify", "quota", "+14155550100")
    assert "PHONE_SENDS_DAY" in ended.out
    assert "next send: 2026-01-02 03:04:05 UTC" in ended.out
    shown = call("verify", "quota", "+14155550100", "--json").json
    assert shown["quotas"][0]["remaining"] == "7"
    assert shown["next_send_time"] == 1767323045.0


def test_lookup_and_rebind(call: Run, server: ScriptedServer) -> None:
    found = pb.LookupPhoneNumberResponse(e164="+14155550100", line_type=pb.LINE_TYPE_MOBILE)
    server.answers("LookupPhoneNumber", found)
    server.answers(
        "RebindPhone", pb.RebindPhoneResponse(rebind=pb.Rebind(state=pb.REBIND_STATE_PENDING))
    )
    assert "MOBILE" in call("verify", "lookup", "4155550100", "--region", "US").out
    assert "PENDING" in call("verify", "rebind", "+14155550100", "--reason", "lost").out
    assert call("verify", "rebind", "+14155550100").status == 2


def test_a_refusal_is_one_line_with_advice(call: Run, server: ScriptedServer) -> None:
    refusal = Refusal(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "SEND_COOLDOWN", "too soon", retry_after=23.4
    )
    server.answers("StartVerification", refusal)
    ended = call("verify", "start", "+14155550100")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "watchword: SEND_COOLDOWN: too soon; wait 23 s and try again\n"


def test_a_malformed_field_is_named(call: Run, server: ScriptedServer) -> None:
    refusal = Refusal(
        grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", "wrong", fields=("phone_number",)
    )
    server.answers("StartVerification", refusal)
    assert "correct phone_number" in call("verify", "start", "nonsense").err


def test_what_others_wrote_cannot_steer_the_terminal(call: Run, server: ScriptedServer) -> None:
    evil = pb.Verification(verification_id="VE1", purpose="\x1b[2J[bold]:skull:")
    server.answers("GetVerification", pb.GetVerificationResponse(verification=evil))
    out = call("verify", "get", "VE1").out
    assert "\x1b" not in out
    assert "[2J[bold]:skull:" in out
