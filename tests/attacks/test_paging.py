"""Page tokens over the wire: each serves its own account, method and filters, unchanged."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from tests.attacks.site import Site, Tenant, told

from watchword.account.v1 import account_pb2 as account
from watchword.verification.v1 import verification_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")


def verifications(tenant: Tenant, token: str, **fields: Any) -> Awaitable[Any]:
    request = pb.ListVerificationsRequest(page_size=1, page_token=token, **fields)
    return tenant.site.live.verification.ListVerifications(request, metadata=tenant.auth)


def applications(tenant: Tenant, token: str) -> Awaitable[Any]:
    request = account.ListApplicationsRequest(page_size=1, page_token=token)
    return tenant.site.live.account.ListApplications(request, metadata=tenant.auth)


def credentials(tenant: Tenant, token: str) -> Awaitable[Any]:
    request = account.ListCredentialsRequest(page_size=1, page_token=token)
    return tenant.site.live.account.ListCredentials(request, metadata=tenant.auth)


def test_numbers(tenant: Tenant, token: str) -> Awaitable[Any]:
    request = account.ListTestNumbersRequest(
        application_id=tenant.application_id, page_size=1, page_token=token
    )
    return tenant.site.live.account.ListTestNumbers(request, metadata=tenant.auth)


def usage(tenant: Tenant, token: str) -> Awaitable[Any]:
    request = account.ListUsageRequest(page_size=1, page_token=token)
    return tenant.site.live.account.ListUsage(request, metadata=tenant.auth)


List = Callable[[Tenant, str], Awaitable[Any]]
LISTS: tuple[List, ...] = (verifications, applications, credentials, test_numbers, usage)
vars(test_numbers)["__test__"] = False


async def refused(call: Awaitable[Any]) -> None:
    refusal = await told(call)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == ("page_token",)


async def two_verifications(tenant: Tenant) -> str:
    """Return the token of the second page."""
    for _ in range(2):
        await tenant.start(tenant.site.phone())
    page = await verifications(tenant, "")
    assert page.next_page_token
    return str(page.next_page_token)


async def two_test_numbers(tenant: Tenant) -> str:
    """Return the token of the second page."""
    for number in ("+12125550123", "+12125550124"):
        request = account.CreateTestNumberRequest(
            application_id=tenant.application_id, phone_number=number, code="123456"
        )
        await tenant.site.live.account.CreateTestNumber(request, metadata=tenant.auth)
    page = await test_numbers(tenant, "")
    assert page.next_page_token
    return str(page.next_page_token)


async def test_a_token_goes_on_where_the_page_ended(site: Site) -> None:
    tenant = await site.tenant()
    token = await two_verifications(tenant)
    first, second = await verifications(tenant, ""), await verifications(tenant, token)
    found = [row.verification_id for page in (first, second) for row in page.verifications]
    assert len(set(found)) == 2
    assert not second.next_page_token


async def test_c044_a_changed_or_cut_token_is_refused(site: Site) -> None:
    tenant = await site.tenant()
    token = await two_verifications(tenant)
    for place, letter in enumerate(token):
        other = "A" if letter != "A" else "B"
        await refused(verifications(tenant, token[:place] + other + token[place + 1 :]))
        if place:
            await refused(verifications(tenant, token[:place]))
    await refused(verifications(tenant, f"{token}A"))


@pytest.mark.parametrize("own", [True, False])
async def test_c044_a_token_serves_one_method_of_one_account(site: Site, own: bool) -> None:
    first = await site.tenant()
    tokens = {
        verifications: await two_verifications(first),
        test_numbers: await two_test_numbers(first),
    }
    caller = first if own else await site.tenant()
    for issued, token in tokens.items():
        for asked in LISTS:
            if asked is issued and own:
                await asked(caller, token)
            else:
                await refused(asked(caller, token))


async def test_c044_a_token_serves_the_filters_that_it_was_got_with(site: Site) -> None:
    tenant = await site.tenant()
    token = await two_verifications(tenant)
    state = pb.VERIFICATION_STATE_PENDING
    await refused(verifications(tenant, token, state=state))
    await refused(verifications(tenant, token, phone_number="+14155550100"))
    filtered = (await verifications(tenant, "", state=state)).next_page_token
    assert (await verifications(tenant, filtered, state=state)).verifications
    await refused(verifications(tenant, filtered))
