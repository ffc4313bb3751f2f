"""The commands that manage accounts: what they send, what they show."""

import json

import pytest
from tests.cli.conftest import Run
from tests.client.scripted import ScriptedServer

from watchword.client import account_pb2 as pb

ACCOUNT = pb.Account(account_id="AC1", display_name="Shop", state=pb.ACCOUNT_STATE_TRIAL)
APPLICATION = pb.Application(
    application_id="AP1",
    display_name="Web",
    enabled_regions=["ES"],
    code_policy=pb.CodePolicy(length=7, max_checks=4),
)


def test_account_create(call: Run, server: ScriptedServer) -> None:
    server.answers("CreateAccount", pb.CreateAccountResponse(account=ACCOUNT))
    ended = call(
        *("account", "create", "Shop", "--company", "Shop Ltd", "--email", "a@shop.example"),
        *("--sends-per-day", "9", "--region", "ES", "--request-id", "mine", "--json"),
    )
    assert ended.json["state"] == "ACCOUNT_STATE_TRIAL"
    assert server.requests("CreateAccount") == [
        pb.CreateAccountRequest(
            display_name="Shop",
            company_name="Shop Ltd",
            contact_email_address="a@shop.example",
            limits=pb.AccountLimits(sends_per_day=9),
            enabled_regions=["ES"],
            request_id="mine",
        )
    ]


def test_account_get_and_list(call: Run, server: ScriptedServer) -> None:
    server.answers("GetAccount", pb.GetAccountResponse(account=ACCOUNT))
    server.answers("ListAccounts", pb.ListAccountsResponse(accounts=[ACCOUNT]))
    assert "TRIAL" in call("account", "get").out
    assert "Shop" in call("account", "list").out
    assert server.requests("GetAccount") == [pb.GetAccountRequest()]


def test_account_update_names_what_is_given(call: Run, server: ScriptedServer) -> None:
    server.answers("UpdateAccount", pb.UpdateAccountResponse(account=ACCOUNT))
    call("account", "update", "AC1", "--company", "", "--phone", "+14155550100")
    call("account", "update", "AC1", "--state", "active", "--name", "New", "--region", "US")
    first, second = server.requests("UpdateAccount")
    assert list(first.update_mask.paths) == ["company_name", "contact_phone_number"]
    assert first.account == pb.Account(account_id="AC1")
    assert first.contact_phone_number == "+14155550100"
    assert set(second.update_mask.paths) == {"display_name", "enabled_regions", "state"}
    assert second.account.state == pb.ACCOUNT_STATE_ACTIVE


def test_account_update_keeps_the_other_limit(call: Run, server: ScriptedServer) -> None:
    limits = pb.AccountLimits(sends_per_hour=5, sends_per_day=50)
    server.answers("GetAccount", pb.GetAccountResponse(account=pb.Account(limits=limits)))
    server.answers("UpdateAccount", pb.UpdateAccountResponse(account=ACCOUNT))
    call("account", "update", "AC1", "--sends-per-hour", "7")
    request = server.requests("UpdateAccount")[0]
    assert request.account.limits == pb.AccountLimits(sends_per_hour=7, sends_per_day=50)
    assert list(request.update_mask.paths) == ["limits"]


@pytest.mark.parametrize(
    "command", [("account", "update", "AC1"), ("application", "update", "AP1")]
)
def test_an_update_of_nothing_is_wrong_usage(call: Run, command: tuple[str, ...]) -> None:
    ended = call(*command)
    assert ended.status == 2
    assert "nothing to change" in ended.err


def test_account_suspend(call: Run, server: ScriptedServer) -> None:
    server.answers("SuspendAccount", pb.SuspendAccountResponse(account=ACCOUNT))
    assert call("account", "suspend", "AC1").status == 2
    assert call("account", "suspend", "AC1", "--reason", "unpaid").status == 0
    assert server.requests("SuspendAccount")[0].reason == "unpaid"


def test_application_create(call: Run, server: ScriptedServer) -> None:
    server.answers("CreateApplication", pb.CreateApplicationResponse(application=APPLICATION))
    assert call("application", "create", "Web").status == 2
    ended = call(
        *("application", "create", "Web", "--region", "ES", "--region", "US", "--channel", "sms"),
        *("--brand", "Shop", "--purpose", "login", "--code-length", "8", "--resend", "new"),
    )
    assert ended.status == 0
    request = server.requests("CreateApplication")[0]
    assert request.enabled_regions == ["ES", "US"]
    assert request.enabled_channels == [pb.CHANNEL_SMS]
    assert request.code_policy == pb.CodePolicy(length=8, resend=pb.RESEND_POLICY_NEW)
    assert (request.brand_name, list(request.purposes)) == ("Shop", ["login"])


def test_application_update_keeps_the_rest_of_the_policy(call: Run, server: ScriptedServer) -> None:
    server.answers("GetApplication", pb.GetApplicationResponse(application=APPLICATION))
    server.answers("UpdateApplication", pb.UpdateApplicationResponse(application=APPLICATION))
    call("application", "update", "AP1", "--code-ttl", "60", "--no-custom-codes", "--name", "N")
    request = server.requests("UpdateApplication")[0]
    policy = pb.CodePolicy(length=7, max_checks=4)
    policy.ttl.FromSeconds(60)
    assert request.application == pb.Application(
        application_id="AP1", display_name="N", custom_code_granted=False, code_policy=policy
    )
    paths = {"display_name", "custom_code_granted", "code_policy"}
    assert set(request.update_mask.paths) == paths


def test_application_get_and_list(call: Run, server: ScriptedServer) -> None:
    server.answers("GetApplication", pb.GetApplicationResponse(application=APPLICATION))
    server.answers("ListApplications", pb.ListApplicationsResponse(applications=[APPLICATION]))
    assert "code policy: length" in call("application", "get", "AP1").out
    assert call("application", "list", "--json").json["applications"][0]["application_id"] == "AP1"


def test_credential_create_shows_the_secret_once(call: Run, server: ScriptedServer) -> None:
    credential = pb.Credential(credential_id="CR2", scopes=["verification.start"])
    server.answers(
        "CreateCredential",
        pb.CreateCredentialResponse(credential=credential, secret="once"),
        pb.CreateCredentialResponse(credential=credential, secret_omitted=True),
    )
    options = ("--application", "AP1", "--scope", "verification.start", "--ttl-days", "2")
    assert "once" in call("credential", "create", *options).out
    assert "is not kept" in call("credential", "create", *options).out
    request = server.requests("CreateCredential")[0]
    assert request.ttl.seconds == 2 * 86_400
    assert list(request.scopes) == ["verification.start"]
    assert call("credential", "create").status == 2


def test_credential_list_and_revoke(call: Run, server: ScriptedServer) -> None:
    credential = pb.Credential(credential_id="CR2", state=pb.CREDENTIAL_STATE_REVOKED)
    server.answers("ListCredentials", pb.ListCredentialsResponse(credentials=[credential]))
    server.answers("RevokeCredential", pb.RevokeCredentialResponse(credential=credential))
    assert "REVOKED" in call("credential", "list").out
    assert "REVOKED" in call("credential", "revoke", "CR2").out


def test_test_numbers(call: Run, server: ScriptedServer) -> None:
    number = pb.TestNumber(application_id="AP1", phone_number="+14155550100")
    server.answers("CreateTestNumber", pb.CreateTestNumberResponse(test_number=number))
    server.answers("ListTestNumbers", pb.ListTestNumbersResponse(test_numbers=[number]))
    server.answers("DeleteTestNumber", pb.DeleteTestNumberResponse())
    assert call("test-number", "create", "AP1", "+14155550100", "123456").status == 0
    assert server.requests("CreateTestNumber")[0].code == "123456"
    assert "+14155550100" in call("test-number", "list", "AP1").out
    assert call("test-number", "delete", "AP1", "+14155550100").out.strip() == "deleted"
    assert call("test-number", "delete", "AP1", "+14155550100", "--json").json == {}


def test_usage(call: Run, server: ScriptedServer) -> None:
    row = pb.UsageRow(date="2026-01-02", channel=pb.CHANNEL_SMS, starts=3)
    server.answers("ListUsage", pb.ListUsageResponse(rows=[row]))
    assert "2026-01-02" in call("usage", "--from", "2026-01-01", "--until", "2026-02-01").out
    request = server.requests("ListUsage")[0]
    assert request.start_time.ToJsonString() == "2026-01-01T00:00:00Z"
    assert request.end_time.ToJsonString() == "2026-02-01T00:00:00Z"
    assert call("usage", "--json").json["rows"][0]["starts"] == "3"
    assert call("usage", "--from", "yesterday").status == 2


def test_keys(call: Run, server: ScriptedServer) -> None:
    jwks = {"keys": [{"kid": "key-1", "crv": "Ed25519", "x": "AAAA"}]}
    key_set = pb.KeySet(use=pb.KEY_USE_RECEIPT, jwks=json.dumps(jwks))
    server.answers("GetSigningKeys", pb.GetSigningKeysResponse(key_sets=[key_set]))
    assert call("keys").out == "receipt  key-1  Ed25519  AAAA\n"
    assert call("keys", "--json").json == {"receipt": jwks}
