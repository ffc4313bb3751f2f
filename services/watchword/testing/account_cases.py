"""Drafts of the tenancy, with ids that tests can name."""

from watchword.account.drafts import account_draft, application_draft
from watchword.account.model import AccountPatch, ApplicationPatch, RequestKey
from watchword.fraud.budget import AccountCaps
from watchword.tenancy.model import (
    GRANTABLE,
    Account,
    Application,
    Caller,
    Credential,
    Scope,
    TestNumber,
)

OPERATOR = Caller("", "", "CRoperator", frozenset(Scope))


def account_named(letter: str) -> Account:
    """Return the draft of an account; its id ends in `letter`."""
    patch = AccountPatch(display_name=f"Account {letter}", caps=AccountCaps(100, 1_000))
    return account_draft(id_of("AC", letter), patch)


def application_of(account_id: str, letter: str, **fields: object) -> Application:
    """Return the draft of an application; its id ends in `letter`."""
    patch = ApplicationPatch(display_name=letter, regions=frozenset({"*"}))
    draft = application_draft(id_of("AP", letter), account_id, patch)
    return draft._replace(**fields)  # type: ignore[arg-type]


def credential_of(account_id: str, application_id: str, letter: str) -> Credential:
    """Return the draft of a credential; its id ends in `letter`."""
    scopes = frozenset({Scope.VERIFICATION_START, Scope.ACCOUNT_READ})
    return Credential(
        id_of("CR", letter), account_id, application_id, 1, letter, scopes, b"h" * 32, 0, 0, 0
    )


def number_of(application_id: str, number: int) -> TestNumber:
    """Return the draft of a test number."""
    index = number.to_bytes(32, "big")
    return TestNumber(application_id, index, "", 1, b"sealed phone", b"sealed code", 0, 0)


def key_of(request_id: str, scope: str = "S", body: bytes = b"body") -> RequestKey:
    """Return the key of a request."""
    return RequestKey(scope, "Method", request_id, body * 8)


def admin_of(account_id: str) -> Caller:
    """Return a caller of the account who has every scope but `operator`."""
    return Caller(account_id, "", "CRadmin", GRANTABLE)


def id_of(prefix: str, letter: str) -> str:
    """Return an id that sorts by `letter`, a hex digit."""
    return prefix + letter * 32


A, B = account_named("a"), account_named("b")
PA, PB = application_of(A.account_id, "1"), application_of(B.account_id, "2")
