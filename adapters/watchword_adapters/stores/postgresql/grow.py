"""Fills a sandbox store with verifications of the past, so that its size can be measured with.

The rows are those that a Start, its message and its Check leave behind. They are spread
over the last `SPAN` before now and over all keys evenly; their MACs are made up,
since nobody verifies them.
"""

from collections.abc import Callable
from importlib import resources

from watchword.core.ports import DAY, Millis
from watchword_adapters.stores.postgresql.connection import connect
from watchword_adapters.stores.postgresql.schema import StoreRefused

SPAN: Millis = 20 * DAY

Tell = Callable[[int], None]
"""Told how many verifications are there so far."""

_CHUNK = 50_000
_INDEXES = (
    "SELECT indexname, indexdef FROM pg_catalog.pg_indexes WHERE schemaname = 'watchword'"
    " AND tablename IN ('verification', 'audit_leaf')"
    " AND indexname NOT LIKE '%_pkey' ORDER BY indexname"
)


async def grow(
    dsn: str, account_id: str, application_id: str, count: int, now: Millis, tell: Tell
) -> None:
    """Add `count` approved verifications to the store that nobody serves.

    Raises `StoreRefused` where the store is not a sandbox: made-up rows belong nowhere else.
    """
    add = resources.files("watchword_adapters.stores.postgresql").joinpath("grow.sql")
    async with connect(dsn) as db:
        if await db.fetchval("SELECT world FROM watchword.stamp") != "sandbox":
            raise StoreRefused("only a sandbox store may be filled with made-up rows")
        # Indexes are made at the end: sorted at once, not a page here and a page there.
        indexes = await db.fetch(_INDEXES)
        for index in indexes:
            await db.execute(f"DROP INDEX watchword.{index['indexname']}")
        await db.execute(add.read_text("utf-8"))
        for first in range(0, count, _CHUNK):
            last = min(count, first + _CHUNK) - 1
            values = (account_id, application_id, count, now - SPAN, SPAN, first, last)
            await db.fetchval("SELECT pg_temp.grow($1, $2, $3, $4, $5, $6, $7)", *values)
            tell(last + 1)
        for index in indexes:
            await db.execute(index["indexdef"])
        await db.execute("VACUUM ANALYZE")
