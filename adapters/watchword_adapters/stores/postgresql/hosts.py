"""The hosts of a DSN that names several, of which one is the primary at a time."""

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

_REFUSALS = (OSError, asyncpg.PostgresError, asyncpg.TargetServerAttributeNotMatched)


class Hosts:
    """Connects to the first host that will have us, the one that did so last before others.

    The driver knows such DSNs too, but shares one time-out among all hosts: behind one that
    is silent, as a machine without power is, it would never come to the next.
    """

    def __init__(self, dsn: str, seconds: float) -> None:
        """Know the hosts of `dsn`; all of them together may take so many seconds."""
        self._hosts = _each(dsn)
        self._options = {
            "timeout": seconds / len(self._hosts),
            "target_session_attrs": SessionAttribute.read_write,
        }

    async def connect(self, *_: object, **options: Any) -> Any:  # noqa: ANN401 - the driver's
        """Return a connection to a primary; raises the last refusal where there is none.

        A standby is passed over: its rows may be old, and nothing may be decided by them.
        """
        refusal: Exception = TimeoutError()
        for dsn in tuple(self._hosts):
            try:
                made = await asyncpg.connect(dsn, **options | self._options)
            except _REFUSALS as error:
                refusal = error
            else:
                self._hosts.remove(dsn)
                self._hosts.insert(0, dsn)
                return made
        raise refusal


def _each(dsn: str) -> list[str]:
    split = urlsplit(dsn)
    user, at, hosts = split.netloc.rpartition("@")
    if "," not in hosts:
        return [dsn]
    return [urlunsplit(split._replace(netloc=f"{user}{at}{host}")) for host in hosts.split(",")]
