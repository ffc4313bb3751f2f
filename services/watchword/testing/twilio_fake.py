"""A stand-in for Twilio's messaging API (2010-04-01) on loopback, with state and faults.

It checks credentials, reads forms, keeps message resources and their states, and can be
told to throttle, fail, stall, or take a message and then hang up. Duplicates show in
`messages`, and every request, refused ones included, in `requests`.
"""

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from aiohttp import web

ACCOUNT_SID = "AC" + "a1" * 16
AUTH_TOKEN = "token-of-the-fake"  # noqa: S105 - it opens nothing but this fake
API_KEY_SID = "SK" + "b2" * 16
API_KEY_SECRET = "secret-of-the-fake"  # noqa: S105 - the same
FROM_NUMBER = "+12025550123"
SERVICE_SID = "MG" + "c3" * 16

_DATE = "Fri, 15 Jan 2027 08:00:00 +0000"
_MAX_BODY = 1_600
_FINAL = frozenset({"delivered", "undelivered", "failed", "sent"})


class Fault(StrEnum):
    """What goes wrong with one request, beside a plain refusal."""

    DROP_BEFORE = "drop before taking"
    DROP_AFTER = "drop after taking"
    CUT_ANSWER = "cut the answer to a message that was taken"
    STALL_BEFORE = "never answer, not taken"
    STALL_AFTER = "never answer, taken"


class Answer(NamedTuple):
    """A refusal: the HTTP status, Twilio's error code, and headers such as Retry-After."""

    status: int
    code: int = 0
    headers: Mapping[str, str] = {}


class Request(NamedTuple):
    """What came over the wire."""

    method: str
    path: str
    authorization: str
    content_type: str
    form: tuple[tuple[str, str], ...]


@dataclass
class FakeMessage:
    """A message resource."""

    sid: str
    to: str
    sender: str
    service: str
    body: str
    status: str = "queued"
    error_code: int | None = None


@dataclass
class TwilioFake:
    """The state of the stand-in; `base_url` is where it listens."""

    base_url: str = ""
    messages: list[FakeMessage] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    script: deque[Fault | Answer] = field(default_factory=deque)
    by_number: dict[str, Fault | Answer] = field(default_factory=dict)
    born: tuple[str, int | None] = ("queued", None)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)

    def advance(self, sid: str, status: str, error_code: int | None = None) -> None:
        """Move a message to another state, as the network does."""
        message = self._find(sid)
        if message is None:
            raise KeyError(sid)
        message.status, message.error_code = status, error_code

    def app(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application()
        base = "/2010-04-01/Accounts/{account}/Messages"
        app.router.add_post(f"{base}.json", self._create)
        app.router.add_post(f"{base}/{{sid}}.json", self._update)
        app.router.add_get(f"{base}/{{sid}}.json", self._fetch)
        return app

    async def _create(self, request: web.Request) -> web.StreamResponse:
        form = await self._record(request)
        refused = self._unauthorised(request)
        if refused is not None:
            return refused
        fault = self._fault(form.get("To", ""))
        if isinstance(fault, Answer):
            return _error(fault.status, fault.code, fault.headers)
        if fault in (Fault.DROP_BEFORE, Fault.STALL_BEFORE):
            return await self._break(request, fault)
        code = _refusal(form)
        if code:
            return _error(400, code)
        message = self._take(form)
        if fault is not None:
            return await self._break(request, fault, message)
        return web.json_response(_resource(message), status=201)

    async def _update(self, request: web.Request) -> web.StreamResponse:
        form = await self._record(request)
        refused = self._unauthorised(request)
        if refused is not None:
            return refused
        message = self._find(request.match_info["sid"])
        if message is None:
            return _error(404, 20404)
        if form.get("Body") != "":
            return _error(400, 21619)
        if message.status not in _FINAL:
            # A message that is on its way cannot be redacted yet.
            return _error(400, 20009)
        message.body = ""
        return web.json_response(_resource(message))

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        await self._record(request)
        refused = self._unauthorised(request)
        if refused is not None:
            return refused
        message = self._find(request.match_info["sid"])
        return _error(404, 20404) if message is None else web.json_response(_resource(message))

    async def _record(self, request: web.Request) -> dict[str, str]:
        posted = await request.post()
        form = tuple((name, value) for name, value in posted.items() if isinstance(value, str))
        self.requests.append(
            Request(
                request.method,
                request.raw_path,
                request.headers.get("Authorization", ""),
                request.content_type,
                form,
            )
        )
        return dict(form)

    def _unauthorised(self, request: web.Request) -> web.Response | None:
        if request.match_info["account"] != ACCOUNT_SID:
            return _error(404, 20404)
        logins = (f"{ACCOUNT_SID}:{AUTH_TOKEN}", f"{API_KEY_SID}:{API_KEY_SECRET}")
        known = {f"Basic {base64.b64encode(login.encode()).decode()}" for login in logins}
        return None if request.headers.get("Authorization") in known else _error(401, 20003)

    def _fault(self, to: str) -> Fault | Answer | None:
        return self.script.popleft() if self.script else self.by_number.get(to)

    def _take(self, form: Mapping[str, str]) -> FakeMessage:
        message = FakeMessage(
            sid=f"SM{len(self.messages):032x}",
            to=form["To"],
            sender=form.get("From", ""),
            service=form.get("MessagingServiceSid", ""),
            body=form["Body"],
            status=self.born[0],
            error_code=self.born[1],
        )
        self.messages.append(message)
        return message

    def _find(self, sid: str) -> FakeMessage | None:
        return next((message for message in self.messages if message.sid == sid), None)

    async def _break(
        self, request: web.Request, fault: Fault, message: FakeMessage | None = None
    ) -> web.StreamResponse:
        if fault in (Fault.STALL_BEFORE, Fault.STALL_AFTER):
            await self.stalled.wait()
        answer = web.StreamResponse(status=201, headers={"Content-Length": "4096"})
        if fault is Fault.CUT_ANSWER and message is not None:
            await answer.prepare(request)
            await answer.write(b'{"sid": "SM')
        if request.transport is not None:
            # An abort drops what was written; the cut answer must get as far as it goes.
            end = request.transport.close if message else request.transport.abort
            end()
        return answer


def _refusal(form: Mapping[str, str]) -> int:
    """Return the error code for a form that Twilio would refuse, 0 where it is fine."""
    to, body = form.get("To", ""), form.get("Body", "")
    checks: tuple[tuple[int, Callable[[], bool]], ...] = (
        (21604, lambda: not to),
        (21211, lambda: not (to.startswith("+") and to[1:].isascii() and to[1:].isdigit())),
        (21603, lambda: not (form.get("From") or form.get("MessagingServiceSid"))),
        (21606, lambda: form.get("From", FROM_NUMBER) != FROM_NUMBER),
        (21701, lambda: form.get("MessagingServiceSid", SERVICE_SID) != SERVICE_SID),
        (21619, lambda: not body),
        (21617, lambda: len(body) > _MAX_BODY),
    )
    return next((code for code, applies in checks if applies()), 0)


def _error(status: int, code: int, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {
        "code": code or None,
        "message": "refused by the fake",
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return web.json_response(body, status=status, headers=headers)


def _resource(message: FakeMessage) -> dict[str, object]:
    return {
        "account_sid": ACCOUNT_SID,
        "api_version": "2010-04-01",
        "body": message.body,
        "date_created": _DATE,
        "date_sent": None,
        "date_updated": _DATE,
        "direction": "outbound-api",
        "error_code": message.error_code,
        "error_message": None,
        "from": message.sender or None,
        "messaging_service_sid": message.service or None,
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": "USD",
        "sid": message.sid,
        "status": message.status,
        "subresource_uris": {},
        "to": message.to,
        "uri": f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{message.sid}.json",
    }


@asynccontextmanager
async def twilio_fake() -> AsyncIterator[TwilioFake]:
    """Serve a new stand-in on a free loopback port."""
    fake = TwilioFake()
    runner = web.AppRunner(fake.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        fake.stalled.set()
        await runner.cleanup()
