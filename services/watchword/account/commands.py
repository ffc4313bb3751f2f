"""The atomic commands over `Rows`: load, let the model decide, save, leave an audit leaf.

Stores that can run Python inside their transaction (memory, SQLite) share these. A
command that raises leaves nothing behind.
"""

from collections.abc import Callable
from typing import TypeVar

from watchword.account import model
from watchword.account.model import AccountPatch, ApplicationPatch, Lifetime, RequestKey
from watchword.account.rows import Rows, StoredRequest
from watchword.account.store import SetUp, Written
from watchword.audit.leaf import LeafMaker
from watchword.core.errors import DomainError, FailedPrecondition, InvalidArgument, Reason
from watchword.core.ports import Millis
from watchword.tenancy.directory import TENANCY_TOPIC
from watchword.tenancy.model import Account, Application, Caller, Credential, TestNumber

T = TypeVar("T")

_HOST = "host"


def create_account(
    rows: Rows, leaves: LeafMaker, draft: Account, caller: Caller, request: RequestKey | None
) -> Written[Account]:
    """Add an account; see `AccountStore.create_account`."""
    known = _replayed(rows, request, rows.account, model.no_account)
    if known is not None:
        return known
    row = draft._replace(create_time=rows.now, update_time=rows.now)
    _save_account(rows, leaves, row, _actor(caller))
    return _written(rows, request, row, row.account_id)


def update_account(
    rows: Rows,
    leaves: LeafMaker,
    account_id: str,
    patch: AccountPatch,
    caller: Caller,
    request: RequestKey | None,
) -> Written[Account]:
    """Change an account; see `AccountStore.update_account`."""
    known = _replayed(rows, request, rows.account, model.no_account)
    if known is not None:
        return known
    before = _account(rows, account_id, caller)
    after = model.patched_account(before, patch, rows.now)
    if after is not before:
        _save_account(rows, leaves, after, _actor(caller))
    return _written(rows, request, after, account_id)


def suspend_account(
    rows: Rows,
    leaves: LeafMaker,
    account_id: str,
    reason: str,
    caller: Caller,
    request: RequestKey | None,
) -> Written[Account]:
    """Suspend an account; see `AccountStore.suspend_account`."""
    known = _replayed(rows, request, rows.account, model.no_account)
    if known is not None:
        return known
    before = _account(rows, account_id, caller)
    after = model.suspended(before, rows.now)
    if after is not before:
        _save_account(rows, leaves, after, f"{_actor(caller)}|{reason}")
    return _written(rows, request, after, account_id)


def create_application(
    rows: Rows, leaves: LeafMaker, draft: Application, caller: Caller, request: RequestKey | None
) -> Written[Application]:
    """Add an application; see `AccountStore.create_application`."""
    known = _replayed(rows, request, rows.application, model.no_application)
    if known is not None:
        return known
    account = _account(rows, draft.account_id, caller)
    row = model.new_application(draft, account, rows.now)
    _save_application(rows, leaves, row, _actor(caller))
    return _written(rows, request, row, row.application_id)


def update_application(
    rows: Rows,
    leaves: LeafMaker,
    application_id: str,
    patch: ApplicationPatch,
    caller: Caller,
    request: RequestKey | None,
) -> Written[Application]:
    """Change an application; see `AccountStore.update_application`."""
    known = _replayed(rows, request, rows.application, model.no_application)
    if known is not None:
        return known
    before = _application(rows, application_id, caller)
    account = _account(rows, before.account_id, caller)
    after = model.patched_application(before, patch, account, caller, rows.now)
    if after is not before:
        _save_application(rows, leaves, after, _actor(caller))
    return _written(rows, request, after, application_id)


def create_credential(
    rows: Rows,
    leaves: LeafMaker,
    draft: Credential,
    lifetime: Lifetime,
    caller: Caller,
    request: RequestKey | None,
) -> Written[Credential]:
    """Add a credential; see `AccountStore.create_credential`."""
    known = _replayed(rows, request, rows.credential, model.no_credential)
    if known is not None:
        return known
    account = _owner(rows, draft, caller)
    draft = draft._replace(account_id=account.account_id)
    of_owner = rows.unrevoked(draft.account_id, draft.application_id)
    row = model.issued(draft, account, of_owner, lifetime, rows.now)
    _save_credential(rows, leaves, row, _actor(caller))
    return _written(rows, request, row, row.credential_id)


def revoke_credential(
    rows: Rows, leaves: LeafMaker, credential_id: str, caller: Caller, request: RequestKey | None
) -> Written[Credential]:
    """Revoke a credential; see `AccountStore.revoke_credential`."""
    known = _replayed(rows, request, rows.credential, model.no_credential)
    if known is not None:
        return known
    before = rows.credential(credential_id)
    if before is None or not model.visible(before.account_id, caller):
        raise model.no_credential()
    after = model.revoked(before, rows.now)
    if after is not before:
        _save_credential(rows, leaves, after, _actor(caller))
    return _written(rows, request, after, credential_id)


def create_operator(rows: Rows, leaves: LeafMaker, draft: Credential, *, first: bool) -> Credential:
    """Add an operator's credential; see `AccountStore.create_operator`."""
    operators = rows.operators()
    if first and operators:
        raise FailedPrecondition(
            "this store has an operator already", reason=Reason.CREDENTIAL_LIMIT
        )
    row = model.issued(draft, None, operators, Lifetime(), rows.now)
    _save_credential(rows, leaves, row, _HOST)
    return row


def set_up(rows: Rows, leaves: LeafMaker, draft: SetUp) -> None:
    """Add what a dev or sandbox store starts with; see `AccountStore.set_up`."""
    for operator in rows.operators():
        if not operator.revoke_time:
            _save_credential(rows, leaves, model.revoked(operator, rows.now), _HOST)
    now = rows.now
    _save_account(rows, leaves, draft.account._replace(create_time=now, update_time=now), _HOST)
    application = model.new_application(draft.application, draft.account, now)
    _save_application(rows, leaves, application, _HOST)
    for credential in (draft.credential, draft.operator):
        _save_credential(rows, leaves, credential._replace(create_time=now), _HOST)


def create_test_number(
    rows: Rows, leaves: LeafMaker, draft: TestNumber, caller: Caller, request: RequestKey | None
) -> Written[TestNumber]:
    """Add or renew a test number; see `AccountStore.create_test_number`."""
    application_id, index = draft.application_id, draft.phone_index
    before = rows.test_number(application_id, index)
    if _known(rows, request) is not None:
        return Written(_live(before, rows.now), replayed=True)
    application = _application(rows, application_id, caller)
    account = _account(rows, application.account_id, caller)
    live = rows.live_test_numbers(application_id)
    row = model.new_test_number(
        draft._replace(account_id=account.account_id), before, account, live, rows.now
    )
    _save_test_number(rows, leaves, row, caller)
    return _written(rows, request, row, "")


def delete_test_number(
    rows: Rows,
    leaves: LeafMaker,
    application_id: str,
    phone_index: bytes,
    caller: Caller,
    request: RequestKey | None,
) -> None:
    """Delete a test number; see `AccountStore.delete_test_number`."""
    if _known(rows, request) is not None:
        return
    _application(rows, application_id, caller)
    before = _live(rows.test_number(application_id, phone_index), rows.now)
    _save_test_number(rows, leaves, model.deleted_test_number(before, rows.now), caller)
    _remember(rows, request, "")


def _account(rows: Rows, account_id: str, caller: Caller) -> Account:
    row = rows.account(account_id) if model.visible(account_id, caller) else None
    if row is None:
        raise model.no_account()
    return row


def _application(rows: Rows, application_id: str, caller: Caller) -> Application:
    row = rows.application(application_id)
    if row is None or not model.visible(row.account_id, caller):
        raise model.no_application()
    return row


def _owner(rows: Rows, draft: Credential, caller: Caller) -> Account:
    """Return the account of a credential to be, and see that its application is of it."""
    if not draft.application_id:
        return _account(rows, draft.account_id, caller)
    if draft.account_id:
        _account(rows, draft.account_id, caller)
    application = _application(rows, draft.application_id, caller)
    if draft.account_id not in {"", application.account_id}:
        raise model.no_application()
    return _account(rows, application.account_id, caller)


def _save_account(rows: Rows, leaves: LeafMaker, row: Account, actor: str) -> None:
    rows.put_account(row)
    content = model.leaf_content(row, actor)
    rows.append_leaf(
        leaves.make(row.account_id, row.account_id, row.version, "account", rows.now, content)
    )
    _changed(rows, row.account_id)


def _save_application(rows: Rows, leaves: LeafMaker, row: Application, actor: str) -> None:
    for spiffe_id in row.spiffe_ids:
        if rows.spiffe_owner(spiffe_id) not in {"", row.application_id}:
            raise InvalidArgument("a SPIFFE id maps to one application alone", field="spiffe_ids")
    rows.put_application(row)
    content = model.leaf_content(row, actor)
    rows.append_leaf(
        leaves.make(
            row.account_id, row.application_id, row.version, "application", rows.now, content
        )
    )
    _changed(rows, row.application_id)


def _save_credential(rows: Rows, leaves: LeafMaker, row: Credential, actor: str) -> None:
    rows.put_credential(row)
    content = model.leaf_content(row, actor)
    rows.append_leaf(
        leaves.make(row.account_id, row.credential_id, row.version, "credential", rows.now, content)
    )
    _changed(rows, row.credential_id)


def _save_test_number(rows: Rows, leaves: LeafMaker, row: TestNumber, caller: Caller) -> None:
    rows.put_test_number(row)
    content = model.leaf_content(row, _actor(caller))
    rows.append_leaf(
        leaves.make(row.account_id, row.row_name, row.version, "test_number", rows.now, content)
    )
    _changed(rows, row.application_id)


def _live(row: TestNumber | None, now: Millis) -> TestNumber:
    if row is None or not row.live(now):
        raise model.no_test_number()
    return row


def _actor(caller: Caller) -> str:
    # A certificate has no credential; it stands for its application.
    return caller.credential_id or caller.application_id


def _changed(rows: Rows, object_id: str) -> None:
    rows.changed(object_id)
    rows.changed(TENANCY_TOPIC)


def _known(rows: Rows, request: RequestKey | None) -> StoredRequest | None:
    if request is None:
        return None
    known = rows.request(request.scope, request.method, request.request_id)
    if known is not None and known.key.mac != request.mac:
        raise FailedPrecondition(
            "the request id was used with another request", reason=Reason.REQUEST_ID_MISMATCH
        )
    return known


def _replayed(
    rows: Rows,
    request: RequestKey | None,
    read: Callable[[str], T | None],
    absent: Callable[[], DomainError],
) -> Written[T] | None:
    known = _known(rows, request)
    if known is None:
        return None
    row = read(known.object_id)
    if row is None:
        raise absent()
    return Written(row, replayed=True)


def _written(rows: Rows, request: RequestKey | None, row: T, object_id: str) -> Written[T]:
    _remember(rows, request, object_id)
    return Written(row, replayed=False)


def _remember(rows: Rows, request: RequestKey | None, object_id: str) -> None:
    if request is not None:
        rows.put_request(StoredRequest(request, object_id, rows.now))
