"""Which scopes a call needs; any one of the set suffices, and none is needed where it is empty.

Only an operator reaches the account of another. What a scope cannot tell (limits, regions
and custom codes are the operator's to change) the service refuses.
"""

from collections.abc import Mapping

from watchword.tenancy.model import Scope

_SERVICE = "/watchword.account.v1.AccountService/"

_OPERATOR = frozenset({Scope.OPERATOR})
_ADMIN = frozenset({Scope.ACCOUNT_ADMIN, Scope.OPERATOR})
_READ = frozenset({Scope.ACCOUNT_READ, Scope.OPERATOR})
_USAGE = frozenset({Scope.USAGE_READ, Scope.OPERATOR})
_ANYBODY: frozenset[Scope] = frozenset()

_BY_METHOD = {
    "CreateAccount": _OPERATOR,
    "GetAccount": _READ,
    "ListAccounts": _OPERATOR,
    "UpdateAccount": _ADMIN,
    "SuspendAccount": _OPERATOR,
    "DeleteAccount": _OPERATOR,
    "CreateApplication": _ADMIN,
    "GetApplication": _READ,
    "ListApplications": _READ,
    "UpdateApplication": _ADMIN,
    "CreateCredential": _ADMIN,
    "ListCredentials": _READ,
    "RevokeCredential": _ADMIN,
    "CreateTestNumber": _ADMIN,
    "ListTestNumbers": _READ,
    "DeleteTestNumber": _ADMIN,
    "ListUsage": _USAGE,
    "GrantAccess": _ADMIN,
    "RevokeAccess": _ADMIN,
    "ListGrants": _READ,
    "GetSigningKeys": _ANYBODY,
}

SCOPES: Mapping[str, frozenset[Scope]] = {
    _SERVICE + method: scopes for method, scopes in _BY_METHOD.items()
}
