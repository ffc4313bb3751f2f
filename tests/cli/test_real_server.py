"""The command line against a dev server, found by its profile as a newcomer would."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from watchword.cli.demo_server import DemoServer

PHONE = "+14155550111"


@pytest.fixture(scope="module")
def dev_server() -> Iterator[DemoServer]:
    with DemoServer() as server:
        yield server


@pytest.fixture
def dev(run: Run, dev_server: DemoServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in the server's own directory."""
    monkeypatch.chdir(dev_server.root)
    return run


def test_a_verification_from_start_to_end(dev: Run, dev_server: DemoServer) -> None:
    tie = ("--purpose", "login", "--binding", "s1")
    started = dev("verify", "start", PHONE, *tie, "--json").json
    verification_id = started["verification_id"]
    code = dev_server.message_for(verification_id)["code"]
    wrong = dev("verify", "check", verification_id, f"{(int(code) + 1) % 10**6:06}", *tie)
    assert (wrong.status, wrong.out) == (1, "rejected: WRONG_CODE; 4 checks left\n")
    right = dev("verify", "check", PHONE, code, *tie, "--json")
    assert right.status == 0
    assert right.json["approval"]["receipt"].count(".") == 2
    assert dev("verify", "get", verification_id, "--json").json["state"].endswith("APPROVED")
    watched = dev("verify", "watch", verification_id, "--json").json
    assert watched["verification_id"] == verification_id
    listed = dev("verify", "list", "--state", "approved", "--json").json["verifications"]
    assert verification_id in [each["verification_id"] for each in listed]
    again = dev("verify", "check", verification_id, code, *tie)
    assert (again.status, again.out.split(";")[0]) == (1, "rejected: ALREADY_USED")


def test_refusals_say_why(dev: Run) -> None:
    started = dev("verify", "start", "+14155550112", "--json").json
    cooling = dev("verify", "resend", started["verification_id"])
    assert cooling.status == 1
    assert cooling.err.startswith("watchword: SEND_COOLDOWN: ")
    assert "try again" in cooling.err
    assert dev("verify", "cancel", started["verification_id"]).status == 0
    closed = dev("verify", "resend", started["verification_id"])
    assert closed.err.startswith("watchword: VERIFICATION_CLOSED: ")
    nonsense = dev("verify", "start", "nonsense")
    assert nonsense.err.startswith("watchword: FIELD_INVALID: ")
    assert nonsense.err.endswith("correct phone_number\n")


def test_quota_and_lookup(dev: Run) -> None:
    quotas = dev("verify", "quota", "+14155550113", "--json").json["quotas"]
    assert "QUOTA_NAME_PHONE_SENDS_DAY" in [quota["name"] for quota in quotas]
    assert dev("verify", "lookup", "4155550113", "--region", "US", "--json").json["valid"] is True


def test_an_operator_sets_an_account_up(dev: Run) -> None:
    account = dev("account", "create", "Shop", "--json").json
    account_id = account["account_id"]
    listed = dev("account", "list", "--json").json["accounts"]
    assert account_id in [each["account_id"] for each in listed]
    active = dev("account", "update", account_id, "--state", "active", "--json").json
    assert active["state"] == "ACCOUNT_STATE_ACTIVE"
    suspended = dev("account", "suspend", account_id, "--reason", "unpaid", "--json").json
    assert suspended["state"] == "ACCOUNT_STATE_SUSPENDED"


def test_an_account_sets_its_application_up(dev: Run) -> None:
    application = dev("application", "create", "Web", "--region", "US", "--json").json
    application_id = application["application_id"]
    changed = dev("application", "update", application_id, "--code-length", "8", "--json").json
    assert changed["code_policy"]["length"] == 8
    assert dev("application", "list").status == 0
    scopes = ("--scope", "verification.start", "--scope", "verification.check")
    made = dev("credential", "create", "--application", application_id, *scopes, "--json").json
    assert made["secret"]
    credential_id = made["credential"]["credential_id"]
    assert credential_id in dev("credential", "list").out
    revoked = dev("credential", "revoke", credential_id, "--json").json
    assert revoked["state"] == "CREDENTIAL_STATE_REVOKED"
    number = "+14155550114"
    assert dev("test-number", "create", application_id, number, "123456").status == 0
    assert number in dev("test-number", "list", application_id).out
    assert dev("test-number", "delete", application_id, number).status == 0


def test_usage_and_keys(dev: Run) -> None:
    assert "rows" in dev("usage", "--json").json
    assert len(dev("keys", "--json").json["receipt"]["keys"]) == 1


def test_a_second_server_on_the_same_port_is_one_line(dev: Run, dev_server: DemoServer) -> None:
    os.environ["WATCHWORD_LISTEN"] = dev_server.endpoint
    try:
        ended = dev("serve", "--dev")
    finally:
        del os.environ["WATCHWORD_LISTEN"]
    assert ended.status == 1
    assert len(ended.err.splitlines()) == 1


def test_serve_refuses_what_is_unsafe_in_lines(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "watchword.toml"
    config.write_text('listen = "0.0.0.0:50051"\nnonsense = 1\n')
    ended = run("serve", "--config", str(config))
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "watchword: nonsense: is not a key that Watchword knows\n"
    config.write_text('listen = "0.0.0.0:50051"\n')
    ended = run("serve", "--config", str(config))
    assert ended.status == 1
    assert all(line.startswith("watchword: ") for line in ended.err.splitlines())
    assert "listen: plaintext" in ended.err


def test_init_makes_a_deployment_once(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "watchword.toml"
    config.write_text(
        f'[store]\npath = "{tmp_path}/watchword.db"\n[keys]\ndirectory = "{tmp_path}/keys"\n'
    )
    made = run("init", "--config", str(config), "--json").json
    assert made["world"] == "production"
    credentials = tmp_path / "operator-credentials.json"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    profile = json.loads(credentials.read_text())
    assert profile["admin_credential_secret"]
    again = run("init", "--config", str(config))
    assert (again.status, again.out) == (1, "")
    assert "operator-credentials.json: is there already" in again.err
    assert json.loads(credentials.read_text()) == profile
    other = run("init", "--config", str(config), "--credentials", "other.json")
    assert other.status == 1
    assert "watchword.db" in other.err
    assert not (tmp_path / "other.json").exists()
    assert profile["credential_secret"] not in again.err + other.err


def test_config_check_and_show(run: Run, tmp_path: Path) -> None:
    assert run("config", "check", "--dev").out == "the configuration is good\n"
    assert run("config", "check", "--dev", "--json").json == {"ok": True, "faults": []}
    config = tmp_path / "watchword.toml"
    config.write_text('nonsense = 1\n[carriers.twilio]\nauth_token = "very secret"\n')
    ended = run("config", "check", "--config", str(config), "--json")
    assert ended.status == 1
    assert ended.json == {"ok": False, "faults": ["nonsense: is not a key that Watchword knows"]}
    config.write_text('[limits]\nfirst_cooldown = 40\n[carriers.twilio]\nauth_token = "secret"\n')
    shown = run("config", "show", "--config", str(config)).out.splitlines()
    assert "limits.first_cooldown = 40" in shown
    assert 'carriers.tables.twilio.auth_token = "***"' in shown
    assert run("config", "show", "--dev", "--json").json["world"] == "dev"
