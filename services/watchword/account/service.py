"""The use cases of the account room: what happens between a call's values and the store."""

import base64
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from watchword.account import fields, model
from watchword.account.drafts import (
    AccountWish,
    ApplicationWish,
    CapBounds,
    account_draft,
    account_patch,
    application_draft,
    application_patch,
)
from watchword.account.model import Lifetime, RequestKey
from watchword.account.store import AccountStore, ListQuery, UsageQuery, UsageRow, Written
from watchword.account.test_numbers import ShownTestNumber, TestNumberKeeper
from watchword.core.errors import InvalidArgument, PermissionDenied
from watchword.core.ids import new_id
from watchword.core.ports import Clock, Entropy
from watchword.core.secret import Secret
from watchword.tenancy.directory import Directory
from watchword.tenancy.model import Account, Application, Caller, Credential
from watchword.vault.derive import credential_hash, request_mac
from watchword.vault.index import BlindIndex
from watchword.vault.keyring import KeyProvider

T = TypeVar("T")

_SECRET_BYTES = 32


class Request(NamedTuple):
    """A call's method, its `request_id` ("" for none) and the deterministic bytes of its body."""

    method: str
    request_id: str
    body: bytes


class CredentialWish(NamedTuple):
    """What a caller asks a credential to be, unchecked."""

    account_id: str
    application_id: str
    display_name: str
    scopes: tuple[str, ...]
    lifetime: Lifetime


class IssuedCredential(NamedTuple):
    """A new credential and its secret; None where the call repeats an earlier one."""

    credential: Credential
    secret: Secret[str] | None


@dataclass(slots=True)
class AccountService:
    """Keeps the tenancy for a proven caller, whose scope for the call was checked before.

    What belongs to an account that the caller does not see is `NotFound`. Every change is
    known to `directory` before a method returns, so that a revocation holds at once.
    """

    store: AccountStore
    directory: Directory
    provider: KeyProvider
    index: BlindIndex
    test_numbers: TestNumberKeeper
    clock: Clock
    entropy: Entropy
    bounds: CapBounds

    async def create_account(self, caller: Caller, wish: AccountWish, request: Request) -> Account:
        """Create an account on trial; `wish` names every field. For operators."""
        _check_operator(caller)
        account_id = new_id("AC", self.clock.now(), self.entropy)
        draft = account_draft(account_id, self._account_patch(account_id, wish))
        written = await self.store.create_account(draft, caller, self._key(caller, request))
        return self._known(written).row

    async def get_account(self, caller: Caller, account_id: str) -> Account:
        """Return an account, the caller's own where the id is ""."""
        account_id = own_account(caller, account_id)
        account = await self.store.account(account_id)
        if account is None or not model.visible(account_id, caller):
            raise model.no_account()
        return account

    async def list_accounts(self, caller: Caller, before: str, limit: int) -> list[Account]:
        """Return a page of all accounts, newest first. For operators."""
        _check_operator(caller)
        return await self.store.list_accounts(ListQuery("", "", before, limit))

    async def update_account(
        self, caller: Caller, account_id: str, wish: AccountWish, request: Request
    ) -> Account:
        """Change an account; limits, regions and state are the operator's to change."""
        patch = self._account_patch(account_id, wish, "account.")
        if patch.operators:
            _check_operator(caller)
        written = await self.store.update_account(
            account_id, patch, caller, self._key(caller, request)
        )
        return self._known(written).row

    async def suspend_account(
        self, caller: Caller, account_id: str, reason: str, request: Request
    ) -> Account:
        """Suspend an account, for a reason that its audit leaf commits to. For operators."""
        _check_operator(caller)
        reason = fields.name("reason", reason, fields.MAX_REASON)
        written = await self.store.suspend_account(
            account_id, reason, caller, self._key(caller, request)
        )
        return self._known(written).row

    async def create_application(
        self, caller: Caller, account_id: str, wish: ApplicationWish, request: Request
    ) -> Application:
        """Create an application; `wish` names every field but the grant of custom codes.

        Which certificate speaks for whom is the operator's to say: the ids belong to the
        mesh, and whoever maps one first would else have it.
        """
        patch = application_patch(wish, caller)
        if patch.spiffe_ids:
            _check_operator(caller)
        account_id = own_account(caller, account_id)
        application_id = new_id("AP", self.clock.now(), self.entropy)
        written = await self.store.create_application(
            application_draft(application_id, account_id, patch),
            caller,
            self._key(caller, request),
        )
        return self._known(written).row

    async def get_application(self, caller: Caller, application_id: str) -> Application:
        """Return an application."""
        application = await self.store.application(application_id)
        if application is None or not model.visible(application.account_id, caller):
            raise model.no_application()
        return application

    async def list_applications(
        self, caller: Caller, account_id: str, before: str, limit: int
    ) -> list[Application]:
        """Return a page of an account's applications, newest first."""
        account = await self.get_account(caller, account_id)
        return await self.store.list_applications(ListQuery(account.account_id, "", before, limit))

    async def update_application(
        self, caller: Caller, application_id: str, wish: ApplicationWish, request: Request
    ) -> Application:
        """Change an application; custom codes and SPIFFE ids are the operator's to grant."""
        if wish.custom_code_granted is not None or wish.spiffe_ids is not None:
            _check_operator(caller)
        patch = application_patch(wish, caller, "application.")
        written = await self.store.update_application(
            application_id, patch, caller, self._key(caller, request)
        )
        return self._known(written).row

    async def create_credential(
        self, caller: Caller, wish: CredentialWish, request: Request
    ) -> IssuedCredential:
        """Create a credential with scopes that the caller has."""
        scopes = fields.scopes("scopes", wish.scopes, caller)
        if not scopes:
            raise InvalidArgument("at least one scope is required", field="scopes")
        account_id = wish.account_id
        if not (caller.operator and wish.application_id):
            account_id = own_account(caller, account_id)
        draft, secret = new_credential(self.provider, self.clock, self.entropy)
        draft = draft._replace(
            account_id=account_id,
            application_id=wish.application_id,
            display_name=fields.optional("display_name", wish.display_name),
            scopes=scopes,
        )
        written = self._known(
            await self.store.create_credential(
                draft, wish.lifetime, caller, self._key(caller, request)
            )
        )
        return IssuedCredential(written.row, None if written.replayed else secret)

    async def list_credentials(
        self, caller: Caller, account_id: str, application_id: str, before: str, limit: int
    ) -> list[Credential]:
        """Return a page of an account's credentials, revoked ones included, newest first."""
        query = await self._query(caller, account_id, application_id)
        return await self.store.list_credentials(query._replace(before=before, limit=limit))

    async def revoke_credential(
        self, caller: Caller, credential_id: str, request: Request
    ) -> Credential:
        """Revoke a credential; from the reply on nobody authenticates with it."""
        written = await self.store.revoke_credential(
            credential_id, caller, self._key(caller, request)
        )
        return self._known(written).row

    async def create_test_number(
        self,
        caller: Caller,
        application_id: str,
        number: str,
        code: Secret[str],
        request: Request,
    ) -> ShownTestNumber:
        """Create a test number, or renew the one that exists."""
        application = await self.get_application(caller, application_id)
        shown = await self.test_numbers.create(
            caller, application, number, code, self._key(caller, request)
        )
        self.directory.forget(application_id)
        return shown

    async def list_test_numbers(
        self, caller: Caller, application_id: str, before: str, limit: int
    ) -> list[ShownTestNumber]:
        """Return a page of an application's live test numbers."""
        application = await self.get_application(caller, application_id)
        return await self.test_numbers.list(application, before, limit)

    async def delete_test_number(
        self, caller: Caller, application_id: str, number: str, request: Request
    ) -> None:
        """End a test number."""
        application = await self.get_application(caller, application_id)
        await self.test_numbers.delete(caller, application, number, self._key(caller, request))
        self.directory.forget(application_id)

    async def list_usage(
        self, caller: Caller, account_id: str, application_id: str, query: UsageQuery
    ) -> list[UsageRow]:
        """Return a page of what an account used; `query` names days, place and length."""
        owner = await self._query(caller, account_id, application_id)
        return await self.store.list_usage(
            query._replace(account_id=owner.account_id, application_id=owner.application_id)
        )

    async def _query(self, caller: Caller, account_id: str, application_id: str) -> ListQuery:
        """Return a query about an account, or one application of it, that the caller sees."""
        account = await self.get_account(caller, account_id)
        if application_id:
            application = await self.get_application(caller, application_id)
            if application.account_id != account.account_id:
                raise model.no_application()
        return ListQuery(account.account_id, application_id, "", 0)

    def _account_patch(
        self, account_id: str, wish: AccountWish, prefix: str = ""
    ) -> model.AccountPatch:
        return account_patch(
            wish, self.bounds, lambda phone: self.index.phone(account_id, phone.e164), prefix
        )

    def _key(self, caller: Caller, request: Request) -> RequestKey | None:
        return request_key(self.provider, caller, request)

    def _known(self, written: Written[T]) -> Written[T]:
        self.directory.forget("")
        return written


def own_account(caller: Caller, account_id: str) -> str:
    """Return the account that a call is about: the caller's own where `account_id` is "".

    Raises `InvalidArgument` where an operator, who has none, names none.
    """
    if account_id or caller.account_id:
        return account_id or caller.account_id
    raise InvalidArgument("an operator names the account", field="account_id")


def new_credential(
    provider: KeyProvider, clock: Clock, entropy: Entropy
) -> tuple[Credential, Secret[str]]:
    """Return a credential without owner and scopes, and its secret: 256 random bits."""
    text = base64.urlsafe_b64encode(entropy.token(_SECRET_BYTES)).rstrip(b"=").decode()
    credential_id = new_id("CR", clock.now(), entropy)
    draft = Credential(
        credential_id=credential_id,
        account_id="",
        application_id="",
        version=1,
        display_name="",
        scopes=frozenset(),
        secret_hash=credential_hash(provider, credential_id, text),
        create_time=0,
        expire_time=0,
        revoke_time=0,
    )
    return draft, Secret(text)


def request_key(provider: KeyProvider, caller: Caller, request: Request) -> RequestKey | None:
    """Return the key under which a call's effect is remembered, None without a request id."""
    if not request.request_id:
        return None
    scope = caller.application_id or caller.account_id or caller.credential_id
    mac = request_mac(provider, request.body)
    return RequestKey(scope, request.method, request.request_id, mac)


def _check_operator(caller: Caller) -> None:
    if not caller.operator:
        raise PermissionDenied("only an operator may change this")
