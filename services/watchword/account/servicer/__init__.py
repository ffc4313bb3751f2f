"""`watchword.account.v1` as gRPC: translates messages, decides nothing."""
# ruff: noqa: ARG002, N802 - gRPC names the methods and hands each of them a context

import json
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar

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
    PageTokens,
    check_request_id,
    page_size,
    require,
)
from watchword.rpc.identity import Context, current_caller
from watchword.tenancy.model import Caller

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
        paging = Paging(self._tokens, "ListAccounts", request, request.page_token)
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
        caller, size = current_caller(), page_size(request.page_size)
        bound = ("ListApplications", _owner(caller, request.account_id))
        before = decode_page_token(request.page_token, *bound)
        found = await self._service.list_applications(caller, request.account_id, before, size + 1)
        page, token = _page(found, size, bound, lambda row: row.application_id)
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
        caller, size = current_caller(), page_size(request.page_size)
        account_id, application_id = request.account_id, request.application_id
        bound = ("ListCredentials", _owner(caller, account_id), application_id)
        before = decode_page_token(request.page_token, *bound)
        found = await self._service.list_credentials(
            caller, account_id, application_id, before, size + 1
        )
        page, token = _page(found, size, bound, lambda row: row.credential_id)
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
        size = page_size(request.page_size)
        application_id = require(request.application_id, "application_id")
        bound = ("ListTestNumbers", application_id)
        before = decode_page_token(request.page_token, *bound)
        found = await self._service.list_test_numbers(
            current_caller(), application_id, before, size + 1
        )
        page, token = _page(found, size, bound, lambda shown: shown.row.phone_index.hex())
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
        caller = current_caller()
        size = page_size(request.page_size, default=_USAGE_PAGE, maximum=_MOST_USAGE)
        days = days_of(request, self._clock.now())
        # An end left open moves with the day, and the token must not.
        times = (str(request.start_time), str(request.end_time))
        bound = ("ListUsage", _owner(caller, request.account_id), request.application_id, *times)
        after = cell_of(decode_page_token(request.page_token, *bound))
        found = await self._service.list_usage(
            caller,
            request.account_id,
            request.application_id,
            UsageQuery("", "", *days, after, size + 1),
        )
        page, token = _page(found, size, bound, cursor_of)
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


def _request(method: str, message: Message, request_id: str) -> Request:
    check_request_id(request_id)
    body = message.SerializeToString(deterministic=True) if request_id else b""
    return Request(method, request_id, body)


def _owner(caller: Caller, account_id: str) -> str:
    return account_id or caller.account_id


def _page(
    found: list[T], size: int, bound: tuple[str, ...], cursor: Callable[[T], str]
) -> tuple[list[T], str]:
    """Return the page, and the token of the next one where one row more was found."""
    page = found[:size]
    more = len(found) > size
    return page, encode_page_token(cursor(page[-1]), *bound) if more else ""


def _unimplemented() -> NoReturn:
    raise Unimplemented("this method does not exist yet")
