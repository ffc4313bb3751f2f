"""Servers over PostgreSQL killed at any moment, and PostgreSQL under them: nothing is lost."""

from pathlib import Path

import pytest
from tests.crash.loop import Victim, crash
from tests.support.postgres import OwnServer

# Servers in processes of their own keep the processors busy: one test at a time.
pytestmark = pytest.mark.xdist_group("processes")

ANY = (Victim.SERVER, Victim.SERVERS, Victim.STORE)


async def test_c070_c145_a_server_killed_over_postgresql(tmp_path: Path, postgres_dsn: str) -> None:
    await crash(tmp_path, 20, dsn=postgres_dsn)


async def test_c145_postgresql_killed_under_a_server(
    tmp_path: Path, mortal: OwnServer, mortal_dsn: str
) -> None:
    await crash(tmp_path, 20, dsn=mortal_dsn, victims=(Victim.STORE,), database=mortal)


async def test_c033_c145_one_of_two_replicas_or_postgresql_killed(
    tmp_path: Path, mortal: OwnServer, mortal_dsn: str
) -> None:
    await crash(tmp_path, 20, dsn=mortal_dsn, replicas=2, victims=ANY, database=mortal)


@pytest.mark.long
async def test_c145_five_thousand_kills_over_postgresql(tmp_path: Path, postgres_dsn: str) -> None:
    await crash(tmp_path, 5_000, dsn=postgres_dsn)


@pytest.mark.long
async def test_c145_five_thousand_kills_of_postgresql(
    tmp_path: Path, mortal: OwnServer, mortal_dsn: str
) -> None:
    await crash(tmp_path, 5_000, dsn=mortal_dsn, victims=(Victim.STORE,), database=mortal)


@pytest.mark.long
async def test_c033_c145_five_thousand_kills_among_replicas_and_postgresql(
    tmp_path: Path, mortal: OwnServer, mortal_dsn: str
) -> None:
    await crash(tmp_path, 5_000, dsn=mortal_dsn, replicas=2, victims=ANY, database=mortal)
