"""`watchword.account.v1` as gRPC: translates messages, decides nothing."""
# ruff: noqa: ARG002, N802 - gRPC names the methods and hands each of them a context

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn, TypeVar

from google.protobuf.message import Message

from watchword.account.drafts import AccountWish, ApplicationWish
from watchword.account.service import AccountService, CredentialWish, Request
from watchword.account.servicer.messages import (
    account_message,
    account_wish,
    application_message,
    application_wish,
    cell_of,
    channels_of,
    credential_message,
    cursor_of,
    days_of,
    lifetime_of,
    policy_of,
    test_number_message,
    usage_message,
)
from watchword.account.store import UsageQuery
from watchword.account.v1 import account_pb2 as pb
from watchword.account.v1 import account_pb2_grpc as pb_grpc
from watchword.core.errors import Unimplemented
from watchword.core.ports import Clock
from watchword.core.secret import Secret
from watchword.rpc.convert import (
    MAX_PAGE_SIZE,
    PageTokens,
    check_request_id,
    page_size,
    require,
)
from watchword.rpc.identity import Context, current_caller

T = TypeVar("T")

_USAGE_PAGE, _MOST_USAGE = 100, 1_000


class AccountServicer(pb_grpc.AccountServiceServicer):
    """Answers the calls of AccountService; the caller is established before it."""

    def __init__(
        self,
        service: AccountService,
        tokens: PageTokens,
        receipt_keys: Callable[[], Mapping[str, object]],
        clock: Clock,
    ) -> None:
        """Serve `service`; `receipt_keys` gives the JWKS of the keys that sign receipts."""
        self._service = service
        self._tokens = tokens
        self._receipt_keys = receipt_keys
        self._clock = clock

    async def CreateAccount(
        self, request: pb.CreateAccountRequest, context: Context
    ) -> pb.CreateAccountResponse:
        """Create an account, on trial."""
        limits = request.limits
        wish = AccountWish(
            display_name=request.display_name,
            company_name=request.company_name,
            contact_email=request.contact_email_address,
            contact_phone=request.contact_phone_number,
            caps=(limits.sends_per_hour, limits.sends_per_day),
            regions=request.enabled_regions or None,
        )
        account = await self._service.create_account(
            current_caller(), wish, _request("CreateAccount", request, request.request_id)
        )
        return pb.CreateAccountResponse(account=account_message(account))

    async def GetAccount(
        self, request: pb.GetAccountRequest, context: Context
    ) -> pb.GetAccountResponse:
        """Show an account."""
        account = await self._service.get_account(current_caller(), request.account_id)
        return pb.GetAccountResponse(account=account_message(account))

    async def ListAccounts(
        self, request: pb.ListAccountsRequest, context: Context
    ) -> pb.ListAccountsResponse:
        """Show a page of all accounts."""
        paging = self._paging("ListAccounts", request.page_size, request.page_token)
        found = await self._service.list_accounts(current_caller(), paging.before, paging.size + 1)
        page, token = paging.cut(found, lambda row: row.account_id)
        return pb.ListAccountsResponse(accounts=map(account_message, page), next_page_token=token)

    async def UpdateAccount(
        self, request: pb.UpdateAccountRequest, context: Context
    ) -> pb.UpdateAccountResponse:
        """Change the fields that the mask names."""
        account = await self._service.update_account(
            current_caller(),
            require(request.account.account_id, "account.account_id"),
            account_wish(request),
            _request("UpdateAccount", request, request.request_id),
        )
        return pb.UpdateAccountResponse(account=account_message(account))

    async def SuspendAccount(
        self, request: pb.SuspendAccountRequest, context: Context
    ) -> pb.SuspendAccountResponse:
        """Stop an account's starts."""
        account = await self._service.suspend_account(
            current_caller(),
            require(request.account_id, "account_id"),
            request.reason,
            _request("SuspendAccount", request, request.request_id),
        )
        return pb.SuspendAccountResponse(account=account_message(account))

    async def DeleteAccount(
        self, request: pb.DeleteAccountRequest, context: Context
    ) -> pb.DeleteAccountResponse:
        """Refuse: published ahead of erasure."""
        _unimplemented()

    async def CreateApplication(
        self, request: pb.CreateApplicationRequest, context: Context
    ) -> pb.CreateApplicationResponse:
        """Create an application."""
        wish = ApplicationWish(
            display_name=request.display_name,
            brand_name=request.brand_name,
            audience=request.audience,
            regions=request.enabled_regions,
            channels=channels_of(request.enabled_channels, "enabled_channels"),
            purposes=request.purposes,
            code_policy=policy_of(request.code_policy, "code_policy"),
            spiffe_ids=request.spiffe_ids,
            spiffe_scopes=request.spiffe_scopes,
        )
        application = await self._service.create_application(
            current_caller(),
            request.account_id,
            wish,
            _request("CreateApplication", request, request.request_id),
        )
        return pb.CreateApplicationResponse(application=application_message(application))

    async def GetApplication(
        self, request: pb.GetApplicationRequest, context: Context
    ) -> pb.GetApplicationResponse:
        """Show an application."""
        application = await self._service.get_application(
            current_caller(), require(request.application_id, "application_id")
        )
        return pb.GetApplicationResponse(application=application_message(application))

    async def ListApplications(
        self, request: pb.ListApplicationsRequest, context: Context
    ) -> pb.ListApplicationsResponse:
        """Show a page of an account's applications."""
        paging = self._paging(
            "ListApplications", request.page_size, request.page_token, request.account_id
        )
        found = await self._service.list_applications(
            current_caller(), request.account_id, paging.before, paging.size + 1
        )
        page, token = paging.cut(found, lambda row: row.application_id)
        return pb.ListApplicationsResponse(
            applications=map(application_message, page), next_page_token=token
        )

    async def UpdateApplication(
        self, request: pb.UpdateApplicationRequest, context: Context
    ) -> pb.UpdateApplicationResponse:
        """Change the fields that the mask names."""
        application = await self._service.update_application(
            current_caller(),
            require(request.application.application_id, "application.application_id"),
            application_wish(request),
            _request("UpdateApplication", request, request.request_id),
        )
        return pb.UpdateApplicationResponse(application=application_message(application))

    async def CreateCredential(
        self, request: pb.CreateCredentialRequest, context: Context
    ) -> pb.CreateCredentialResponse:
        """Create a credential and show its secret, this once."""
        wish = CredentialWish(
            account_id=request.account_id,
            application_id=request.application_id,
            display_name=request.display_name,
            scopes=tuple(request.scopes),
            lifetime=lifetime_of(request),
        )
        issued = await self._service.create_credential(
            current_caller(), wish, _request("CreateCredential", request, request.request_id)
        )
        return pb.CreateCredentialResponse(
            credential=credential_message(issued.credential),
            secret=issued.secret.reveal() if issued.secret else "",
            secret_omitted=issued.secret is None,
        )

    async def ListCredentials(
        self, request: pb.ListCredentialsRequest, context: Context
    ) -> pb.ListCredentialsResponse:
        """Show a page of an account's credentials."""
        owner = (request.account_id, request.application_id)
        paging = self._paging("ListCredentials", request.page_size, request.page_token, *owner)
        found = await self._service.list_credentials(
            current_caller(), *owner, paging.before, paging.size + 1
        )
        page, token = paging.cut(found, lambda row: row.credential_id)
        return pb.ListCredentialsResponse(
            credentials=map(credential_message, page), next_page_token=token
        )

    async def RevokeCredential(
        self, request: pb.RevokeCredentialRequest, context: Context
    ) -> pb.RevokeCredentialResponse:
        """End a credential at once."""
        credential = await self._service.revoke_credential(
            current_caller(),
            require(request.credential_id, "credential_id"),
            _request("RevokeCredential", request, request.request_id),
        )
        return pb.RevokeCredentialResponse(credential=credential_message(credential))

    async def CreateTestNumber(
        self, request: pb.CreateTestNumberRequest, context: Context
    ) -> pb.CreateTestNumberResponse:
        """Create a fictitious number with a fixed code."""
        shown = await self._service.create_test_number(
            current_caller(),
            require(request.application_id, "application_id"),
            request.phone_number,
            Secret(request.code),
            _request("CreateTestNumber", request, request.request_id),
        )
        return pb.CreateTestNumberResponse(test_number=test_number_message(shown))

    async def ListTestNumbers(
        self, request: pb.ListTestNumbersRequest, context: Context
    ) -> pb.ListTestNumbersResponse:
        """Show a page of an application's live test numbers."""
        application_id = require(request.application_id, "application_id")
        paging = self._paging(
            "ListTestNumbers", request.page_size, request.page_token, application_id
        )
        found = await self._service.list_test_numbers(
            current_caller(), application_id, paging.before, paging.size + 1
        )
        page, token = paging.cut(found, lambda shown: shown.row.phone_index.hex())
        return pb.ListTestNumbersResponse(
            test_numbers=map(test_number_message, page), next_page_token=token
        )

    async def DeleteTestNumber(
        self, request: pb.DeleteTestNumberRequest, context: Context
    ) -> pb.DeleteTestNumberResponse:
        """End a test number."""
        await self._service.delete_test_number(
            current_caller(),
            require(request.application_id, "application_id"),
            require(request.phone_number, "phone_number"),
            _request("DeleteTestNumber", request, request.request_id),
        )
        return pb.DeleteTestNumberResponse()

    async def ListUsage(
        self, request: pb.ListUsageRequest, context: Context
    ) -> pb.ListUsageResponse:
        """Show a page of what an account used."""
        owner = (request.account_id, request.application_id)
        days = days_of(request, self._clock.now())
        # An end left open moves with the day, and the token must not.
        times = (str(request.start_time), str(request.end_time))
        size = page_size(request.page_size, default=_USAGE_PAGE, maximum=_MOST_USAGE)
        paging = self._paging("ListUsage", size, request.page_token, *owner, *times, most=size)
        query = UsageQuery("", "", *days, cell_of(paging.before), paging.size + 1)
        found = await self._service.list_usage(current_caller(), *owner, query)
        page, token = paging.cut(found, cursor_of)
        return pb.ListUsageResponse(rows=map(usage_message, page), next_page_token=token)

    async def GrantAccess(
        self, request: pb.GrantAccessRequest, context: Context
    ) -> pb.GrantAccessResponse:
        """Refuse: published ahead of grants."""
        _unimplemented()

    async def RevokeAccess(
        self, request: pb.RevokeAccessRequest, context: Context
    ) -> pb.RevokeAccessResponse:
        """Refuse: published ahead of grants."""
        _unimplemented()

    async def ListGrants(
        self, request: pb.ListGrantsRequest, context: Context
    ) -> pb.ListGrantsResponse:
        """Refuse: published ahead of grants."""
        _unimplemented()

    async def GetSigningKeys(
        self, request: pb.GetSigningKeysRequest, context: Context
    ) -> pb.GetSigningKeysResponse:
        """Show the public keys, a set per use."""
        jwks = json.dumps(self._receipt_keys(), separators=(",", ":"))
        return pb.GetSigningKeysResponse(key_sets=[pb.KeySet(use=pb.KEY_USE_RECEIPT, jwks=jwks)])

    def _paging(
        self, method: str, wanted: int, token: str, *filters: str, most: int = MAX_PAGE_SIZE
    ) -> "_Paging":
        """Return where a page begins; raises `InvalidArgument` for size and token."""
        size = page_size(wanted, maximum=most)
        before = self._tokens.open(current_caller(), method, token, *filters)
        return _Paging(self._tokens, method, filters, size, before)


class _Paging(NamedTuple):
    """One page of a list: how many rows, after which one, and how the next one is found."""

    tokens: PageTokens
    method: str
    filters: tuple[str, ...]
    size: int
    before: str

    def cut(self, found: list[T], cursor: Callable[[T], str]) -> tuple[list[T], str]:
        """Return the page, and the token of the next one where `found` holds a row more."""
        page = found[: self.size]
        if len(found) <= self.size:
            return page, ""
        last = cursor(page[-1])
        return page, self.tokens.seal(current_caller(), self.method, last, *self.filters)


def _request(method: str, message: Message, request_id: str) -> Request:
    check_request_id(request_id)
    body = message.SerializeToString(deterministic=True) if request_id else b""
    return Request(method, request_id, body)


def _unimplemented() -> NoReturn:
    raise Unimplemented("this method does not exist yet")
