"""The life of accounts, applications, credentials and test numbers: pure decisions.

Each takes the rows that the store holds and its time, and returns the rows to be; a
decision that changes nothing returns the row it was given. What an error tells is about
the caller's own account.
"""

from typing import NamedTuple, TypeVar

from watchword.core.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Reason,
)
from watchword.core.ports import DAY, Millis
from watchword.fraud.budget import AccountCaps
from watchword.tenancy.model import (
    ALL_REGIONS,
    MAX_LIVE_CREDENTIALS,
    MAX_TEST_NUMBERS,
    TEST_NUMBER_TTL,
    Account,
    AccountState,
    Application,
    Caller,
    CodePolicy,
    Credential,
    Scope,
    TestNumber,
)

REQUEST_TTL = DAY
"""How long a `request_id` is remembered."""

HARD_CAPS = AccountCaps(sends_per_hour=100_000, sends_per_day=1_000_000)
"""What no account of a production store exceeds."""

DEV_CAPS = AccountCaps(sends_per_hour=10**9, sends_per_day=10**9)
"""The bound of dev and sandbox stores, for load harnesses; nothing real is sent there."""

Row = TypeVar("Row", Account, Application)


class RequestKey(NamedTuple):
    """A caller's `request_id` within its scope (application, account) and method.

    `mac` covers the body.
    """

    scope: str
    method: str
    request_id: str
    mac: bytes


class Contact(NamedTuple):
    """A contact's phone: its blind index in the account and its last two digits."""

    phone_index: bytes
    hint: str


class AccountPatch(NamedTuple):
    """New values of an account; None leaves a field as it is."""

    display_name: str | None = None
    company_name: str | None = None
    contact_email: str | None = None
    contact: Contact | None = None
    caps: AccountCaps | None = None
    regions: tuple[str, ...] | None = None
    activate: bool = False

    @property
    def operators(self) -> bool:
        """Tell whether only an operator may ask for this."""
        return self.activate or self.caps is not None or self.regions is not None


class ApplicationPatch(NamedTuple):
    """New values of an application; None leaves a field as it is."""

    display_name: str | None = None
    brand_name: str | None = None
    audience: str | None = None
    regions: frozenset[str] | None = None
    channels: frozenset[str] | None = None
    purposes: frozenset[str] | None = None
    code_policy: CodePolicy | None = None
    custom_code_granted: bool | None = None
    spiffe_ids: tuple[str, ...] | None = None
    spiffe_scopes: frozenset[Scope] | None = None


class Lifetime(NamedTuple):
    """How long a credential serves: for `ttl`, until `expire_time`, or for ever (both 0)."""

    ttl: Millis = 0
    expire_time: Millis = 0


def visible(account_id: str, caller: Caller) -> bool:
    """Tell whether the caller sees what belongs to this account: its own, or an operator all."""
    return caller.operator or (bool(account_id) and account_id == caller.account_id)


def no_account() -> NotFound:
    """Return the error for an account that is unknown, or not the caller's."""
    return NotFound("no such account", reason=Reason.ACCOUNT_NOT_FOUND)


def no_application() -> NotFound:
    """Return the error for an application that is unknown, or not the caller's."""
    return NotFound("no such application", reason=Reason.APPLICATION_NOT_FOUND)


def no_credential() -> NotFound:
    """Return the error for a credential that is unknown, or not the caller's."""
    return NotFound("no such credential", reason=Reason.CREDENTIAL_NOT_FOUND)


def no_test_number() -> NotFound:
    """Return the error for a number that is no test number of the application."""
    return NotFound("no such test number", reason=Reason.TEST_NUMBER_NOT_FOUND)


def check_open(account: Account) -> None:
    """Raise `FailedPrecondition` (ACCOUNT_SUSPENDED) where nothing new may be made."""
    if account.state not in {AccountState.TRIAL, AccountState.ACTIVE}:
        raise _suspended()


def patched_account(account: Account, patch: AccountPatch, now: Millis) -> Account:
    """Return the account with the patch's values; ACTIVE ends a trial or a suspension."""
    state = account.state
    if patch.activate:
        if state in {AccountState.CLOSING, AccountState.CLOSED}:
            raise _suspended()
        state = AccountState.ACTIVE
    contact = patch.contact or Contact(account.contact_index, account.contact_hint)
    caps = patch.caps or AccountCaps(account.sends_per_hour, account.sends_per_day)
    after = account._replace(
        display_name=_or(patch.display_name, account.display_name),
        company_name=_or(patch.company_name, account.company_name),
        contact_email=_or(patch.contact_email, account.contact_email),
        contact_index=contact.phone_index,
        contact_hint=contact.hint,
        sends_per_hour=caps.sends_per_hour,
        sends_per_day=caps.sends_per_day,
        regions=patch.regions or account.regions,
        state=state,
    )
    return _touched(account, after, now)


def suspended(account: Account, now: Millis) -> Account:
    """Return the account suspended; raises where it is closing or closed."""
    if account.state is AccountState.SUSPENDED:
        return account
    check_open(account)
    return _touched(account, account._replace(state=AccountState.SUSPENDED), now)


def new_application(draft: Application, account: Account, now: Millis) -> Application:
    """Return the application to be, of an account that is open."""
    check_open(account)
    _check_regions(draft.regions, account)
    return draft._replace(account_id=account.account_id, create_time=now, update_time=now)


def patched_application(
    application: Application,
    patch: ApplicationPatch,
    account: Account,
    caller: Caller,
    now: Millis,
) -> Application:
    """Return the application with the patch's values.

    Raises `PermissionDenied` where a certificate would get a scope that the caller lacks,
    `FailedPrecondition` (REGION_DISABLED, ACCOUNT_SUSPENDED).
    """
    check_open(account)
    if patch.regions is not None:
        _check_regions(patch.regions, account)
    after = application._replace(**{k: v for k, v in patch._asdict().items() if v is not None})
    _check_mapped(application, after, caller)
    return _touched(application, after, now)


def issued(
    draft: Credential,
    account: Account | None,
    of_owner: list[Credential],
    lifetime: Lifetime,
    now: Millis,
) -> Credential:
    """Return the credential to be; `of_owner` are its owner's, `account` None an operator's.

    Raises `FailedPrecondition` (CREDENTIAL_LIMIT) beyond two live ones, `InvalidArgument`
    where it would be born expired.
    """
    if account is not None:
        check_open(account)
    if lifetime.expire_time and lifetime.expire_time <= now:
        raise InvalidArgument("the time is over already", field="expire_time")
    if sum(credential.live(now) for credential in of_owner) >= MAX_LIVE_CREDENTIALS:
        raise FailedPrecondition(
            "there are two live credentials; revoke one first", reason=Reason.CREDENTIAL_LIMIT
        )
    expire_time = now + lifetime.ttl if lifetime.ttl else lifetime.expire_time
    return draft._replace(create_time=now, expire_time=expire_time)


def revoked(credential: Credential, now: Millis) -> Credential:
    """Return the credential revoked; the first revocation's time stays."""
    if credential.revoke_time:
        return credential
    return credential._replace(version=credential.version + 1, revoke_time=now)


def new_test_number(
    draft: TestNumber, before: TestNumber | None, account: Account, live: int, now: Millis
) -> TestNumber:
    """Return the test number to be; one that exists gets the new code and 90 days anew.

    `live` counts the application's live ones. Raises `FailedPrecondition`
    (TEST_NUMBER_LIMIT, ACCOUNT_SUSPENDED).
    """
    check_open(account)
    if not (before and before.live(now)) and live >= MAX_TEST_NUMBERS:
        raise FailedPrecondition(
            "the application has ten test numbers; delete one first",
            reason=Reason.TEST_NUMBER_LIMIT,
        )
    return draft._replace(
        version=before.version + 1 if before else 1,
        create_time=now,
        expire_time=now + TEST_NUMBER_TTL,
    )


def deleted_test_number(before: TestNumber, now: Millis) -> TestNumber:
    """Return the test number ended and emptied; its row stays, so that versions go on."""
    return before._replace(
        version=before.version + 1, phone_sealed=b"", code_sealed=b"", expire_time=now
    )


def leaf_content(row: Account | Application | Credential | TestNumber, actor: str) -> bytes:
    """Return what the audit leaf of this version commits to: every field and who did it.

    Secrets and sealed values stand there as what the row holds, a keyed hash or a cipher
    text; the leaf keeps a salted commitment alone.
    """
    return repr((type(row).__name__, actor, _canonical(row))).encode()


def _canonical(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(
        tuple(sorted(map(str, value))) if isinstance(value, frozenset) else value for value in row
    )


def _check_regions(wanted: frozenset[str], account: Account) -> None:
    allowed = ALL_REGIONS in account.regions or wanted <= {*account.regions, ALL_REGIONS}
    if not allowed:
        raise FailedPrecondition(
            "the account may not enable this region; the operator adds it to the account's",
            reason=Reason.REGION_DISABLED,
            field="enabled_regions",
        )


def _check_mapped(before: Application, after: Application, caller: Caller) -> None:
    new_ids = set(after.spiffe_ids) - set(before.spiffe_ids)
    gained = after.spiffe_scopes if new_ids else after.spiffe_scopes - before.spiffe_scopes
    if not gained <= caller.scopes:
        raise PermissionDenied("nobody grants a scope that they lack")


def _suspended() -> FailedPrecondition:
    return FailedPrecondition("the account is not open", reason=Reason.ACCOUNT_SUSPENDED)


def _touched(before: Row, after: Row, now: Millis) -> Row:
    if after == before:
        return before
    return after._replace(version=before.version + 1, update_time=now)


def _or(new: str | None, old: str) -> str:
    return old if new is None else new
