"""`VerificationStore` on PostgreSQL: its functions decide, and reads are single statements."""

from watchword.core.errors import NotFound
from watchword.core.ports import Millis
from watchword.fraud.budget import AccountBudget
from watchword.fraud.limits import GuessGuard
from watchword.verification.checking import CheckCommand
from watchword.verification.model import State
from watchword.verification.rows import FROM_THE_START, STALE_LOOKS
from watchword.verification.starting import StartCommand
from watchword.verification.store import (
    CancelCommand,
    CheckOutcome,
    ListQuery,
    PhoneUsage,
    RebindCommand,
    RebindOutcome,
    ResendCommand,
    Snapshot,
    StartOutcome,
)
from watchword_adapters.stores.postgresql import stale
from watchword_adapters.stores.postgresql.answers import (
    accepted,
    check_outcome,
    snapshot_of,
    start_outcome,
)
from watchword_adapters.stores.postgresql.columns import (
    guard_of,
    phone_lock,
    request_locks,
    sending_row,
)
from watchword_adapters.stores.postgresql.engine import Engine

_START = "SELECT * FROM watchword.start($1, $2, $3)"
_RESEND = "SELECT * FROM watchword.resend($1, $2, $3)"
_CHECK = "SELECT * FROM watchword.check($1, $2, $3)"
_CANCEL = "SELECT * FROM watchword.cancel($1, $2, $3)"
_REBIND = "SELECT * FROM watchword.rebind($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
_EXPIRE = "SELECT expired FROM watchword.expire($1, $2) AS expired"
_EXPIRE_OVERDUE = "SELECT expired FROM watchword.expire_overdue($1, $2) AS expired"
_DELETE_OLDER = "SELECT watchword.delete_older($1, $2) AS deleted"
_SNAPSHOT = (
    "SELECT v AS verification, watchword.sends_of(v.verification_id) AS sends, clock.now"
    " FROM (SELECT watchword.now() AS now) AS clock, watchword.verification AS v"
)
_GET = f"{_SNAPSHOT} WHERE v.verification_id = $1"
_PENDING_IDS = (
    "SELECT v.verification_id"
    " FROM (SELECT watchword.now() AS now) AS clock, watchword.verification AS v"
    " WHERE v.application_id = $1 AND v.phone_index = $2 AND v.purpose = $3"
    " AND ($4::bytea IS NULL OR v.binding_key = $4) AND v.state = 'PENDING'"
    " AND v.expire_time > clock.now ORDER BY v.verification_id LIMIT 2"
)
# A row whose time is over counts as EXPIRED although nobody has written that yet.
_PAGE = (
    f"{_SNAPSHOT} WHERE v.application_id = $1 AND v.account_id = $2"
    " AND ($3 = '' OR v.verification_id < $3)"
    " AND ($4::text IS NULL OR $4 = CASE WHEN v.state = 'PENDING' AND v.expire_time <= clock.now"
    " THEN 'EXPIRED' ELSE v.state END)"
)
_NEWEST_FIRST = " ORDER BY v.verification_id DESC LIMIT $5"
_PAGE_OF_ALL = f"{_PAGE}{_NEWEST_FIRST}"
_PAGE_OF_PHONE = f"{_PAGE} AND v.phone_index = $6{_NEWEST_FIRST}"
_USAGE = (
    "SELECT watchword.now() AS now, s.times, g.wrong, g.in_a_row, g.approved, g.rebind_time,"
    " b.hour_start, b.hour_used, b.day_start, b.day_used, b.hour_cap, b.day_cap"
    " FROM (SELECT) AS one"
    " LEFT JOIN watchword.send_times AS s ON s.key = $3"
    " LEFT JOIN watchword.guess_guard AS g ON g.application_id = $2 AND g.phone_index = $4"
    " LEFT JOIN watchword.account_budget AS b ON b.account_id = $1"
)


class PostgresVerificationStore:
    """Implements `VerificationStore`; see there for what each method means and raises."""

    def __init__(self, engine: Engine) -> None:
        """Run on `engine`, each kind of command in a lane of its own."""
        self._engine = engine
        self._start = engine.lane(_START)
        self._resend = engine.lane(_RESEND)
        self._check = engine.lane(_CHECK)
        self._cancel = engine.lane(_CANCEL)
        self._swept = FROM_THE_START

    async def start(self, command: StartCommand) -> StartOutcome:
        """Begin or resend."""
        draft, policy, sending, request = command
        locks = (phone_lock(draft.limits_index), *request_locks(request))
        values = (draft, policy.ttl, sending_row(sending), request)
        return start_outcome(await self._start.run(values, locks))

    async def resend(self, command: ResendCommand) -> StartOutcome:
        """Queue one more send."""
        values = command._replace(sending=sending_row(command.sending))  # type: ignore[arg-type]
        return start_outcome(await self._resend.run(values, request_locks(command.request)))

    async def check(self, command: CheckCommand) -> CheckOutcome:
        """Judge a code."""
        return check_outcome(await self._check.run(command, request_locks(command.request)))

    async def cancel(self, command: CancelCommand) -> Snapshot:
        """Cancel."""
        answer = await self._cancel.run(command, request_locks(command.request))
        return snapshot_of(accepted(answer))

    async def rebind(self, command: RebindCommand) -> RebindOutcome:
        """Schedule the end of a hard stop."""
        notice = command.notice and (
            command.notice.send_id,
            command.notice.channel,
            command.notice.carrier,
            command.notice.notice,
            command.notice.recipient_sealed,
            command.notice.expire_time,
            command.notice.region_code,
        )
        (answer,) = await self._engine.fetch(
            _REBIND,
            command.account_id,
            command.application_id,
            command.phone_index,
            command.delay,
            command.reason,
            command.evidence_digest.hex(),
            notice,
            command.request,
            request_locks(command.request),
            self._engine.seal(),
        )
        self._engine.publish(answer["changed"])
        accepted(answer)
        return RebindOutcome(answer["effective_time"], answer["now"], answer["replayed"])

    async def get(self, verification_id: str, account_id: str, application_id: str) -> Snapshot:
        """Read the committed state; one found expired is written so first."""
        found = await _read(self._engine, _GET, verification_id)
        if not found:
            raise NotFound("no such verification")
        row = found[0].verification
        if row.account_id != account_id or row.application_id != application_id:
            raise NotFound("no such verification")
        return found[0]

    async def pending_ids(
        self, application_id: str, phone_index: bytes, purpose: str, binding_key: bytes | None
    ) -> "list[str]":
        """Return up to two pending verifications in time."""
        keys = (application_id, phone_index, purpose, binding_key)
        return [row["verification_id"] for row in await self._engine.fetch(_PENDING_IDS, *keys)]

    async def list(self, query: ListQuery) -> list[Snapshot]:
        """Read one page; what is found expired is written so first."""
        state = None if query.state is None else str(query.state)
        keys = (query.application_id, query.account_id, query.before, state, query.limit)
        if query.phone_index:
            return await _read(self._engine, _PAGE_OF_PHONE, *keys, query.phone_index)
        return await _read(self._engine, _PAGE_OF_ALL, *keys)

    async def usage(
        self, account_id: str, application_id: str, send_key: bytes, phone_index: bytes
    ) -> PhoneUsage:
        """Read what the limits on a phone have used."""
        keys = (account_id, application_id, send_key, phone_index)
        (row,) = await self._engine.fetch(_USAGE, *keys)
        now, times, *guard = row[:6]
        return PhoneUsage(
            sends=tuple(times or ()),
            guesses=GuessGuard() if guard[0] is None else guard_of(guard),
            budget=AccountBudget() if row[6] is None else AccountBudget._make(row[6:]),
            now=now,
        )

    async def sweep(self, retention: Millis, limit: int) -> int:
        """Expire what is over and delete what is older than `retention`; returns rows touched."""
        engine = self._engine
        expired = await engine.fetch(_EXPIRE_OVERDUE, limit, engine.seal())
        engine.publish(row["expired"] for row in expired)
        (older,) = await engine.fetch(_DELETE_OLDER, retention, limit)
        swept = await stale.delete_stale(engine, self._swept, STALE_LOOKS * limit)
        self._swept = swept.after
        return len(expired) + int(older["deleted"]) + swept.deleted


async def _read(engine: Engine, statement: str, *values: object) -> list[Snapshot]:
    """Read snapshots; what is found expired is written so, and all are read again."""
    found = [snapshot_of(row) for row in await engine.fetch(statement, *values)]
    overdue = [s.verification.verification_id for s in found if _overdue(s)]
    if not overdue:
        return found
    expired = await engine.fetch(_EXPIRE, overdue, engine.seal())
    engine.publish(row["expired"] for row in expired)
    return [snapshot_of(row) for row in await engine.fetch(statement, *values)]


def _overdue(snapshot: Snapshot) -> bool:
    row = snapshot.verification
    return row.state is State.PENDING and snapshot.now >= row.expire_time
