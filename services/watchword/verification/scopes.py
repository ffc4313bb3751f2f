"""Which scopes a call needs; any one of the set suffices."""

from collections.abc import Mapping

from watchword.tenancy.model import Scope

_SERVICE = "/watchword.verification.v1.VerificationService/"

_BY_METHOD = {
    "StartVerification": Scope.VERIFICATION_START,
    "ResendVerification": Scope.VERIFICATION_START,
    "CheckVerification": Scope.VERIFICATION_CHECK,
    "CancelVerification": Scope.VERIFICATION_START,
    "GetVerification": Scope.VERIFICATION_READ,
    "ListVerifications": Scope.VERIFICATION_READ,
    "WatchVerification": Scope.VERIFICATION_READ,
    "GetQuota": Scope.VERIFICATION_READ,
    "RebindPhone": Scope.VERIFICATION_ADMIN,
    "LookupPhoneNumber": Scope.VERIFICATION_READ,
    "EvaluateStart": Scope.VERIFICATION_READ,
    "ReportOutcome": Scope.VERIFICATION_CHECK,
}

SCOPES: Mapping[str, frozenset[Scope]] = {
    _SERVICE + method: frozenset({scope}) for method, scope in _BY_METHOD.items()
}
