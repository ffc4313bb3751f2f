"""The one place where objects meet: from a configuration to a running server and back.

Start order: keys, stores, carriers, services, gRPC, HTTP. Stop order: no new calls, the
ones that run finish, the dispatcher lets go, counters are written, files are closed; what
was accepted is in the store by then.
"""

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watchword.account.drafts import CapBounds
from watchword.account.model import DEV_CAPS, HARD_CAPS
from watchword.account.scopes import SCOPES as ACCOUNT_SCOPES
from watchword.account.service import AccountService
from watchword.account.servicer import AccountServicer
from watchword.account.test_numbers import TestNumberKeeper
from watchword.account.usage import UsageRecorder
from watchword.account.v1 import account_pb2, account_pb2_grpc
from watchword.config import Config
from watchword.core.errors import Unavailable
from watchword.core.numbering import KNOWN_REGIONS
from watchword.core.ports import Clock, Entropy
from watchword.core.system import SystemClock, SystemEntropy
from watchword.delivery.carrier import Carrier, Channel
from watchword.delivery.composer import Composer
from watchword.delivery.dispatcher import Dispatcher
from watchword.delivery.receipts import Receipts
from watchword.delivery.router import Router
from watchword.fraud.budget import AccountCaps
from watchword.rpc.convert import PageTokens
from watchword.rpc.identity import Authenticator
from watchword.rpc.interceptor import Interceptor, Limits
from watchword.server import plugins
from watchword.server.background import Background, watch
from watchword.server.bus import LocalChangeBus
from watchword.server.grpc import GrpcServer, Service, service_of
from watchword.server.http import HttpServer
from watchword.telemetry.logs import Log
from watchword.telemetry.metrics import Metrics
from watchword.tenancy.directory import Directory, follow
from watchword.vault.derive import credential_matches
from watchword.vault.epochs import EpochKeys
from watchword.vault.index import BlindIndex
from watchword.vault.keyring import KeyProvider, KeyUse
from watchword.vault.signing import JWKS_MAX_AGE, ReceiptSigner
from watchword.verification.draft import Drafter
from watchword.verification.handover import HandOver
from watchword.verification.keyed import KeyedValues
from watchword.verification.rebind import Rebinder
from watchword.verification.receipt import ReceiptMaker
from watchword.verification.scopes import SCOPES as VERIFICATION_SCOPES
from watchword.verification.service import VerificationService
from watchword.verification.servicer import VerificationServicer
from watchword.verification.test_numbers import TestNumbers
from watchword.verification.v1 import verification_pb2, verification_pb2_grpc

DRAIN_SECONDS = 15.0
_HEALTH_SECONDS = 1.0
_CHECK_TIMEOUT = 1.0
_SWEEP_SECONDS = 1.0
_SWEEP_BUSY_SECONDS = 0.05
_SWEEP_ROWS = 200
_EPOCH_SECONDS = 600.0


@dataclass(slots=True)
class Parts:
    """What a server is made of; tests look inside, nobody else has to."""

    provider: KeyProvider
    stores: plugins.Stores
    directory: Directory
    carriers: dict[str, Carrier]
    epochs: EpochKeys
    signer: ReceiptSigner
    dispatcher: Dispatcher
    usage: UsageRecorder
    verification: VerificationService
    account: AccountService


class Server:
    """A whole Watchword in this process; `start`, then `stop`."""

    def __init__(
        self,
        config: Config,
        log: Log,
        *,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        create: bool = False,
        limits: Limits | None = None,
    ) -> None:
        """Prepare; nothing is opened. `create` makes a store where there is none."""
        self.config = config
        self.log = log
        self.clock = clock or SystemClock()
        self.entropy = entropy or SystemEntropy()
        self.bus = LocalChangeBus()
        self.metrics = Metrics(
            KNOWN_REGIONS, config.carriers.tables, {"world": config.world, "transport": "grpcio"}
        )
        self.parts: Parts
        self._create = create
        self._limits = limits
        self._grpc: GrpcServer | None = None
        self._http: HttpServer | None = None
        self._background = Background(log)
        self._dispatching: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def endpoint(self) -> str:
        """Return where gRPC listens, `host:port`."""
        return self._grpc.endpoint if self._grpc else self.config.listen

    @property
    def http_endpoint(self) -> str:
        """Return where HTTP listens, `host:port`."""
        return self._http.endpoint if self._http else self.config.http_listen

    async def open(self) -> Parts:
        """Open keys, stores and carriers and put the services together; no port yet.

        Raises `ConfigError` or the adapter's own refusal, which is one line.
        """
        provider = plugins.keys_adapter(self.config.keys.kind)(Path(self.config.keys.directory))
        carriers = plugins.make_carriers(self.config)
        stores = await plugins.open_stores(
            self.config,
            clock=self.clock,
            bus=self.bus,
            provider=provider,
            create=self._create,
            entropy=self.entropy,
            meter=self.metrics,
        )
        try:
            self.parts = self._assemble(provider, stores, carriers)
        except BaseException:
            await stores.close()
            raise
        return self.parts

    async def start(self, *, bound: Callable[[], None] | None = None) -> None:
        """Open what is not open yet, listen, and begin to dispatch.

        `bound` is called once the ports are known and before the server says it is ready.
        """
        if not hasattr(self, "parts"):
            await self.open()
        parts = self.parts
        try:
            receipts = Receipts(parts.stores.outbox, self.metrics)
            for carrier in parts.carriers.values():
                await carrier.open(receipts)
            self._grpc = GrpcServer(self.config, self._services(parts), self._interceptor(parts))
            self._http = self._http_server(parts)
            await self._http.start()
            await self._grpc.start()
            if bound is not None:
                bound()
        except BaseException:
            await self.stop(0)
            raise
        self._dispatching = asyncio.create_task(parts.dispatcher.run(), name="dispatcher")
        watch(self._dispatching, self.log, "dispatcher")
        self._run_background(parts)
        await self._grpc.serving(ready=True)
        self.log.info("serving", endpoint=self.endpoint, world=self.config.world)

    async def stop(self, grace: float = DRAIN_SECONDS) -> None:
        """Drain for at most `grace` seconds, then stop and close everything; only once."""
        if self._stopping:
            return
        self._stopping = True
        if self._grpc is not None:
            await self._grpc.stop(grace)
        await self._background.stop()
        if not hasattr(self, "parts"):
            return
        await self._let_go(self.parts)
        if self._http is not None:
            await self._http.stop()
        self.log.info("stopped")

    async def ready(self) -> bool:
        """Tell whether calls are served: begun, not stopping, and the store answers in time."""
        if self._stopping or self._dispatching is None:
            return False
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT):
                await self.parts.stores.check()
        except (Unavailable, TimeoutError):
            return False
        return True

    async def _let_go(self, parts: Parts) -> None:
        if self._dispatching is not None:
            await parts.dispatcher.stop()
            await asyncio.gather(self._dispatching, return_exceptions=True)
        for carrier in parts.carriers.values():
            await carrier.close()
        try:
            await parts.usage.flush()
        except Unavailable:
            self.log.warning("usage was not written")
        await parts.stores.close()

    # ------------------------------------------------------------------ assembly

    def _assemble(
        self, provider: KeyProvider, stores: plugins.Stores, carriers: dict[str, Carrier]
    ) -> Parts:
        directory = Directory(stores.tenancy)
        epochs = EpochKeys(stores.keystore)
        signer = ReceiptSigner(provider, self.config.issuer, self.clock)
        index = BlindIndex(provider)
        router = Router(carriers, self._routes())
        usage = UsageRecorder(stores.account, self.clock)
        keyed, receipts = KeyedValues(index), ReceiptMaker(provider, index, signer)
        dispatcher = self._dispatcher(stores, carriers, router, epochs)
        verification = VerificationService(
            store=stores.verification,
            directory=directory,
            provider=provider,
            index=index,
            keyed=keyed,
            epochs=epochs,
            signer=signer,
            receipts=receipts,
            drafter=Drafter(self.clock, self.entropy, index, keyed, epochs, receipts),
            test_numbers=TestNumbers(directory, provider, index, self.clock),
            router=router,
            handover=HandOver(dispatcher),
            clock=self.clock,
            entropy=self.entropy,
            bus=self.bus,
            limits=self.config.limits,
            meter=self.metrics,
            usage=usage,
        )
        return Parts(
            provider=provider,
            stores=stores,
            directory=directory,
            carriers=carriers,
            epochs=epochs,
            signer=signer,
            dispatcher=dispatcher,
            usage=usage,
            verification=verification,
            account=self._account_service(stores, directory, provider, index),
        )

    def _routes(self) -> dict[Channel, tuple[str, ...]] | None:
        order = self.config.carriers.order
        return {Channel(name): tuple(names) for name, names in order.items()} or None

    def _dispatcher(
        self,
        stores: plugins.Stores,
        carriers: dict[str, Carrier],
        router: Router,
        epochs: EpochKeys,
    ) -> Dispatcher:
        return Dispatcher(
            outbox=stores.outbox,
            carriers=carriers,
            router=router,
            composer=Composer(epochs),
            limits=self.config.limits,
            clock=self.clock,
            entropy=self.entropy,
            bus=self.bus,
            meter=self.metrics,
            log=self.log,
        )

    def _account_service(
        self,
        stores: plugins.Stores,
        directory: Directory,
        provider: KeyProvider,
        index: BlindIndex,
    ) -> AccountService:
        real = self.config.world == "production"
        return AccountService(
            store=stores.account,
            directory=directory,
            provider=provider,
            index=index,
            test_numbers=TestNumberKeeper(stores.account, provider, index, self.entropy),
            clock=self.clock,
            entropy=self.entropy,
            bounds=CapBounds(AccountCaps(), HARD_CAPS if real else DEV_CAPS),
        )

    def _services(self, parts: Parts) -> tuple[Service, ...]:
        root = parts.provider.current(KeyUse.REQUEST).secret.reveal()
        tokens = PageTokens(hmac.digest(root, b"page tokens", "sha256"))
        rebinder = Rebinder(parts.verification)
        return (
            service_of(
                verification_pb2.DESCRIPTOR.services_by_name["VerificationService"],
                verification_pb2_grpc.add_VerificationServiceServicer_to_server,
                VerificationServicer(parts.verification, rebinder, tokens),
            ),
            service_of(
                account_pb2.DESCRIPTOR.services_by_name["AccountService"],
                account_pb2_grpc.add_AccountServiceServicer_to_server,
                AccountServicer(parts.account, tokens, parts.signer.jwks, self.clock),
            ),
        )

    def _interceptor(self, parts: Parts) -> Interceptor:
        def matches(credential_id: str, secret: str, stored: bytes) -> bool:
            return credential_matches(parts.provider, credential_id, secret, stored)

        authenticator = Authenticator(
            parts.directory,
            matches,
            self.clock,
            self.metrics,
            certificates=self.config.tls.mutual,
        )
        return Interceptor(
            authenticator,
            self.metrics,
            self.log,
            self.entropy,
            scopes={**VERIFICATION_SCOPES, **ACCOUNT_SCOPES},
            limits=self._limits,
        )

    def _http_server(self, parts: Parts) -> HttpServer:
        return HttpServer(
            self.config.http_listen,
            metrics=self.metrics.text,
            jwks=parts.signer.jwks,
            jwks_max_age=JWKS_MAX_AGE,
            ready=self.ready,
        )

    # ---------------------------------------------------------------- background

    def _run_background(self, parts: Parts) -> None:
        async def sweep() -> float:
            retention = self.config.retention.verifications
            touched = await parts.stores.verification.sweep(retention, _SWEEP_ROWS)
            return _SWEEP_BUSY_SECONDS if touched >= _SWEEP_ROWS else _SWEEP_SECONDS

        async def destroy() -> float:
            await parts.epochs.destroy_expired(self.clock.now())
            return _EPOCH_SECONDS

        async def health() -> float:
            if self._grpc is not None:
                await self._grpc.serving(ready=await self.ready())
            return _HEALTH_SECONDS

        async def usage() -> float:
            await parts.usage.run()
            return 0

        async def tenancy() -> float:
            await follow(parts.directory, self.bus)
            return 0

        self._background.every("tenancy", tenancy)
        self._background.every("sweep", sweep)
        self._background.every("code keys", destroy)
        self._background.every("health", health)
        self._background.every("usage", usage)
