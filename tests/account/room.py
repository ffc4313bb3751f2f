"""The account room over a memory store, for tests."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from watchword.account.drafts import CapBounds
from watchword.account.first import OPERATOR_SCOPES
from watchword.account.model import HARD_CAPS
from watchword.account.service import AccountService
from watchword.account.servicer import AccountServicer
from watchword.account.test_numbers import TestNumberKeeper
from watchword.account.v1 import account_pb2 as pb
from watchword.audit.leaf import LeafMaker
from watchword.fraud.budget import AccountCaps
from watchword.rpc.convert import PageTokens
from watchword.rpc.identity import bind_caller
from watchword.tenancy.directory import Directory
from watchword.tenancy.model import GRANTABLE, Caller
from watchword.testing.carriers import FakeBus
from watchword.testing.clock import FakeClock
from watchword.testing.entropy import SeededEntropy
from watchword.testing.keys import MemoryKeyProvider
from watchword.testing.memory_account import MemoryAccountStore
from watchword.vault.index import BlindIndex
from watchword.vault.signing import ReceiptSigner

T = TypeVar("T")

OPERATOR = Caller("", "", "CRoperator", OPERATOR_SCOPES)


class Room:
    """The account room over a memory store; `call` speaks to the servicer as a caller."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.provider = MemoryKeyProvider()
        self.entropy = SeededEntropy()
        self.index = BlindIndex(self.provider)
        self.bus = FakeBus()
        self.store = MemoryAccountStore(self.clock, self.bus, LeafMaker(self.provider))
        self.directory = Directory(self.store)
        keeper = TestNumberKeeper(self.store, self.provider, self.index, self.entropy)
        self.service = AccountService(
            store=self.store,
            directory=self.directory,
            provider=self.provider,
            index=self.index,
            test_numbers=keeper,
            clock=self.clock,
            entropy=self.entropy,
            bounds=CapBounds(AccountCaps(), HARD_CAPS),
        )
        signer = ReceiptSigner(self.provider, "test", self.clock)
        self.servicer = AccountServicer(
            self.service, PageTokens(b"k" * 32), signer.jwks, self.clock
        )

    async def call(
        self, caller: Caller, method: Callable[[Any, Any], Awaitable[T]], request: object
    ) -> T:
        bind_caller(caller)
        return await method(request, cast("Any", None))

    async def account(self, name: str = "Acme") -> tuple[str, Caller]:
        """Create an account; return its id and a caller who may do everything in it."""
        response = await self.call(
            OPERATOR, self.servicer.CreateAccount, pb.CreateAccountRequest(display_name=name)
        )
        account_id = response.account.account_id
        return account_id, Caller(account_id, "", f"CR{name}", GRANTABLE)

    async def application(self, caller: Caller) -> str:
        """Create an application that sends everywhere; return its id."""
        response = await self.call(
            caller,
            self.servicer.CreateApplication,
            pb.CreateApplicationRequest(display_name="Shop", enabled_regions=["*"]),
        )
        return response.application.application_id
