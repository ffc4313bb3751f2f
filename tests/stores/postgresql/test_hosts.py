"""A DSN of several hosts: which one is taken, and what a dead one costs."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from watchword_adapters.stores.postgresql.hosts import Hosts


@pytest.fixture
def silent() -> Iterator[str]:
    """A host that takes connections and says nothing, as one without power does later."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def with_hosts(dsn: str, *before: str) -> str:
    split = urlsplit(dsn)
    user, _, host = split.netloc.rpartition("@")
    return urlunsplit(split._replace(netloc=f"{user}@{','.join([*before, host])}"))


async def database_of(hosts: Hosts) -> object:
    connection = await hosts.connect()
    try:
        return await connection.fetchval("SELECT current_database()")
    finally:
        await connection.close()


async def test_behind_a_silent_and_a_closed_host_the_next_is_found(
    postgres_dsn: str, silent: str
) -> None:
    hosts = Hosts(with_hosts(postgres_dsn, silent, "127.0.0.1:1"), 3.0)
    name = urlsplit(postgres_dsn).path[1:]
    assert await database_of(hosts) == name
    # From now on it comes first, and the silent one costs nothing.
    assert hosts._hosts[0] == postgres_dsn
    assert await database_of(hosts) == name


async def test_the_last_refusal_is_told_where_all_refuse(postgres_dsn: str, silent: str) -> None:
    nowhere = f"postgresql://u:p@{silent}/d"
    with pytest.raises(TimeoutError):
        await Hosts(with_hosts(nowhere, "127.0.0.1:1"), 0.3).connect()
    wrong = urlsplit(postgres_dsn)._replace(path="/there-is-none")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await Hosts(with_hosts(urlunsplit(wrong), "127.0.0.1:1"), 3.0).connect()


@pytest.mark.parametrize("dsn", ["postgresql:///d?host=/run/postgresql", "postgresql://h/d"])
def test_one_host_is_left_to_the_driver(dsn: str) -> None:
    assert Hosts(dsn, 3.0)._hosts == [dsn]
