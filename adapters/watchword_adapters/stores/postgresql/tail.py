"""How a replica learns what others have changed: one query for all who watch here.

Every change leaves an audit leaf, which bears its transaction's id and its process's
`origin`. A sequence tells nothing here, for who took its number first may commit last; a
snapshot does: what this one shows and the one before did not is what was committed since.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from watchword.core.errors import Unavailable
from watchword_adapters.stores.postgresql.engine import Engine

POLL_SECONDS = 0.25
_NOW = "SELECT pg_current_snapshot()::text AS snapshot, timeline FROM watchword.stamp"
# A send's id bears its verification's. Ids at or above xmax are of no transaction that has
# begun here: such rows came from another cluster's dump. A snapshot of another timeline tells
# nothing on this one, which may give the same ids again: what counts is what came after the
# take-over began.
_SINCE = """
WITH past AS MATERIALIZED (
    SELECT timeline, watchword.require_timeline(),
        CASE timeline WHEN $3 THEN $1::text ELSE nullif(taken_over, '') END::pg_snapshot AS snapshot
    FROM watchword.stamp
)
SELECT pg_current_snapshot()::text AS snapshot, past.timeline, ARRAY(
    SELECT DISTINCT CASE kind WHEN 'send' THEN 'VE' || substr(object_id, 3, 40) ELSE object_id END
    FROM watchword.audit_leaf
    WHERE xid >= pg_snapshot_xmin(past.snapshot)
        AND xid < pg_snapshot_xmax(pg_current_snapshot())
        AND NOT pg_visible_in_snapshot(xid, past.snapshot)
        AND kind IN ('verification', 'send') AND origin <> $2
) AS changed FROM past
"""


class Tail:
    """Tells the change bus of this process what other processes have committed."""

    def __init__(
        self, engine: Engine, *, wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Know nothing yet."""
        self._engine = engine
        self._wait = wait
        self._seen = ""
        self._timeline = ""

    async def look(self) -> None:
        """Tell of everything committed since the last look; the first one tells of nothing.

        Raises `Unavailable`; the next look then covers this one's time too.
        """
        if not self._seen:
            (row,) = await self._engine.fetch(_NOW)
        else:
            (row,) = await self._engine.fetch(
                _SINCE, self._seen, self._engine.origin, self._timeline
            )
            self._engine.publish(row["changed"])
        self._seen, self._timeline = row["snapshot"], row["timeline"]

    async def run(self) -> None:
        """Look four times a second, for ever; a database that is away makes it try again."""
        while True:
            with contextlib.suppress(Unavailable):
                await self.look()
            await self._wait(POLL_SECONDS)
