"""Who may call and by which rules: accounts, applications, credentials, test numbers."""

from enum import StrEnum
from typing import NamedTuple

from watchword.core.errors import InvalidArgument
from watchword.core.ports import DAY, MINUTE, SECOND, Millis


class Scope(StrEnum):
    """What a credential may do; nobody grants a scope that they lack."""

    VERIFICATION_START = "verification.start"
    VERIFICATION_CHECK = "verification.check"
    VERIFICATION_READ = "verification.read"
    VERIFICATION_ADMIN = "verification.admin"
    DEVICE_READ = "device.read"
    DEVICE_WRITE = "device.write"
    PRIVACY_READ = "privacy.read"
    PRIVACY_EXPORT = "privacy.export"
    PRIVACY_ERASE = "privacy.erase"
    PRIVACY_CONSENT = "privacy.consent"
    HOLD = "hold"
    ACCOUNT_READ = "account.read"
    ACCOUNT_ADMIN = "account.admin"
    USAGE_READ = "usage.read"
    OPERATOR = "operator"


GRANTABLE = frozenset(Scope) - {Scope.OPERATOR}
"""Scopes that an account may hand out; `operator` is made on the host only."""


ALL_REGIONS = "*"
"""Stands for every region in an account's or application's list."""


class AccountState(StrEnum):
    """States of an account; CLOSING and CLOSED come with deletion."""

    TRIAL = "TRIAL"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"


class Account(NamedTuple):
    """A tenant. `contact_index` is the blind index of its contact's phone, or b"".

    On trial it sends to no other number.
    `regions` are ISO 3166 codes that its applications may enable; ("*",) means all.
    """

    account_id: str
    version: int
    display_name: str
    company_name: str
    contact_email: str
    contact_hint: str
    contact_index: bytes
    state: AccountState
    sends_per_hour: int
    sends_per_day: int
    regions: tuple[str, ...]
    create_time: Millis
    update_time: Millis

    def region_enabled(self, region_code: str) -> bool:
        """Tell whether applications of this account may send to this region."""
        return region_code in self.regions or ALL_REGIONS in self.regions


class Resend(StrEnum):
    """What a resend does to the code: repeat it, replace it, or accept the last two."""

    SAME = "SAME"
    NEW = "NEW"
    LAST_TWO = "LAST_TWO"


class CodePolicy(NamedTuple):
    """How codes are made and judged; hard bounds in `checked_policy`."""

    length: int = 6
    ttl: Millis = 10 * MINUTE
    max_checks: int = 5
    resend: Resend = Resend.SAME


MIN_LENGTH, MAX_LENGTH = 6, 8
MIN_TTL, MAX_TTL = 30 * SECOND, 10 * MINUTE
MAX_CHECKS = 10
MAX_SENDS = 5
MAX_TEST_NUMBERS = 10
TEST_NUMBER_TTL = 90 * DAY
MAX_LIVE_CREDENTIALS = 2


def checked_policy(policy: CodePolicy, field: str = "code_policy") -> CodePolicy:
    """Return `policy`; raises `InvalidArgument` naming what lies outside the hard bounds."""
    if not MIN_LENGTH <= policy.length <= MAX_LENGTH:
        raise InvalidArgument("length must be 6, 7 or 8", field=f"{field}.length")
    if not MIN_TTL <= policy.ttl <= MAX_TTL:
        raise InvalidArgument("ttl must lie between 30 s and 600 s", field=f"{field}.ttl")
    if not 1 <= policy.max_checks <= MAX_CHECKS:
        raise InvalidArgument("max_checks must lie between 1 and 10", field=f"{field}.max_checks")
    return policy


class Application(NamedTuple):
    """What integrates with Watchword. `regions` and `channels` are what it enabled.

    `audience` overrides the receipt's `aud` (default: the application's id); `purposes`
    limits what a verification may be for (empty: any); `spiffe_ids` are the client
    certificates that act as this application, with `spiffe_scopes`.
    """

    application_id: str
    account_id: str
    version: int
    display_name: str
    brand_name: str
    audience: str
    regions: frozenset[str]
    channels: frozenset[str]
    purposes: frozenset[str]
    code_policy: CodePolicy
    custom_code_granted: bool
    spiffe_ids: tuple[str, ...]
    spiffe_scopes: frozenset[Scope]
    create_time: Millis
    update_time: Millis

    def region_enabled(self, region_code: str) -> bool:
        """Tell whether numbers of this region may be sent to."""
        return region_code in self.regions or ALL_REGIONS in self.regions


class Credential(NamedTuple):
    """An id and the keyed hash of a secret. `application_id` is "" for an account's own.

    `expire_time` and `revoke_time` are 0 where there is none. Operators have account "".
    """

    credential_id: str
    account_id: str
    application_id: str
    version: int
    display_name: str
    scopes: frozenset[Scope]
    secret_hash: bytes
    create_time: Millis
    expire_time: Millis
    revoke_time: Millis

    def live(self, now: Millis) -> bool:
        """Tell whether the credential may be used now."""
        return not self.revoke_time and (not self.expire_time or now < self.expire_time)


class TestNumber(NamedTuple):
    """A fictitious number with a fixed code; nothing is ever sent to it.

    `phone_sealed` and `code_sealed` are wrapped by `vault.envelope.wrap`, for the place
    `aad("test_number", row_name, "phone" or "code", account_id)`; both are b"" once it was
    deleted.
    """

    application_id: str
    phone_index: bytes
    account_id: str
    version: int
    phone_sealed: bytes
    code_sealed: bytes
    create_time: Millis
    expire_time: Millis

    @property
    def row_name(self) -> str:
        """Return the row's name in associated data and audit leaves."""
        return f"{self.application_id}/{self.phone_index.hex()}"

    def live(self, now: Millis) -> bool:
        """Tell whether it serves: neither expired nor deleted."""
        return now < self.expire_time


# Not a test class, whatever its name says to a collector.
TestNumber.__test__ = False  # type: ignore[attr-defined]


def region_open(account: Account, application: Application, region_code: str) -> bool:
    """Tell whether an application may send there: both it and its account enabled the region.

    An account's regions may shrink below those that its applications enabled before.
    """
    return account.region_enabled(region_code) and application.region_enabled(region_code)


class Caller(NamedTuple):
    """The proven identity behind a call; never read from a request field."""

    account_id: str
    application_id: str
    credential_id: str
    scopes: frozenset[Scope]

    @property
    def operator(self) -> bool:
        """Tell whether the caller runs the deployment."""
        return Scope.OPERATOR in self.scopes
