"""The HTTP side: metrics, liveness, readiness and the published receipt keys.

Nothing here knows a tenant or a phone. On a loopback address only loopback names are
taken as Host, so that no web page can read it by rebinding its own name.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from watchword.config import ConfigError
from watchword.server.checks import is_loopback, parse_address

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MAX_BODY = 1024


class HttpServer:
    """Serves `/metrics`, `/livez`, `/readyz` and `/.well-known/jwks.json`."""

    def __init__(
        self,
        listen: str,
        *,
        metrics: Callable[[], bytes],
        jwks: Callable[[], Mapping[str, object]],
        jwks_max_age: int,
        ready: Callable[[], Awaitable[bool]],
    ) -> None:
        """`ready` tells whether calls are being served; `jwks_max_age` is in seconds."""
        self._listen = listen
        self._metrics = metrics
        self._jwks = jwks
        self._jwks_max_age = jwks_max_age
        self._ready = ready
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def endpoint(self) -> str:
        """Return host and port as bound."""
        host, _ = parse_address(self._listen)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises `ConfigError` where the address is taken."""
        middlewares = [_local_names] if is_loopback(self._listen) else []
        app = web.Application(middlewares=middlewares, client_max_size=_MAX_BODY)
        app.on_response_prepare.append(_plain_headers)
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/livez", self._show_live)
        app.router.add_get("/readyz", self._show_ready)
        app.router.add_get("/.well-known/jwks.json", self._show_keys)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=30)
        await self._runner.setup()
        host, port = parse_address(self._listen)
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"http_listen: {self._listen} cannot be bound; is it in use?"
            ) from error
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _show_metrics(self, _: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
        return web.Response(body=self._metrics(), headers=headers)

    async def _show_live(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _show_ready(self, _: web.Request) -> web.Response:
        if await self._ready():
            return web.Response(text="ok\n")
        return web.Response(text="not ready\n", status=503)

    async def _show_keys(self, _: web.Request) -> web.Response:
        headers = {"Cache-Control": f"public, max-age={self._jwks_max_age}"}
        body = orjson.dumps(self._jwks())
        return web.Response(body=body, content_type="application/jwk-set+json", headers=headers)


@web.middleware
async def _local_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    name = (request.url.host or "").lower()
    if name != "localhost" and not _loopback(name):
        return web.Response(text="no such host\n", status=421)
    return await handler(request)


def _loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def _plain_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "watchword"
    response.headers["X-Content-Type-Options"] = "nosniff"
