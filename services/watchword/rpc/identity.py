"""Who calls: a credential in the `authorization` metadata, or a verified client certificate.

Whatever is wrong with a credential, the caller is told the same. Headers that claim an
origin (`x-forwarded-for` and its kin) are never read. The caller so proven is kept for
the call's own task; servicers ask `current_caller()`.
"""

import base64
import binascii
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from hashlib import sha256
from typing import Any, NoReturn, Protocol, TypeAlias

import grpc.aio

from watchword.core.errors import PermissionDenied, Reason, ResourceExhausted, Unauthenticated
from watchword.core.ids import is_id
from watchword.core.ports import Clock, Millis
from watchword.core.secret import Secret
from watchword.rpc.backoff import Backoff
from watchword.tenancy.directory import Directory
from watchword.tenancy.model import Caller, Credential, Scope

CREDENTIAL_PREFIX = "CR"
MAX_AUTHORIZATION = 1024
ACCOUNT_KEYS = frozenset({"account", "x-account-id"})

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
"""What a servicer's methods are given beside their request."""

Metadata = Iterable[tuple[str, str | bytes]]

CredentialMatch = Callable[[str, str, bytes], bool]
"""Tells whether (credential id, secret) hash to what the store keeps, in constant time."""

_SCHEME = "basic "
_MOST_VERIFIED = 10_000
_NOBODY = "CR" + "0" * 32
_caller: ContextVar[Caller] = ContextVar("watchword_caller")


class AuthMeter(Protocol):
    """Counts calls whose caller could not be established."""

    def auth_failed(self, cause: str) -> None:
        """Count one, by a cause of the closed set in `telemetry.metrics.AUTH_CAUSES`."""
        ...


class CallContext(Protocol):
    """What is read of a gRPC servicer context."""

    def peer(self) -> str:
        """Return the peer's address, `ipv4:127.0.0.1:5555` for example."""
        ...

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what the transport proved of the peer."""
        ...


def current_caller() -> Caller:
    """Return the caller of the call that runs. Raises `Unauthenticated` outside of one."""
    try:
        return _caller.get()
    except LookupError:
        raise Unauthenticated("the credentials are not valid") from None


def bind_caller(caller: Caller) -> None:
    """Make `caller` the current one for the rest of this task."""
    _caller.set(caller)


class Authenticator:
    """Establishes callers; of a secret it holds no more than a digest.

    Secrets are random and of 128 bits at least, so that a plain SHA-256 of a header that
    was found right is a safe name for it. It spares the parsing and the keyed hash on
    every call; a revocation still holds at once, since the credential is read anew.
    """

    def __init__(
        self,
        directory: Directory,
        matches: CredentialMatch,
        clock: Clock,
        meter: AuthMeter,
        *,
        certificates: bool = False,
    ) -> None:
        """`certificates` tells whether the transport verifies client certificates."""
        self._directory = directory
        self._matches = matches
        self._clock = clock
        self._meter = meter
        self._certificates = certificates
        self._backoff = Backoff(clock)
        self._verified: dict[bytes, tuple[Credential, Caller]] = {}

    async def authenticate(
        self, context: CallContext, metadata: Metadata, allowed: frozenset[Scope]
    ) -> Caller:
        """Return the caller, who has one of the scopes `allowed` (empty: none is needed).

        Raises `Unauthenticated`, `PermissionDenied`, or `ResourceExhausted`
        (CALLER_THROTTLED) after too many failures.
        """
        presented: list[str] = []
        claimed: list[str | bytes] = []
        for key, value in metadata:
            if key == "authorization":
                presented.append(value if isinstance(value, str) else "")
            elif key in ACCOUNT_KEYS:
                claimed.append(value)
        if presented or not self._certificates:
            caller = await self._by_credential(context, presented)
        else:
            caller = await self._by_certificate(context)
        if any(account != caller.account_id for account in claimed):
            self._refuse("account_mismatch", "the credential belongs to another account")
        if allowed and allowed.isdisjoint(caller.scopes):
            self._refuse("scope", "the credential lacks the scope that this method needs")
        return caller

    async def _by_credential(self, context: CallContext, presented: list[str]) -> Caller:
        if len(presented) != 1:
            self._fail("duplicate" if presented else "absent", "", peer_host(context.peer()))
        header = presented[0]
        name = sha256(header.encode("utf-8", "replace")).digest()
        verified = self._verified.get(name)
        if verified is not None:
            credential, caller = verified
            known = await self._directory.credential(credential.credential_id)
            if known is credential and self._live(credential):
                return caller
            self._verified.pop(name, None)
        credential = await self._compared(context, header)
        caller = Caller(
            credential.account_id,
            credential.application_id,
            credential.credential_id,
            credential.scopes,
        )
        if len(self._verified) >= _MOST_VERIFIED:
            self._verified.clear()
        self._verified[name] = (credential, caller)
        return caller

    async def _compared(self, context: CallContext, header: str) -> Credential:
        """Return the credential that a header proves, by its secret's keyed hash."""
        peer = peer_host(context.peer())
        credential_id, secret = parse_basic(header)
        wait = self._backoff.wait(credential_id, peer)
        if wait:
            self._throttle(wait)
        if not credential_id:
            self._fail("malformed", "", peer)
        credential = await self._directory.credential(credential_id)
        cause = self._judge(credential, secret)
        if credential is None or cause:
            self._fail(cause, credential_id, peer)
        self._backoff.succeeded(credential_id, peer)
        return credential

    def _live(self, credential: Credential) -> bool:
        # Most never expire: the clock is read for the others alone.
        ends = credential.revoke_time or credential.expire_time
        return not ends or credential.live(self._clock.now())

    def _judge(self, credential: Credential | None, secret: Secret[str]) -> str:
        """Return why the credential does not serve, "" where it does.

        An unknown one costs the same keyed hash and comparison as a known one.
        """
        known = credential.credential_id if credential else _NOBODY
        expected = credential.secret_hash if credential else bytes(32)
        right = self._matches(known, secret.reveal(), expected)
        if credential is None:
            return "unknown"
        if not right:
            return "wrong"
        if not self._live(credential):
            return "revoked" if credential.revoke_time else "expired"
        return ""

    async def _by_certificate(self, context: CallContext) -> Caller:
        spiffe_id = spiffe_id_of(context.auth_context())
        application = None
        if spiffe_id:
            application = await self._directory.application_by_spiffe(spiffe_id)
        if application is None:
            self._fail("certificate" if spiffe_id else "absent", "", "")
        return Caller(
            application.account_id, application.application_id, "", application.spiffe_scopes
        )

    def _fail(self, cause: str, credential_id: str, peer: str) -> NoReturn:
        self._meter.auth_failed(cause)
        if peer:
            self._backoff.failed(credential_id, peer)
        raise Unauthenticated("the credentials are not valid")

    def _throttle(self, wait: Millis) -> NoReturn:
        self._meter.auth_failed("throttled")
        raise ResourceExhausted(
            "too many calls failed to authenticate",
            reason=Reason.CALLER_THROTTLED,
            retry_after=wait,
        )

    def _refuse(self, cause: str, message: str) -> NoReturn:
        self._meter.auth_failed(cause)
        raise PermissionDenied(message)


def parse_basic(text: str) -> tuple[str, Secret[str]]:
    """Return credential id and secret of a Basic value (RFC 7617), ids "" where malformed."""
    if len(text) > MAX_AUTHORIZATION or text[:6].lower() != _SCHEME:
        return "", Secret("")
    try:
        pair = base64.b64decode(text[6:].encode("ascii"), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return "", Secret("")
    credential_id, colon, secret = pair.partition(":")
    if not colon or not secret or not is_id(CREDENTIAL_PREFIX, credential_id):
        return "", Secret("")
    return credential_id, Secret(secret)


def spiffe_id_of(proven: Mapping[str, Any]) -> str:
    """Return the SPIFFE id of a verified client certificate, "" unless it has exactly one URI."""
    found = list(proven.get("peer_spiffe_id", ()))
    if len(found) != 1:
        return ""
    try:
        return bytes(found[0]).decode("ascii")
    except UnicodeDecodeError:
        return ""


def peer_host(peer: str) -> str:
    """Return the host of a peer address; IPv6 by its /64, since one holder has them all."""
    kind, _, rest = peer.partition(":")
    if kind == "ipv4":
        return rest.partition(":")[0]
    if kind == "ipv6":
        address = rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
        return "6:" + _network(address)
    return kind


def _network(address: str) -> str:
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return ""
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return parsed.packed[:8].hex()
