"""A certificate authority for one test, with files as a deployment would have them."""

import datetime as dt
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from watchword.config import Tls

_DAY = dt.timedelta(days=1)


class Pair(NamedTuple):
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Issues certificates that it alone vouches for."""

    def __init__(self, name: str = "test authority") -> None:
        """Make a key and a certificate of its own."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key, [], days=1, authority=True)

    @property
    def certificate(self) -> bytes:
        """Its certificate, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def server(self) -> Pair:
        """Return a pair for 127.0.0.1 and localhost."""
        names: list[x509.GeneralName] = [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")),
        ]
        return self._pair("server", names, 1)

    def client(self, *spiffe_ids: str, days: int = 1) -> Pair:
        """Return a pair with these URIs; of the past where `days` is negative."""
        return self._pair("client", [x509.UniformResourceIdentifier(i) for i in spiffe_ids], days)

    def _pair(self, name: str, names: list[x509.GeneralName], days: int) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key, names, days=days, authority=False)
        return Pair(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: list[x509.GeneralName],
        *,
        days: int,
        authority: bool,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3 * _DAY)
            .not_valid_after(now + days * _DAY)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def write_server_files(directory: Path, authority: Authority) -> Tls:
    """Write what the `tls` table names, a client CA included; return that table."""
    directory.mkdir(parents=True, exist_ok=True)
    pair = authority.server()
    return Tls(
        cert_file=_write(directory / "server.pem", pair.certificate),
        key_file=_write(directory / "server.key", pair.key),
        client_ca_file=_write(directory / "clients.pem", authority.certificate),
    )


def _write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    path.chmod(0o600)
    return str(path)
