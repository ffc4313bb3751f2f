"""The Twilio carrier: SMS through Twilio's Programmable Messaging REST API, 2010-04-01.

Settings (`[carriers.twilio]`):

| setting | default | meaning |
|---|---|---|
| `account_sid` | required | `AC…`, whose messages they are |
| `auth_token_file` | | file (mode 0600) with the account's auth token |
| `api_key_sid`, `api_key_secret_file` | | instead of the token: an API key, `SK…` |
| `from_number` | | sender: E.164, short code or alphanumeric |
| `messaging_service_sid` | | instead of the sender: `MG…` |
| `base_url` | `https://api.twilio.com` | the API; http to a loopback address only |
| `timeout_ms`, `connect_timeout_ms` | `8000`, `3000` | longest call, longest wait for a connection |
| `connections` | `64` | size of the pool |
| `redact`, `redact_after_ms` | `false`, `60000` | blank the body at Twilio some time after it was taken |
| `voice` | `false` | refused: calls need callback ingress |

Twilio has no idempotency key for messages: what is repeated is sent twice.
"""  # noqa: E501 - a table row is one line

import base64
import contextlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar, Self

import aiohttp
import orjson

from watchword.delivery.carrier import (
    Ambiguous,
    Capabilities,
    Channel,
    Message,
    Misconfigured,
    ReceiptSink,
    Submitted,
    Trust,
    Unreachable,
)
from watchword_adapters.carriers.twilio_errors import failure, refusal
from watchword_adapters.carriers.twilio_redaction import Redactor
from watchword_adapters.carriers.twilio_settings import TwilioSettings, read_settings

_MAX_ANSWER_BYTES = 65_536
_KEEPALIVE_SECONDS = 15
_DNS_SECONDS = 300
_BORN_FAILED = frozenset({"failed", "undelivered", "canceled"})


class TwilioCarrier:
    """Posts message resources; one pool of connections for the process."""

    name: ClassVar[str] = "twilio"
    capabilities: ClassVar[Capabilities] = Capabilities(
        channels=frozenset({Channel.SMS}), trust=Trust.OPERATOR
    )

    def __init__(self, settings: TwilioSettings) -> None:
        """Prepare; nothing is opened before `open`."""
        self._settings = settings
        self._messages = f"{settings.base_url}/2010-04-01/Accounts/{settings.account_sid}/Messages"
        self._sender = (
            {"MessagingServiceSid": settings.messaging_service_sid}
            if settings.messaging_service_sid
            else {"From": settings.from_number}
        )
        self._session: aiohttp.ClientSession | None = None
        self._redactor: Redactor | None = None

    @classmethod
    def create(cls, settings: Mapping[str, object]) -> Self:
        """Make it from its settings. Raises `ValueError` with one line."""
        return cls(read_settings(settings))

    async def open(self, receipts: ReceiptSink) -> None:
        """Make the pool; connections are opened as they are needed."""
        del receipts
        settings = self._settings
        login = f"{settings.user}:{settings.password.reveal()}".encode()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=settings.connections,
                keepalive_timeout=_KEEPALIVE_SECONDS,
                ttl_dns_cache=_DNS_SECONDS,
            ),
            headers={
                "Authorization": f"Basic {base64.b64encode(login).decode()}",
                "Accept": "application/json",
            },
            timeout=aiohttp.ClientTimeout(
                total=settings.timeout / 1000, connect=settings.connect_timeout / 1000
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        if settings.redact:
            self._redactor = Redactor(self._session, self._messages, settings.redact_after)

    async def send(self, message: Message) -> Submitted:
        """Create one message resource; see `Carrier` for what it raises."""
        form = {"To": message.to.reveal(), **self._sender, "Body": message.body.reveal()}
        status, headers, body = await self._post(form)
        answer = _object(body)
        if status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise refusal(status, _code(answer, "code"), headers)
        if answer.get("status") in _BORN_FAILED:
            raise failure(_code(answer, "error_code"))
        sid = answer.get("sid")
        provider_id = sid if isinstance(sid, str) and sid.isalnum() and sid.isascii() else ""
        if provider_id and self._redactor is not None:
            self._redactor.later(provider_id)
        return Submitted(provider_id)

    async def close(self) -> None:
        """Close the pool; what was not redacted yet stays as it is."""
        if self._redactor is not None:
            await self._redactor.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, form: dict[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of the answer; the body is b"" where it broke off.

        Errors are raised `from None`: the library's own could quote what was sent.
        """
        if self._session is None:
            raise Unreachable("the carrier is not open")
        try:
            async with self._session.post(
                f"{self._messages}.json", data=form, allow_redirects=False
            ) as answer:
                return answer.status, answer.headers, await _read(answer)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise Unreachable("no connection to twilio") from None
        except (aiohttp.InvalidURL, ValueError):
            raise Misconfigured("the request to twilio cannot be built") from None
        except (aiohttp.ClientError, TimeoutError, OSError):
            # The request was on its way: Twilio may have taken the message.
            raise Ambiguous("twilio did not answer") from None


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body, bounded; the status alone tells whether the message was taken."""
    body = b""
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
        while len(body) < _MAX_ANSWER_BYTES:
            chunk = await answer.content.read(_MAX_ANSWER_BYTES - len(body))
            if not chunk:
                return body
            body += chunk
    return b""


def _object(body: bytes) -> Mapping[str, object]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _code(answer: Mapping[str, object], name: str) -> int:
    value = answer.get(name)
    return value if isinstance(value, int) else 0
