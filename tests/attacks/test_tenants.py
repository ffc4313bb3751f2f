"""One account never reaches another, whatever it asks for and by whatever name."""

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from tests.attacks.site import SCOPES, Site, Tenant, told
from tests.support.methods import Method, call, methods, request_type
from tests.support.status import Details, details

from watchword.account.v1 import account_pb2 as account
from watchword.verification.v1 import verification_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

METHODS = {method.described.name: method for method in methods()}
# What names no object: the caller's own word for a call, and what is made up by callers.
NO_IDS = {"request_id"}
WITHOUT_IDS = {
    "CreateAccount",
    "GetQuota",
    "GetSigningKeys",
    "ListAccounts",
    "ListVerifications",
    "LookupPhoneNumber",
    "RebindPhone",
}
OPERATORS_ONLY = {"DeleteAccount", "SuspendAccount"}
UNIMPLEMENTED = {
    "EvaluateStart",
    "GrantAccess",
    "ListGrants",
    "ReportOutcome",
    "RevokeAccess",
}
# Fields of the recipient that no service serves yet.
UNSERVED = {("StartVerification", "user_id"), ("EvaluateStart", "user_id")}
TABLES = (
    "account",
    "account_budget",
    "application",
    "application_spiffe",
    "approved_binding",
    "credential",
    "guess_guard",
    "request",
    "send",
    "test_number",
    "verification",
)


def id_paths(described: Descriptor) -> Iterator[str]:
    """Yield the paths of every field of a request that may name an object."""
    for field in described.fields:
        if field.name.endswith("_id") and field.name not in NO_IDS:
            yield field.name
        inner = field.message_type
        if inner is not None and inner.file.package.startswith("watchword."):
            for path in id_paths(inner):
                yield f"{field.name}.{path}"


CASES = [
    (name, path)
    for name, method in METHODS.items()
    for path in id_paths(method.described.input_type)
]


def filled(name: str, code: str) -> Message:
    """Return a request that would succeed if its ids were the caller's."""
    mask = FieldMask(paths=["display_name"])
    requests: dict[str, Message] = {
        "CheckVerification": pb.CheckVerificationRequest(code=code),
        "UpdateAccount": account.UpdateAccountRequest(
            account=account.Account(display_name="stolen"), update_mask=mask
        ),
        "CreateApplication": account.CreateApplicationRequest(
            display_name="x", enabled_regions=["US"]
        ),
        "UpdateApplication": account.UpdateApplicationRequest(
            application=account.Application(display_name="stolen"), update_mask=mask
        ),
        "CreateCredential": account.CreateCredentialRequest(scopes=["verification.check"]),
        "CreateTestNumber": account.CreateTestNumberRequest(
            phone_number="+12025550123", code="123456"
        ),
        "DeleteTestNumber": account.DeleteTestNumberRequest(phone_number="+12025550123"),
        "SuspendAccount": account.SuspendAccountRequest(reason="x"),
    }
    return requests.get(name) or request_type(METHODS[name])()


def put(request: Message, path: str, value: str) -> bytes:
    """Return the request's bytes with one id set."""
    *parents, last = path.split(".")
    holder: Any = request
    for parent in parents:
        holder = getattr(holder, parent)
    setattr(holder, last, value)
    return request.SerializeToString()


class Victim(NamedTuple):
    """An account with an object of every type, and an id for each field's name."""

    tenant: Tenant
    ids: dict[str, str]
    code: str


@pytest_asyncio.fixture(loop_scope="module")
async def victim(site: Site) -> Victim:
    tenant = await site.tenant()
    verification_id, code = await tenant.started(site.phone(), binding=b"b")
    used, right = await tenant.started(site.phone(), binding=b"b", request_id="r")
    await tenant.check(used, right, binding=b"b")
    await site.live.account.CreateTestNumber(
        account.CreateTestNumberRequest(
            application_id=tenant.application_id, phone_number="+12025550123", code="482915"
        ),
        metadata=tenant.auth,
    )
    (credential_id,) = site.rows(
        "SELECT credential_id FROM credential WHERE application_id = ?", tenant.application_id
    )[0]
    ids = {
        "verification_id": verification_id,
        "account_id": tenant.account_id,
        "grantee_account_id": tenant.account_id,
        "application_id": tenant.application_id,
        "credential_id": credential_id,
        "grant_id": "GR" + "1" * 32,
        "user_id": "US" + "1" * 32,
    }
    return Victim(tenant, ids, code)


def kept(site: Site, victim: Victim) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row that is the victim's; its audit log is one of them."""
    found = {}
    for table in (*TABLES, "audit_leaf"):
        columns = {row[1] for row in site.rows(f"PRAGMA table_info({table})")}
        owner, value = "account_id", victim.tenant.account_id
        if owner not in columns:
            owner, value = "application_id", victim.tenant.application_id
        if owner not in columns:
            owner = "scope"
        found[table] = site.rows(f"SELECT * FROM {table} WHERE {owner} = ?", value)
    return found


async def answer(site: Site, method: Method, request: bytes, tenant: Tenant) -> Details | bytes:
    try:
        return await call(site.live.channel, method, request, tenant.auth)
    except grpc.aio.AioRpcError as error:
        return details(error)


async def test_c044_every_method_is_in_the_matrix_or_names_no_object(site: Site) -> None:
    with_ids = {name for name, _ in CASES}
    assert with_ids | WITHOUT_IDS == set(METHODS)
    assert not with_ids & WITHOUT_IDS
    assert site.live.endpoint


async def test_c044_anothers_id_reads_as_an_unknown_one(site: Site, victim: Victim) -> None:
    attacker = await site.tenant()
    before = kept(site, victim)
    assert all(rows for table, rows in before.items() if table != "application_spiffe"), before
    for name, path in CASES:
        field = path.rpartition(".")[2]
        known = victim.ids[field]
        unknown = known[:-4] + ("0000" if known[-4:] != "0000" else "1111")
        request = filled(name, victim.code)
        answers = [
            await answer(site, METHODS[name], put(request, path, value), attacker)
            for value in (known, unknown)
        ]
        assert answers[0] == answers[1], (name, path)
        refusal = answers[0]
        assert isinstance(refusal, Details), (name, path)
        expected = grpc.StatusCode.NOT_FOUND
        if name in OPERATORS_ONLY:
            expected = grpc.StatusCode.PERMISSION_DENIED
        elif name in UNIMPLEMENTED:
            expected = grpc.StatusCode.UNIMPLEMENTED
        elif (name, path) in UNSERVED:
            expected = grpc.StatusCode.FAILED_PRECONDITION
        elif path in IGNORED.get(name, ()):
            expected = grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.code is expected, (name, path, refusal)
        assert known not in refusal.message
        assert known.encode() not in refusal.raw
    assert kept(site, victim) == before


# Output-only fields inside an object that must name itself first.
IGNORED = {"UpdateApplication": ("application.account_id",)}


async def test_c045_a_credential_decides_not_the_body(site: Site, victim: Victim) -> None:
    attacker = await site.tenant()
    before = kept(site, victim)
    made = await site.live.account.CreateApplication(
        account.CreateApplicationRequest(display_name="x", enabled_regions=["US"]),
        metadata=attacker.auth,
    )
    assert made.application.account_id == attacker.account_id
    refusal = await told(
        site.live.account.CreateApplication(
            account.CreateApplicationRequest(
                account_id=victim.tenant.account_id, display_name="x", enabled_regions=["US"]
            ),
            metadata=attacker.auth,
        )
    )
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    mismatch = (*attacker.auth, ("account", victim.tenant.account_id))
    refusal = await told(
        site.live.account.GetAccount(account.GetAccountRequest(), metadata=mismatch)
    )
    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    moved = account.Application(
        application_id=attacker.application_id, account_id=victim.tenant.account_id
    )
    refusal = await told(
        site.live.account.UpdateApplication(
            account.UpdateApplicationRequest(
                application=moved, update_mask=FieldMask(paths=["account_id"])
            ),
            metadata=attacker.auth,
        )
    )
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert kept(site, victim) == before


async def test_c046_no_object_is_made_across_accounts(site: Site, victim: Victim) -> None:
    """Even an operator, who may name both, cannot join two accounts in one object."""
    attacker = await site.tenant()
    before = kept(site, victim)
    mixed = account.CreateCredentialRequest(
        account_id=attacker.account_id,
        application_id=victim.tenant.application_id,
        scopes=["verification.check"],
    )
    for metadata in (attacker.auth, site.live.admin):
        refusal = await told(site.live.account.CreateCredential(mixed, metadata=metadata))
        assert refusal.code in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}
    usage = account.ListUsageRequest(
        account_id=attacker.account_id, application_id=victim.tenant.application_id
    )
    assert (await told(site.live.account.ListUsage(usage, metadata=attacker.auth))).code is (
        grpc.StatusCode.NOT_FOUND
    )
    assert kept(site, victim) == before


async def test_c044_two_accounts_share_no_row_on_one_phone(site: Site) -> None:
    """The same person at two tenants: neither's numbers, budgets or bindings move the other's."""
    first, second = await site.tenant(), await site.tenant()
    phone = site.phone()
    verification_id, code = await first.started(phone, binding=b"b")
    quota = await second.quota(phone)
    for number in range(1, 5):
        await first.judged(verification_id, str(number) * len(code), binding=b"b")
    assert await second.quota(phone) == quota
    listed = await site.live.verification.ListVerifications(
        pb.ListVerificationsRequest(phone_number=phone), metadata=second.auth
    )
    assert not listed.verifications


async def test_c044_a_page_token_serves_its_own_account(site: Site, victim: Victim) -> None:
    page = pb.ListVerificationsRequest(page_size=1)
    listed = await site.live.verification.ListVerifications(page, metadata=victim.tenant.auth)
    assert listed.next_page_token
    attacker = await site.tenant()
    stolen = pb.ListVerificationsRequest(page_token=listed.next_page_token)
    refusal = await told(site.live.verification.ListVerifications(stolen, metadata=attacker.auth))
    assert (refusal.code, refusal.fields) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        ("page_token",),
    )


# Said here once more, apart from the table that the server reads.
OPENED_BY = {
    "verification.start": {"StartVerification", "ResendVerification", "CancelVerification"},
    "verification.check": {"CheckVerification", "ReportOutcome"},
    "verification.read": {
        "GetVerification",
        "ListVerifications",
        "WatchVerification",
        "GetQuota",
        "LookupPhoneNumber",
        "EvaluateStart",
    },
    "verification.admin": {"RebindPhone"},
    "account.read": {
        "GetAccount",
        "GetApplication",
        "ListApplications",
        "ListCredentials",
        "ListTestNumbers",
        "ListGrants",
    },
    "account.admin": {
        "UpdateAccount",
        "CreateApplication",
        "UpdateApplication",
        "CreateCredential",
        "RevokeCredential",
        "CreateTestNumber",
        "DeleteTestNumber",
        "GrantAccess",
        "RevokeAccess",
    },
    "usage.read": {"ListUsage"},
    "device.read": set(),
    "device.write": set(),
    "privacy.read": set(),
    "privacy.export": set(),
    "privacy.erase": set(),
    "privacy.consent": set(),
    "hold": set(),
}
OPEN_TO_ALL = {"GetSigningKeys"}
OPERATORS = {"CreateAccount", "ListAccounts", "SuspendAccount", "DeleteAccount"}


async def test_c051_every_method_is_in_the_scope_matrix(site: Site) -> None:
    opened = set().union(*OPENED_BY.values())
    assert opened | OPEN_TO_ALL | OPERATORS == set(METHODS)
    assert set(SCOPES) <= set(OPENED_BY)
    assert site.live.endpoint


@pytest.mark.parametrize("scope", OPENED_BY)
async def test_c051_a_scope_opens_its_methods_and_no_other(site: Site, scope: str) -> None:
    tenant = await site.tenant(scopes=(scope,))
    opened = set()
    for name, method in METHODS.items():
        found = await answer(site, method, b"", tenant)
        if isinstance(found, Details) and found.code is grpc.StatusCode.PERMISSION_DENIED:
            assert found.reason == "SCOPE_MISSING"
        else:
            opened.add(name)
    assert opened == OPENED_BY[scope] | OPEN_TO_ALL


async def test_c053_a_neighbours_flood_costs_a_tenant_nothing(site: Site) -> None:
    """A floods at fifty times its quota; every call of B is served."""
    flooding, calm = await site.tenant(caps=(10, 10)), await site.tenant()

    async def flood() -> list[Details | None]:
        async def one() -> Details | None:
            try:
                await flooding.start(site.phone())
            except grpc.aio.AioRpcError as error:
                return details(error)
            return None

        return list(await asyncio.gather(*(one() for _ in range(500))))

    async def work() -> int:
        approved = 0
        for _ in range(30):
            verification_id, code = await calm.started(site.phone())
            reply = await calm.check(verification_id, code)
            approved += reply.WhichOneof("result") == "approval"
        return approved

    answers, approved = await asyncio.gather(flood(), work())
    refused = [refusal for refusal in answers if refusal is not None]
    assert approved == 30
    assert len(refused) == 490
    assert {(refusal.code, refusal.reason) for refusal in refused} == {
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "ACCOUNT_BUDGET_EXHAUSTED")
    }
    assert all(refusal.retry is not None for refusal in refused)
