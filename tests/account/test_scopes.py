"""Which scope opens which method, drawn from the service's own description."""

import pytest

from watchword.account.scopes import SCOPES
from watchword.account.v1 import account_pb2 as pb
from watchword.tenancy.model import Scope

SERVICE = pb.DESCRIPTOR.services_by_name["AccountService"]
METHODS = [f"/{SERVICE.full_name}/{method.name}" for method in SERVICE.methods]
READS = ("Get", "List")


def test_c051_every_method_of_the_service_is_in_the_table_and_no_other() -> None:
    assert set(SCOPES) == set(METHODS)


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize("method", METHODS)
def test_c051_no_scope_of_another_service_opens_a_method(method: str, scope: Scope) -> None:
    ours = {Scope.ACCOUNT_READ, Scope.ACCOUNT_ADMIN, Scope.USAGE_READ, Scope.OPERATOR}
    assert scope in ours or scope not in SCOPES[method]


@pytest.mark.parametrize("method", METHODS)
def test_c051_reading_scopes_change_nothing(method: str) -> None:
    name = method.rpartition("/")[2]
    readers = SCOPES[method] & {Scope.ACCOUNT_READ, Scope.USAGE_READ}
    assert not readers or name.startswith(READS)


def test_only_the_operator_reaches_what_spans_accounts() -> None:
    only = {m.rpartition("/")[2] for m, s in SCOPES.items() if s == {Scope.OPERATOR}}
    assert only == {"CreateAccount", "ListAccounts", "SuspendAccount", "DeleteAccount"}


def test_the_public_keys_need_a_caller_and_no_scope() -> None:
    open_to_all = [method for method, scopes in SCOPES.items() if not scopes]
    assert open_to_all == [f"/{SERVICE.full_name}/GetSigningKeys"]
