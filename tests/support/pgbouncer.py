"""PgBouncer in transaction mode before a server of the tests, where it is installed."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

import pytest

from watchword.testing.postgres import UNPRIVILEGED

_HELP = "no PgBouncer to test with: apt-get install pgbouncer"
_PATIENCE = 20.0
_SETTINGS = """
[databases]
* = host={host} port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {users}
pool_mode = transaction
default_pool_size = 4
max_client_conn = 100
"""


def program() -> str | None:
    """Return PgBouncer's path; Debian puts it where only root's PATH leads."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@contextlib.contextmanager
def pgbouncer(dsn: str) -> Iterator[str]:
    """Run it before the server of `dsn`; yields the DSN that leads through it."""
    found = program()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(_HELP)
        pytest.skip(_HELP)
    server = urlsplit(dsn)
    with tempfile.TemporaryDirectory(prefix="watchword-pgbouncer-") as name:
        # It refuses to run as root.
        user = UNPRIVILEGED if os.geteuid() == 0 else None
        port = _configure(Path(name), server)
        if user:
            for path in (Path(name), *Path(name).iterdir()):
                shutil.chown(path, user)
        with (Path(name) / "log").open("wb") as log:
            command = [found, str(Path(name) / "pgbouncer.ini")]
            process = subprocess.Popen(command, stdout=log, stderr=log, user=user, cwd="/")
        try:
            _await_port(process, port)
            credentials = server.netloc.rpartition("@")[0]
            yield urlunsplit(server._replace(netloc=f"{credentials}@127.0.0.1:{port}"))
        finally:
            process.terminate()
            process.wait(_PATIENCE)


def _configure(directory: Path, server: SplitResult) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    users = directory / "users.txt"
    users.write_text(f'"{server.username}" "{server.password}"\n')
    text = _SETTINGS.format(
        host=server.hostname, server_port=server.port or 5432, port=port, users=users
    )
    (directory / "pgbouncer.ini").write_text(text)
    return port


def _await_port(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError("PgBouncer does not start")
        time.sleep(0.02)
