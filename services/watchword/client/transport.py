"""How a client reaches the server and says who it is: endpoint, TLS, credential."""

import base64
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Self

import grpc


@dataclass(frozen=True, slots=True)
class Tls:
    """What TLS needs, as PEM; without `root_certificates` the system's are trusted.

    `certificate_chain` and `private_key` identify the client (mutual TLS): both or none.
    Raises `ValueError` when one of the two is missing.
    """

    root_certificates: bytes | None = field(default=None, repr=False)
    certificate_chain: bytes | None = field(default=None, repr=False)
    private_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse half an identity."""
        if (self.certificate_chain is None) != (self.private_key is None):
            raise ValueError("a client certificate and its private key go together")

    @classmethod
    def from_files(
        cls,
        root_certificates: str | Path | None = None,
        certificate_chain: str | Path | None = None,
        private_key: str | Path | None = None,
    ) -> Self:
        """Read PEM files; raises `OSError`, and `ValueError` as the class does."""
        return cls(_read(root_certificates), _read(certificate_chain), _read(private_key))

    def credentials(self) -> grpc.ChannelCredentials:
        """Return what a secure channel takes."""
        return grpc.ssl_channel_credentials(
            self.root_certificates, self.private_key, self.certificate_chain
        )


class Authorization:
    """The metadata that name the caller (RFC 7617, Basic); only `metadata()` shows them."""

    __slots__ = ("_metadata",)

    def __init__(self, credential_id: str | None, secret: str | None) -> None:
        """Take a credential, or none where a client certificate says who calls."""
        if (credential_id is None) != (secret is None):
            raise ValueError("credential_id and credential_secret go together")
        self._metadata: tuple[tuple[str, str], ...] = ()
        if credential_id is not None:
            pair = base64.b64encode(f"{credential_id}:{secret}".encode()).decode()
            self._metadata = (("authorization", f"Basic {pair}"),)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata for one call; they hold the secret."""
        return self._metadata

    def __repr__(self) -> str:
        """Return a fixed mask."""
        return "Authorization(***)"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled."""
        raise TypeError("an Authorization cannot be pickled")


def choose_tls(endpoint: str, tls: Tls | bool | None) -> Tls | None:  # noqa: FBT001 - a third kind is Tls
    """Return the TLS to use, None for plaintext.

    None means TLS but for loopback and Unix sockets; False means plaintext, where a mesh
    sidecar encrypts.
    """
    if isinstance(tls, Tls):
        return tls
    wanted = not _is_local(endpoint) if tls is None else tls
    return Tls() if wanted else None


def _is_local(endpoint: str) -> bool:
    if endpoint.startswith(("unix:", "unix-abstract:")):
        return True
    host = endpoint.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: str | Path | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
