"""Who may call, over a real socket."""

import base64
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tests.support.certs import Authority, write_server_files
from tests.support.live import OWN_CONNECTION, Live, Metadata, basic, running, sandbox_config
from tests.support.methods import call, methods, request_type
from tests.support.status import details

from watchword.account.scopes import SCOPES as ACCOUNT_SCOPES
from watchword.account.v1 import account_pb2, account_pb2_grpc
from watchword.rpc.backoff import PAIR_FREE
from watchword.tenancy.model import Scope
from watchword.testing.clock import FakeClock
from watchword.verification.scopes import SCOPES as VERIFICATION_SCOPES
from watchword.verification.v1 import verification_pb2 as pb
from watchword.verification.v1 import verification_pb2_grpc

SPIFFE_ID = "spiffe://mesh.test/ns/shop/sa/checkout"
LOOKUP = pb.LookupPhoneNumberRequest(phone_number="+14155550123")
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


async def refused(live: Live, metadata: Metadata | None) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await live.verification.LookupPhoneNumber(LOOKUP, metadata=metadata)
    return caught.value


def value(text: str) -> Metadata:
    return (("authorization", text),)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_c048_every_bad_credential_reads_the_same(live: Live) -> None:
    known, secret = live.credentials["credential_id"], live.credentials["credential_secret"]
    good = encoded(f"{known}:{secret}")
    bad: list[Metadata | None] = [
        None,
        value(""),
        value("Basic"),
        value("Basic "),
        value(f"Bearer {good}"),
        value(f"Basic {good[:-4]}"),
        value(f"Basic {good}!"),
        value(f"Basic {encoded(known)}"),
        value(f"Basic {encoded(known + ':')}"),
        value(f"Basic {encoded(known + ':wrong')}"),
        value(f"Basic {encoded(known + ':' + secret + 'x')}"),
        value(f"Basic {encoded('CR' + '0' * 32 + ':' + secret)}"),
        value(f"Basic {encoded(known.lower() + ':' + secret)}"),
        value(f"Basic {encoded(known + ':' + secret + 'é')}"),
        value("Basic " + "A" * 4000),
        (*value(f"Basic {good}"), *value(f"Basic {good}")),
        (*value(f"Basic {encoded(known + ':wrong')}"), *value(f"Basic {good}")),
        (("x-authorization", f"Basic {good}"),),
        (("authorization-bin", good),),
    ]
    told = {details(await refused(live, metadata))[:-1] for metadata in bad[:-1]}
    assert len(told) == 1
    seen = told.pop()
    assert seen[:3] == (UNAUTHENTICATED, "the credentials are not valid", "CREDENTIALS_INVALID")
    binary = (("authorization-bin", good.encode()),)
    assert (await refused(live, binary)).code() is UNAUTHENTICATED  # type: ignore[arg-type]
    assert secret.encode() not in b"".join(live.raw_lines)


async def test_c048_ten_kilobytes_of_metadata_are_refused(live: Live) -> None:
    error = await refused(live, value("Basic " + "A" * 10_240))
    assert error.code() in {UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_c048_a_revoked_credential_stops_at_once(live: Live) -> None:
    made = await live.account.CreateCredential(
        account_pb2.CreateCredentialRequest(
            application_id=live.credentials["application_id"],
            display_name="second",
            scopes=["verification.read"],
        ),
        metadata=live.admin,
    )
    metadata = basic(made.credential.credential_id, made.secret)
    await live.verification.LookupPhoneNumber(LOOKUP, metadata=metadata)
    await live.account.RevokeCredential(
        account_pb2.RevokeCredentialRequest(credential_id=made.credential.credential_id),
        metadata=live.admin,
    )
    assert (await refused(live, metadata)).code() is UNAUTHENTICATED


@pytest.mark.parametrize("key", ["account", "x-account-id"])
async def test_c045_metadata_that_names_another_account_is_refused(live: Live, key: str) -> None:
    own = (*live.auth, (key, live.credentials["account_id"]))
    await live.verification.LookupPhoneNumber(LOOKUP, metadata=own)
    error = await refused(live, (*live.auth, (key, "AC" + "0" * 32)))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    counted = 'watchword_auth_failures_total{cause="account_mismatch"} 1.0'
    assert counted in live.server.metrics.text().decode()


async def test_c049_guessing_secrets_slows_down_and_locks_nobody_out(
    tmp_path: Path, clock: FakeClock
) -> None:
    authority = Authority()
    tls = write_server_files(tmp_path / "tls", authority)
    config = replace(sandbox_config(tmp_path / "var"), tls=tls)
    async with (
        running(tmp_path / "var", config=config, clock=clock) as live,
        mutual(live, authority, SPIFFE_ID) as channel,
    ):
        await map_certificate(channel, live)
        stub = verification_pb2_grpc.VerificationServiceStub(channel)
        fresh = await second_credential(channel, live)
        wrong = basic(fresh[0], "wrong")
        codes = [await code_of(stub, wrong) for _ in range(PAIR_FREE + 5)]
        assert codes[0] is UNAUTHENTICATED
        assert codes[-1] is grpc.StatusCode.RESOURCE_EXHAUSTED
        # The owner who shows a certificate, and one who was here before, are served.
        assert await code_of(stub, None) is None
        assert await code_of(stub, live.auth) is None
        # The one who was never here waits as told, and is served then.
        assert await code_of(stub, basic(*fresh)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        clock.advance(60_000)
        assert await code_of(stub, basic(*fresh)) is None


async def test_mutual_tls_knows_a_caller_by_one_spiffe_id_alone(tmp_path: Path) -> None:
    authority = Authority()
    tls = write_server_files(tmp_path / "tls", authority)
    config = replace(sandbox_config(tmp_path / "var"), tls=tls)
    async with running(tmp_path / "var", config=config) as live:
        async with mutual(live, authority, SPIFFE_ID) as channel:
            await map_certificate(channel, live)
        served = {
            (SPIFFE_ID,): None,
            ("spiffe://mesh.test/other",): UNAUTHENTICATED,
            (SPIFFE_ID, "spiffe://mesh.test/other"): UNAUTHENTICATED,
            ("https://mesh.test/",): UNAUTHENTICATED,
            (): UNAUTHENTICATED,
        }
        for uris, expected in served.items():
            async with mutual(live, authority, *uris) as channel:
                stub = verification_pb2_grpc.VerificationServiceStub(channel)
                assert await code_of(stub, None) is expected
        strangers = {
            "another authority": Authority("other").client(SPIFFE_ID),
            "expired": authority.client(SPIFFE_ID, days=-1),
            "none": None,
        }
        for pair in strangers.values():
            credentials = grpc.ssl_channel_credentials(
                authority.certificate,
                pair.key if pair else None,
                pair.certificate if pair else None,
            )
            async with secure(live, credentials) as channel:
                stub = verification_pb2_grpc.VerificationServiceStub(channel)
                assert await code_of(stub, live.auth) is grpc.StatusCode.UNAVAILABLE
        started = live.server.metrics.text().decode()
        assert 'watchword_auth_failures_total{cause="certificate"}' in started


def mutual(live: Live, authority: Authority, *uris: str) -> grpc.aio.Channel:
    pair = authority.client(*uris)
    credentials = grpc.ssl_channel_credentials(authority.certificate, pair.key, pair.certificate)
    return secure(live, credentials)


def secure(live: Live, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    return grpc.aio.secure_channel(live.endpoint, credentials, OWN_CONNECTION)


async def map_certificate(channel: grpc.aio.Channel, live: Live) -> None:
    application = account_pb2.Application(
        application_id=live.credentials["application_id"],
        spiffe_ids=[SPIFFE_ID],
        spiffe_scopes=["verification.read"],
    )
    await account_pb2_grpc.AccountServiceStub(channel).UpdateApplication(
        account_pb2.UpdateApplicationRequest(
            application=application,
            update_mask=FieldMask(paths=["spiffe_ids", "spiffe_scopes"]),
        ),
        metadata=live.admin,
    )
    stub = verification_pb2_grpc.VerificationServiceStub(channel)
    assert await code_of(stub, live.auth) is None


async def second_credential(channel: grpc.aio.Channel, live: Live) -> tuple[str, str]:
    made = await account_pb2_grpc.AccountServiceStub(channel).CreateCredential(
        account_pb2.CreateCredentialRequest(
            application_id=live.credentials["application_id"],
            display_name="fresh",
            scopes=["verification.read"],
        ),
        metadata=live.admin,
    )
    return made.credential.credential_id, made.secret


async def code_of(
    stub: "verification_pb2_grpc.VerificationServiceAsyncStub", metadata: Metadata | None
) -> grpc.StatusCode | None:
    try:
        await stub.LookupPhoneNumber(LOOKUP, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None


async def test_every_method_needs_one_of_its_scopes(live: Live) -> None:
    """Each method is called with a credential that has every scope but those it takes."""
    scopes = {**VERIFICATION_SCOPES, **ACCOUNT_SCOPES}
    assert set(scopes) == {method.path for method in methods()}
    for method in methods():
        allowed = scopes[method.path]
        if not allowed:
            continue
        credential = live.credentials["credential_id"]
        directory = live.server.parts.directory
        found = await directory.credential(credential)
        assert found is not None
        lacking = found._replace(scopes=frozenset(Scope) - allowed)
        directory._cache[credential] = lacking
        raw = request_type(method)().SerializeToString()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(live.channel, method, raw, live.auth)
        told = details(caught.value)
        assert (told.code, told.reason) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "SCOPE_MISSING",
        ), method.path
        directory.forget(credential)
