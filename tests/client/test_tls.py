"""TLS and mutual TLS, over real connections."""

import datetime as dt
import ipaddress
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.client.scripted import ScriptedServer

from watchword.client import (
    Client,
    RetryPolicy,
    SyncClient,
    Tls,
    Unavailable,
)
from watchword.client import (
    verification_pb2 as pb,
)

ONCE = RetryPolicy(max_attempts=1)
REPLY = pb.GetVerificationResponse(verification=pb.Verification(verification_id="VE1"))


class Authority:
    """Signs certificates for this machine alone."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.pem = self._sign(self.name, self.key.public_key(), ca=True)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return pem, self._sign(subject, key.public_key(), ca=False)

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool) -> bytes:
        now = dt.datetime.now(dt.UTC)
        local = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([local]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def serving(authority: Authority, *, mutual: bool) -> ScriptedServer:
    credentials = grpc.ssl_server_credentials(
        [authority.issue("server")], authority.pem, require_client_auth=mutual
    )
    server = ScriptedServer(credentials=credentials)
    server.answers("GetVerification", REPLY)
    return server


def test_the_server_is_verified(authority: Authority) -> None:
    with serving(authority, mutual=False) as server:
        tls = Tls(root_certificates=authority.pem)
        with SyncClient(server.endpoint, "CR1", "s", tls=tls) as client:
            assert client.get("VE1").verification_id == "VE1"
        other = Tls(root_certificates=Authority().pem)
        with (
            SyncClient(server.endpoint, "CR1", "s", tls=other, retry=ONCE) as client,
            pytest.raises(Unavailable),
        ):
            client.get("VE1")
    assert len(server.seen) == 1


async def test_a_certificate_is_identity_enough(authority: Authority, tmp_path: Path) -> None:
    key, certificate = authority.issue("caller")
    paths = [tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")]
    for path, content in zip(paths, (authority.pem, certificate, key), strict=True):
        path.write_bytes(content)
    with serving(authority, mutual=True) as server:
        async with Client(server.endpoint, tls=Tls.from_files(*paths)) as client:
            assert (await client.get("VE1")).verification_id == "VE1"
    assert "authorization" not in server.seen[0].metadata


def test_a_private_key_is_masked(authority: Authority) -> None:
    key, certificate = authority.issue("caller")
    tls = Tls(authority.pem, certificate, key)
    assert "PRIVATE" not in repr(tls) + repr(SyncClient("127.0.0.1:1", tls=tls))
