"""TLS as a deployment has it: versions, plaintext, certificates that rotate."""

import asyncio
import ssl
import warnings
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from tests.support.certs import Authority, write_server_files
from tests.support.live import OWN_CONNECTION, running, sandbox_config

from watchword.config import ConfigError, Tls
from watchword.server.tls import Certificates
from watchword.verification.v1 import verification_pb2 as pb
from watchword.verification.v1 import verification_pb2_grpc

LOOKUP = pb.LookupPhoneNumberRequest(phone_number="+14155550123")


async def handshake(endpoint: str, authority: Authority, version: ssl.TLSVersion) -> str | None:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.set_alpn_protocols(["h2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    # Let this side offer what is long obsolete: the server has to refuse it.
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    host, port = endpoint.rsplit(":", 1)
    try:
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    except (ssl.SSLError, ConnectionError):
        return None
    found: str = writer.get_extra_info("ssl_object").version()
    writer.close()
    return found


async def test_tls_below_1_2_is_refused_and_plaintext_is(tmp_path: Path) -> None:
    authority = Authority()
    tls = replace(write_server_files(tmp_path / "tls", authority), client_ca_file="")
    config = replace(sandbox_config(tmp_path / "var"), tls=tls)
    async with running(tmp_path / "var", config=config) as live:
        versions = ssl.TLSVersion
        assert await handshake(live.endpoint, authority, versions.TLSv1_2) == "TLSv1.2"
        assert await handshake(live.endpoint, authority, versions.TLSv1_3) == "TLSv1.3"
        assert await handshake(live.endpoint, authority, versions.TLSv1_1) is None
        assert await handshake(live.endpoint, authority, versions.TLSv1) is None
        # The fixture's own channel speaks plaintext.
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await live.verification.LookupPhoneNumber(LOOKUP, metadata=live.auth, timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_new_certificate_is_taken_without_a_restart(tmp_path: Path) -> None:
    old, new = Authority("old"), Authority("new")
    tls = replace(write_server_files(tmp_path / "tls", old), client_ca_file="")
    config = replace(sandbox_config(tmp_path / "var"), tls=tls)
    async with running(tmp_path / "var", config=config) as live:
        write_server_files(tmp_path / "tls", new)
        credentials = grpc.ssl_channel_credentials(new.certificate)
        async with grpc.aio.secure_channel(live.endpoint, credentials, OWN_CONNECTION) as channel:
            stub = verification_pb2_grpc.VerificationServiceStub(channel)
            reply = await stub.LookupPhoneNumber(LOOKUP, metadata=live.auth, timeout=5)
            assert reply.valid


def test_files_that_vanish_later_change_nothing(tmp_path: Path) -> None:
    certificates = Certificates(write_server_files(tmp_path, Authority()))
    assert certificates.fetch() is None
    (tmp_path / "server.pem").unlink()
    assert certificates.fetch() is None


def test_files_that_are_not_there_refuse_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Certificates(Tls(cert_file=str(tmp_path / "c"), key_file=str(tmp_path / "k")))
