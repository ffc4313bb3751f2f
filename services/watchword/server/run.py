"""Runs a server until it is told to stop: checks first, signals, an orderly end."""

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from watchword.account.first import NewIdentity, create_operator
from watchword.config import Config, ConfigError
from watchword.core.ports import Clock, Entropy
from watchword.core.system import SystemClock, SystemEntropy
from watchword.server import checks, dev
from watchword.server.bootstrap import Server
from watchword.server.bus import LocalChangeBus
from watchword.server.plugins import keys_adapter, open_stores
from watchword.telemetry import logs
from watchword.vault.keyring import KeyProvider

Ready = Callable[[Server], None]
"""Called once the server serves: to print where, and how to use it."""

# Long-lived objects are many and calls make few cycles: collect less often.
_GC_THRESHOLD = (50_000, 20, 100)
_LEVELS = {
    "debug": logs.DEBUG,
    "info": logs.INFO,
    "warning": logs.WARNING,
    "error": logs.ERROR,
}


async def run_server(
    config: Config, *, dev_mode: bool, ready: Ready | None = None, log_fd: int = 2
) -> None:
    """Serve until SIGTERM or SIGINT, then stop gracefully.

    Raises `ConfigError`, or an adapter's own refusal, before anything listens.
    """
    checks.check(config, dev=dev_mode)
    clock = SystemClock()
    writer = logs.LineWriter(log_fd)
    log = _log(config, writer, clock)
    logs.capture_libraries(log)
    server = await started(config, log, dev_mode=dev_mode, clock=clock)
    try:
        stop = _on_signals()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLD)
        if ready is not None:
            ready(server)
        await stop.wait()
        log.info("stopping")
    finally:
        await server.stop()
        writer.close()


async def started(config: Config, log: logs.Log, *, dev_mode: bool, clock: Clock) -> Server:
    """Return a server that serves; in dev mode with its keys and credentials in place."""
    entropy = SystemEntropy()
    if dev_mode:
        dev.prepare(config, clock, entropy)
    server = Server(config, log, clock=clock, entropy=entropy, create=dev_mode)
    if not dev_mode:
        await server.start()
        return server
    directory = Path(config.store.path).parent
    parts = await server.open()
    values = await dev.credentials(parts, directory, clock, entropy, config.world)
    await server.start(bound=lambda: dev.write(directory, server.endpoint, values))
    return server


def serve(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine, `run_server(…)` for example, on uvloop."""
    uvloop.run(main)


async def initialise(config: Config) -> NewIdentity:
    """Make keys, store and the first operator's credential of a new deployment.

    Raises `ConfigError` where there is a store already, or an adapter's own refusal.
    """
    clock, entropy = SystemClock(), SystemEntropy()
    provider = _first_keys(config, clock, entropy)
    stores = await open_stores(
        config,
        clock=clock,
        bus=LocalChangeBus(),
        provider=provider,
        create=True,
        entropy=entropy,
    )
    try:
        return await create_operator(stores.account, provider, clock, entropy)
    finally:
        await stores.close()


def _first_keys(config: Config, clock: Clock, entropy: Entropy) -> KeyProvider:
    path = Path(config.store.path)
    if config.store.kind == "sqlite" and path.exists():
        raise ConfigError(f"{path}: is there already; init makes new deployments only")
    directory = Path(config.keys.directory)
    return keys_adapter(config.keys.kind).create(directory, clock=clock, entropy=entropy)


def _log(config: Config, writer: logs.LineWriter, clock: Clock) -> logs.Log:
    return logs.Log(writer.write, clock, _LEVELS[config.logs.level])


def _on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
