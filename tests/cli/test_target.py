"""Where a command finds its server and its credential, and how it fails to."""

import base64
import json
from pathlib import Path

import grpc
import pytest
from tests.cli.conftest import Run
from tests.client.scripted import Refusal, ScriptedServer

from watchword.client import account_pb2
from watchword.client import verification_pb2 as pb


@pytest.fixture
def profile(server: ScriptedServer, tmp_path: Path) -> Path:
    path = tmp_path / "var" / "dev-credentials.json"
    path.parent.mkdir()
    content = {
        "endpoint": server.endpoint,
        "account_id": "AC1",
        "application_id": "AP1",
        "credential_id": "CRdev",
        "credential_secret": "devsecret",
        "admin_credential_id": "CRadmin",
        "admin_credential_secret": "adminsecret",
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def caller(server: ScriptedServer) -> str:
    encoded = server.seen[-1].metadata["authorization"].removeprefix("Basic ")
    return base64.b64decode(encoded).decode()


@pytest.fixture
def quiet(server: ScriptedServer) -> ScriptedServer:
    server.answers("LookupPhoneNumber", pb.LookupPhoneNumberResponse(e164="+14155550100"))
    server.answers("ListAccounts", account_pb2.ListAccountsResponse())
    return server


LOOKUP = ("verify", "lookup", "+14155550100")


def test_the_dev_profile_is_found(run: Run, quiet: ScriptedServer, profile: Path) -> None:
    assert run(*LOOKUP).status == 0
    assert caller(quiet) == "CRdev:devsecret"


def test_operators_commands_take_its_operator(
    run: Run, quiet: ScriptedServer, profile: Path
) -> None:
    assert run("account", "list").status == 0
    assert caller(quiet) == "CRadmin:adminsecret"


def test_flags_win_over_the_environment_and_that_over_the_profile(
    run: Run, quiet: ScriptedServer, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHWORD_CREDENTIAL_ID", "CRenv")
    monkeypatch.setenv("WATCHWORD_CREDENTIAL_SECRET", "envsecret")
    assert run(*LOOKUP).status == 0
    assert caller(quiet) == "CRenv:envsecret"
    assert run(*LOOKUP, "--credential-id", "CRflag", "--credential-secret", "f").status == 0
    assert caller(quiet) == "CRflag:f"


def test_a_profile_s_secret_goes_to_its_own_server_alone(run: Run, profile: Path) -> None:
    ended = run(*LOOKUP, "--endpoint", "127.0.0.1:1")
    assert ended.status == 2
    assert "no credential is known" in ended.err


def test_half_a_credential_is_wrong_usage(run: Run, profile: Path) -> None:
    ended = run(*LOOKUP, "--credential-id", "CR1")
    assert (ended.status, ended.err) == (
        2,
        "watchword: a credential is an id and a secret; give both\n",
    )


def test_no_server_is_wrong_usage(run: Run) -> None:
    ended = run(*LOOKUP)
    assert ended.status == 2
    assert ended.err.startswith("watchword: no server is known; give --endpoint")


@pytest.mark.parametrize("content", ["", "[]", "{", "\0"])
def test_a_broken_profile_is_named(run: Run, profile: Path, content: str) -> None:
    profile.write_text(content)
    ended = run(*LOOKUP)
    assert ended.status == 2
    assert "cannot be read as a profile" in ended.err


def test_a_profile_without_credential_is_named(run: Run, profile: Path) -> None:
    profile.write_text('{"endpoint": "127.0.0.1:1"}')
    assert "holds no credential" in run(*LOOKUP).err


def test_a_missing_certificate_is_wrong_usage(run: Run, profile: Path) -> None:
    ended = run(*LOOKUP, "--ca", "absent.pem")
    assert ended.status == 2
    assert "absent.pem" in ended.err


def test_plaintext_and_certificates_exclude_each_other(run: Run, profile: Path) -> None:
    (profile.parent / "ca.pem").write_text("")
    ended = run(*LOOKUP, "--plaintext", "--ca", str(profile.parent / "ca.pem"))
    assert ended.status == 2
    assert "--plaintext" in ended.err


def test_a_server_that_does_not_answer_is_one_line(run: Run) -> None:
    where = ("--endpoint", "127.0.0.1:1", "--credential-id", "a", "--credential-secret", "b")
    ended = run(*LOOKUP, *where, "--timeout", "0.3")
    assert ended.status == 1
    assert ended.err.startswith("watchword: UNAVAILABLE: no answer; is the server running")
    assert len(ended.err.splitlines()) == 1
    ended = run(*LOOKUP, *where, "--timeout", "0.3", "--json")
    assert json.loads(ended.err)["error"]["code"] == "UNAVAILABLE"


def test_the_secret_appears_nowhere(run: Run, server: ScriptedServer, profile: Path) -> None:
    server.answers(
        "LookupPhoneNumber", Refusal(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")
    )
    ended = run(*LOOKUP)
    assert ended.status == 1
    assert "devsecret" not in ended.out + ended.err
