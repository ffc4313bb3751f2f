"""TLS from files, read again when they change, so that short-lived certificates rotate.

gRPC's own floor is TLS 1.2. With a client CA every client must show a certificate that
it signed, before any call is seen.
"""

from pathlib import Path

import grpc

from watchword.config import ConfigError, Tls

_Stamp = tuple[tuple[int, int], ...]


class Certificates:
    """Loads the files and hands them to gRPC at each handshake where they have changed."""

    def __init__(self, tls: Tls) -> None:
        """Read them once. Raises `ConfigError` where one cannot be read."""
        self._tls = tls
        self._paths = [
            Path(name) for name in (tls.cert_file, tls.key_file, tls.client_ca_file) if name
        ]
        try:
            self._stamp = self._look()
            self._initial = self._read()
        except OSError as error:
            raise ConfigError(f"tls: a file cannot be read ({error.strerror})") from error

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a secure port is opened with."""
        return grpc.dynamic_ssl_server_credentials(
            self._initial,
            # None means unchanged, which the types forget.
            self.fetch,  # type: ignore[arg-type]
            require_client_authentication=self._tls.mutual,
        )

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the files' content where it changed, else None; a broken set is not taken."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return None
            fresh = self._read()
        except OSError:
            return None
        self._stamp = stamp
        return fresh

    def _look(self) -> _Stamp:
        found = [path.stat() for path in self._paths]
        return tuple((status.st_mtime_ns, status.st_ino) for status in found)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        key = Path(self._tls.key_file).read_bytes()
        chain = Path(self._tls.cert_file).read_bytes()
        roots = Path(self._tls.client_ca_file).read_bytes() if self._tls.mutual else None
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=roots)
