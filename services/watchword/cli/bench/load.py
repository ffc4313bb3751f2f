"""The calls of the load, each with the checks that its reply must pass."""

import base64
import json
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from watchword.cli.bench import empty
from watchword.cli.bench.people import phone_number
from watchword.cli.bench.site import Profile
from watchword.cli.bench.wire import Connection, Headers, request_headers
from watchword.client import verification_pb2 as pb
from watchword.core import codes
from watchword.core.ids import parse_verification_id

PURPOSE = "login"
SHORTEST_TTL = 30
_SERVICE = "/watchword.verification.v1.VerificationService"
_SENT = frozenset({pb.SEND_STATE_SUBMITTED, pb.SEND_STATE_DELIVERED})


class WrongReply(Exception):
    """A reply is not what the call must get; says which check failed, without values."""


class Started(NamedTuple):
    """A verification whose code is still to be checked."""

    person: int
    verification_id: str


class Counts:
    """What a generator has seen: `checked` replies, `sent` messages among its checks."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.checked = 0
        self.sent = 0
        self.approved = 0


class Empties:
    """Calls of the empty server."""

    def __init__(self, connections: Sequence[Connection], endpoint: str, profile: Profile) -> None:
        """Send the same metadata as a real call carries."""
        path = f"/{empty.SERVICE}/{empty.METHOD}"
        self._headers = request_headers(endpoint, path, [_authorization(profile)])
        self._connections = connections
        self._turn = 0
        self.counts = Counts()

    async def call(self) -> None:
        """Make one call."""
        self._turn += 1
        connection = self._connections[self._turn % len(self._connections)]
        if await connection.call(self._headers, b"") != b"":
            raise WrongReply("the empty call returned something")
        self.counts.checked += 1


class Verifications:
    """Starts and checks verifications; the oldest that was started is checked next.

    Between a Start and its Check lie as many others as `fill` began, as if people needed
    a while to type: so the message has gone before, and nothing is skipped.
    """

    def __init__(self, connections: Sequence[Connection], endpoint: str, profile: Profile) -> None:
        """Call as the profile's application."""
        metadata = [_authorization(profile)]
        self._start = request_headers(endpoint, f"{_SERVICE}/StartVerification", metadata)
        self._check = request_headers(endpoint, f"{_SERVICE}/CheckVerification", metadata)
        self._connections = connections
        self._application_id = profile.application_id
        self._keys = {int(epoch): bytes.fromhex(key) for epoch, key in profile.epoch_keys.items()}
        self._waiting: deque[Started] = deque()
        self._person = 0
        self.counts = Counts()

    async def start(self, *, abandon: bool = False) -> None:
        """Start the next person's; one to `abandon` lives shortly and is never checked."""
        person, self._person = self._person, self._person + 1
        request = pb.StartVerificationRequest(
            phone_number=phone_number(person),
            purpose=PURPOSE,
            binding=_binding(person),
            request_id=f"bench-start-{person}",
        )
        if abandon:
            request.code_policy.ttl.seconds = SHORTEST_TTL
        reply = await self._call(self._start, person, request.SerializeToString())
        found = pb.StartVerificationResponse.FromString(reply).verification
        _expect(found.state == pb.VERIFICATION_STATE_PENDING, "not pending")
        _expect(found.application_id == self._application_id, "another application")
        _expect(found.recipient_hint[-2:] == phone_number(person)[-2:], "another number")
        _expect(len(found.sends) == 1, "not one message")
        self.counts.checked += 1
        if not abandon:
            self._waiting.append(Started(person, found.verification_id))

    async def check(self) -> None:
        """Check the right code of the one that was started first."""
        started = self._waiting.popleft()
        request = pb.CheckVerificationRequest(
            verification_id=started.verification_id,
            code=self._code(started.verification_id),
            purpose=PURPOSE,
            binding=_binding(started.person),
            request_id=f"bench-check-{started.person}",
        )
        reply = await self._call(self._check, started.person, request.SerializeToString())
        response = pb.CheckVerificationResponse.FromString(reply)
        found = response.verification
        _expect(found.verification_id == started.verification_id, "another verification")
        _expect(found.state == pb.VERIFICATION_STATE_APPROVED, "not approved")
        _expect(response.WhichOneof("result") == "approval", "no approval")
        claims = _claims(response.approval.receipt)
        _expect(claims["verification_id"] == started.verification_id, "another's receipt")
        _expect(claims["aud"] == self._application_id, "a receipt for somebody else")
        self.counts.checked += 1
        self.counts.approved += 1
        self.counts.sent += sum(send.state in _SENT for send in found.sends)

    async def complete(self) -> None:
        """Start one and check another."""
        await self.start()
        await self.check()

    def _call(self, headers: Headers, person: int, message: bytes) -> Any:  # noqa: ANN401 - a future
        return self._connections[person % len(self._connections)].call(headers, message)

    def _code(self, verification_id: str) -> str:
        parsed = parse_verification_id(verification_id)
        if parsed is None or parsed.epoch not in self._keys:
            raise WrongReply("a verification id without a known epoch")
        key = codes.code_key(self._keys[parsed.epoch], verification_id, self._application_id)
        return codes.derive_code(key, 0, parsed.length).reveal()


def _authorization(profile: Profile) -> tuple[str, str]:
    pair = f"{profile.credential_id}:{profile.credential_secret}".encode()
    return "authorization", f"Basic {base64.b64encode(pair).decode()}"


def _binding(person: int) -> bytes:
    return person.to_bytes(16, "big")


def _claims(receipt: str) -> dict[str, Any]:
    try:
        _, body, signature = receipt.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except ValueError:
        raise WrongReply("a receipt that does not read") from None
    _expect(bool(signature), "a receipt without signature")
    return dict(claims)


def _expect(holds: bool, fault: str) -> None:  # noqa: FBT001 - it reads as a sentence
    if not holds:
        raise WrongReply(fault)
