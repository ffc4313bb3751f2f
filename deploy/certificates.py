# ruff: noqa: INP001 - a script, not a package
"""Makes a private authority and a server certificate, for a sandbox to start with TLS.

    python deploy/certificates.py DIRECTORY NAME...

Writes ca.pem (give it to clients), server.pem and server.key (mode 0600) into DIRECTORY,
valid for a year for the host names and addresses given. Where they exist already it
changes nothing. The authority's key is dropped: nothing else can be signed with it.
"""

import ipaddress
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_YEAR = timedelta(days=365)
_SKEW = timedelta(minutes=5)
_LEAST_ARGUMENTS = 2


def make(directory: Path, names: list[str], now: datetime) -> None:
    """Write the three files; the key last, so that its presence means that all are there."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    ca_name, name = _name("Watchword sandbox authority"), _name("watchword")
    ca = _builder(ca_name, ca_name, ca_key, now).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    server = (
        _builder(name, ca_name, key, now)
        .add_extension(x509.SubjectAlternativeName([_host(n) for n in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    directory.mkdir(parents=True, exist_ok=True)
    for file, builder in (("ca.pem", ca), ("server.pem", server)):
        signed = builder.sign(ca_key, hashes.SHA256())
        (directory / file).write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    _write_key(directory / "server.key", key)


def _builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _YEAR)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def main(arguments: list[str]) -> int:
    """Make the files where there are none; return the exit code."""
    if len(arguments) < _LEAST_ARGUMENTS:
        print(__doc__, file=sys.stderr)  # noqa: T201 - the command's own output
        return 2
    directory = Path(arguments[0])
    if not (directory / "server.key").exists():
        make(directory, arguments[1:], datetime.now(UTC))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
