"""Refuses unsafe configurations before anything is opened, with one line per fault."""

import ipaddress
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from watchword.config import WORLDS, Config, ConfigError, Store
from watchword.core.ports import DAY, SECOND, Millis
from watchword.fraud.limits import BOUNDS

MAKE_BELIEVE = frozenset({"console", "sandbox"})
"""Carriers that send nothing to anybody: never where real people wait for codes."""

SHORTEST_RETENTION: Millis = DAY
LONGEST_RETENTION: Millis = 400 * DAY
LARGEST_POOL = 200
LEVELS = ("debug", "info", "warning", "error")

_IN_SECONDS = frozenset({"first_cooldown"})
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_HIGHEST_PORT = 65535


def check(config: Config, *, dev: bool, environ: Mapping[str, str] | None = None) -> None:
    """Raise `ConfigError` where `faults` finds any."""
    found = list(faults(config, dev=dev, environ=environ))
    if found:
        raise ConfigError(*found)


def faults(config: Config, *, dev: bool, environ: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield one line for each reason why a server with this configuration must not start."""
    yield from _addresses(config)
    yield from _values(config)
    yield from _store(config.store)
    yield from _tls(config)
    yield from _dev(config) if dev else _real(config)
    if not dev and config.world == "production":
        yield from _production(config, os.environ if environ is None else environ)


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[v6]:port`. Raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ValueError("not host:port")
    if int(port) > _HIGHEST_PORT:
        raise ValueError("no such port")
    return host, int(port)


def is_loopback(text: str) -> bool:
    """Tell whether an address is reachable from this host alone; names are not, but localhost."""
    host, _ = parse_address(text)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listeners(config: Config) -> dict[str, str]:
    return {
        "listen": config.listen,
        "http_listen": config.http_listen,
        "callback_listen": config.callback_listen,
    }


def _addresses(config: Config) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name, text in _listeners(config).items():
        try:
            _, port = parse_address(text)
        except ValueError:
            yield f"{name}: must be host:port"
            continue
        if port and text in seen:
            yield f"{name}: is the same address as {seen[text]}"
        seen[text] = name


def _loopback(text: str) -> bool:
    try:
        return is_loopback(text)
    except ValueError:
        return True  # reported as malformed already


def _values(config: Config) -> Iterator[str]:
    if config.world not in WORLDS:
        yield "world: must be dev, sandbox or production"
    if config.logs.level not in LEVELS:
        yield "logs.level: must be debug, info, warning or error"
    if not config.issuer or len(config.issuer) > 128 or not config.issuer.isprintable():  # noqa: PLR2004
        yield "issuer: must be 1 to 128 printable characters"
    for name, (low, high) in BOUNDS.items():
        if not low <= getattr(config.limits, name) <= high:
            unit = SECOND if name in _IN_SECONDS else 1
            yield f"limits.{name}: must lie between {low // unit} and {high // unit}"
    if not SHORTEST_RETENTION <= config.retention.verifications <= LONGEST_RETENTION:
        yield "retention.verifications: must lie between 1 and 400 days, in seconds"


def _store(store: Store) -> Iterator[str]:
    if store.kind != "postgresql":
        return
    if bool(store.dsn) == bool(store.dsn_file):
        yield "store: PostgreSQL needs dsn or dsn_file, and not both"
    if store.keys_dsn and store.keys_dsn_file:
        yield "store: keys_dsn or keys_dsn_file, not both"
    for name in ("dsn_file", "keys_dsn_file"):
        path = getattr(store, name)
        if path and not os.access(path, os.R_OK):
            yield f"store.{name}: cannot be read"
    if not 2 <= store.pool <= LARGEST_POOL:  # noqa: PLR2004 - one for reads, one for commands
        yield f"store.pool: must lie between 2 and {LARGEST_POOL}"


def _tls(config: Config) -> Iterator[str]:
    tls = config.tls
    if tls.enabled and not (tls.cert_file and tls.key_file):
        yield "tls: cert_file and key_file belong together"
    if tls.client_ca_file and not tls.enabled:
        yield "tls.client_ca_file: needs cert_file and key_file"
    for name in ("cert_file", "key_file", "client_ca_file"):
        path = getattr(tls, name)
        if path and not os.access(path, os.R_OK):
            yield f"tls.{name}: cannot be read"
    if tls.key_file and _open_to_others(Path(tls.key_file)):
        yield "tls.key_file: is readable by others; chmod 600"


def _dev(config: Config) -> Iterator[str]:
    if config.world != "dev":
        yield "world: --dev serves a dev store only"
    for name, text in _listeners(config).items():
        if not _loopback(text):
            yield f"{name}: --dev listens on loopback only"
    for name in config.carriers.tables:
        if name not in MAKE_BELIEVE:
            yield f"carriers.{name}: --dev takes no real carrier"


def _real(config: Config) -> Iterator[str]:
    if config.world == "dev":
        yield "world: dev is for --dev only; use sandbox or production"
    if not config.tls.enabled and not _loopback(config.listen):
        yield "listen: plaintext on an address that is not loopback; set tls.cert_file"
    if not config.carriers.order:
        yield "carriers.order: no channel has a carrier"
    directory = Path(config.keys.directory)
    if not directory.is_dir():
        yield "keys.directory: does not exist; run `watchword init`"
    elif any(_open_to_others(path) for path in (directory, *directory.iterdir())):
        yield "keys.directory: keys are readable by others; chmod 700, files 600"


def _production(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    for name in config.carriers.tables:
        if name in MAKE_BELIEVE:
            yield f"carriers.{name}: sends nothing; not in production"
    tests: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("reflection: not in production", lambda: config.reflection),
        ("logs.level: debug is not for production", lambda: config.logs.level == "debug"),
        ("store.path: memory keeps nothing", lambda: ":memory:" in config.store.path),
        ("GRPC_TRACE: prints what calls carry; unset it", lambda: bool(environ.get("GRPC_TRACE"))),
        (
            "GRPC_VERBOSITY: DEBUG prints what calls carry; unset it",
            lambda: environ.get("GRPC_VERBOSITY", "").upper() == "DEBUG",
        ),
    )
    for line, unsafe in tests:
        if unsafe():
            yield line


def _open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False  # reported as unreadable
