"""The configuration: a TOML file, then `WATCHWORD_…` variables.

An unknown key is an error. Whether what was read makes a safe server is for
`server.checks` to say. Times in the file are seconds, inside they are milliseconds.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from watchword.core.ports import DAY, SECOND, Millis
from watchword.fraud.limits import PhoneLimits

PREFIX = "WATCHWORD_"
WORLDS = ("dev", "sandbox", "production")
CHANNEL_NAMES = ("SMS", "VOICE", "EMAIL")
CLIENT_VARIABLES = frozenset(
    {"WATCHWORD_ENDPOINT", "WATCHWORD_CREDENTIAL_ID", "WATCHWORD_CREDENTIAL_SECRET"}
)
TEST_PREFIX = "WATCHWORD_TEST_"
MASK = "***"
"""Stands for what is not shown."""


class ConfigError(Exception):
    """The configuration does not serve; `lines` says why, one fault a line."""

    def __init__(self, *lines: str) -> None:
        """Keep one line per fault."""
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files. With `client_ca_file` a client certificate is required (mutual TLS)."""

    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""

    @property
    def enabled(self) -> bool:
        """Tell whether the server speaks TLS."""
        return bool(self.cert_file or self.key_file)

    @property
    def mutual(self) -> bool:
        """Tell whether clients must show a certificate."""
        return bool(self.client_ca_file)


@dataclass(frozen=True, slots=True)
class Store:
    """Where state is kept: the adapter's name, and what it needs to find it.

    `path` is SQLite's file; the rest is PostgreSQL's. A DSN may hold a password: it stands
    in no repr, and whoever prints one prints `without_password` of it.
    """

    kind: str = "sqlite"
    path: str = "watchword.db"
    dsn: str = field(default="", repr=False)
    dsn_file: str = ""
    keys_dsn: str = field(default="", repr=False)
    keys_dsn_file: str = ""
    pool: int = 10
    prepared_statements: bool = True

    @property
    def shown(self) -> str:
        """Return where the store is, for people to read."""
        if self.kind == "sqlite":
            return self.path
        return without_password(self.dsn) or self.dsn_file

    @property
    def settings(self) -> dict[str, object]:
        """Return the section as the adapter is given it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Keys:
    """Where root keys are: the provider's name and its directory."""

    kind: str = "file"
    directory: str = "keys"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ended verifications are kept, in milliseconds."""

    verifications: Millis = 30 * DAY


@dataclass(frozen=True, slots=True)
class Logs:
    """What is logged: `level` is debug, info, warning or error."""

    level: str = "info"


@dataclass(frozen=True, slots=True)
class Carriers:
    """The carriers' own tables by name, and which of them serve a channel, in order."""

    tables: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    order: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a server is told."""

    world: str = "production"
    listen: str = "127.0.0.1:50051"
    http_listen: str = "127.0.0.1:9464"
    callback_listen: str = "127.0.0.1:8081"
    issuer: str = "watchword"
    reflection: bool = False
    tls: Tls = field(default_factory=Tls)
    store: Store = field(default_factory=Store)
    keys: Keys = field(default_factory=Keys)
    logs: Logs = field(default_factory=Logs)
    retention: Retention = field(default_factory=Retention)
    limits: PhoneLimits = field(default_factory=PhoneLimits)
    carriers: Carriers = field(default_factory=Carriers)


# Variables that set one key each; they win over the file.
VARIABLES: dict[str, str] = {
    "WATCHWORD_WORLD": "world",
    "WATCHWORD_LISTEN": "listen",
    "WATCHWORD_HTTP_LISTEN": "http_listen",
    "WATCHWORD_CALLBACK_LISTEN": "callback_listen",
    "WATCHWORD_ISSUER": "issuer",
    "WATCHWORD_REFLECTION": "reflection",
    "WATCHWORD_TLS_CERT_FILE": "tls.cert_file",
    "WATCHWORD_TLS_KEY_FILE": "tls.key_file",
    "WATCHWORD_TLS_CLIENT_CA_FILE": "tls.client_ca_file",
    "WATCHWORD_STORE": "store",
    "WATCHWORD_STORE_PATH": "store.path",
    "WATCHWORD_STORE_DSN_FILE": "store.dsn_file",
    "WATCHWORD_STORE_KEYS_DSN_FILE": "store.keys_dsn_file",
    "WATCHWORD_STORE_POOL": "store.pool",
    "WATCHWORD_STORE_PREPARED_STATEMENTS": "store.prepared_statements",
    "WATCHWORD_KEYS_DIRECTORY": "keys.directory",
    "WATCHWORD_LOG_LEVEL": "logs.level",
}
CONFIG_VARIABLE = "WATCHWORD_CONFIG"
"""Names the file where the command line does not."""
STORE_VARIABLE = "WATCHWORD_STORE"
"""Names a PostgreSQL database; the same as `store = "postgresql://…"` in the file."""

_SECONDS = {"limits.first_cooldown", "retention.verifications"}
_SECTIONS = {"tls", "store", "keys", "logs", "retention", "limits"}
_SCHEMES = ("postgresql://", "postgres://")
_SWITCHES = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def load(
    path: Path | None = None, environ: Mapping[str, str] | None = None, base: Config | None = None
) -> Config:
    """Read file and variables over `base`. Raises `ConfigError` with every fault found."""
    environ = os.environ if environ is None else environ
    if path is None and environ.get(CONFIG_VARIABLE):
        path = Path(environ[CONFIG_VARIABLE])
    reader = _Reader()
    config = base or Config()
    if path is not None:
        config = reader.file(config, path)
    config = reader.variables(config, environ)
    if reader.faults:
        raise ConfigError(*reader.faults)
    return config


class _Reader:
    """Applies settings one by one and collects what is wrong with them."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def file(self, config: Config, path: Path) -> Config:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: is not TOML") from error
        for key, value in table.items():
            config = self._top(config, key, value)
        return config

    def variables(self, config: Config, environ: Mapping[str, str]) -> Config:
        for name in sorted(environ):
            if not name.startswith(PREFIX) or name in CLIENT_VARIABLES:
                continue
            if name.startswith(TEST_PREFIX) or name == CONFIG_VARIABLE:
                continue
            if name not in VARIABLES:
                self.faults.append(f"{name}: is not a variable that Watchword knows")
                continue
            value = _typed(VARIABLES[name], environ[name])
            if name == STORE_VARIABLE:
                config = self._store(config, value, name)
            else:
                config = self._set(config, VARIABLES[name], value, name)
        return config

    def _top(self, config: Config, key: str, value: object) -> Config:
        if key == "carriers":
            return replace(config, carriers=self._carriers(value))
        if key == "store" and isinstance(value, str):
            return self._store(config, value, key)
        if key in _SECTIONS:
            if not isinstance(value, dict):
                self.faults.append(f"{key}: must be a table")
                return config
            for name, item in value.items():
                config = self._set(config, f"{key}.{name}", item, f"{key}.{name}")
            return config
        return self._set(config, key, value, key)

    def _set(self, config: Config, path: str, value: object, said: str) -> Config:
        section, _, name = path.rpartition(".")
        holder = getattr(config, section) if section else config
        kinds = get_type_hints(type(holder))
        if name not in kinds or (is_dataclass(kinds[name]) and not section):
            self.faults.append(f"{said}: is not a key that Watchword knows")
            return config
        if kinds[name] is not type(value):
            self.faults.append(f"{said}: must be {_KINDS.get(kinds[name], 'a table')}")
            return config
        if path in _SECONDS and isinstance(value, int):
            value *= SECOND
        changed = _with(holder, name, value)
        whole: Config = _with(config, section, changed) if section else changed
        return whole

    def _store(self, config: Config, value: object, said: str) -> Config:
        if not isinstance(value, str) or not value.startswith(_SCHEMES):
            self.faults.append(f"{said}: must be a table, or a text that begins postgresql://")
            return config
        return replace(config, store=replace(config.store, kind="postgresql", dsn=value))

    def _carriers(self, value: object) -> Carriers:
        if not isinstance(value, dict):
            self.faults.append("carriers: must be a table")
            return Carriers()
        order = value.pop("order", {})
        tables = {}
        for name, table in value.items():
            if isinstance(table, dict):
                tables[name] = table
            else:
                self.faults.append(f"carriers.{name}: must be a table")
        return Carriers(tables=tables, order=self._order(order, tables))

    def _order(self, order: object, tables: Mapping[str, object]) -> Mapping[str, tuple[str, ...]]:
        found = {}
        for channel, names in order.items() if isinstance(order, dict) else ():
            if channel not in CHANNEL_NAMES:
                self.faults.append(f"carriers.order.{channel}: is not a channel")
            elif not isinstance(names, list) or not all(name in tables for name in names):
                self.faults.append(f"carriers.order.{channel}: must list configured carriers")
            else:
                found[channel] = tuple(names)
        if not isinstance(order, dict):
            self.faults.append("carriers.order: must be a table")
        return found


_KINDS: dict[object, str] = {str: "a text", bool: "true or false", int: "a whole number"}


def _typed(path: str, text: str) -> object:
    """Return a variable's text as the type of the key that it sets, where it is one."""
    section, _, name = path.rpartition(".")
    holder = get_type_hints(Config)[section] if section else Config
    kind = get_type_hints(holder)[name]
    if kind is bool:
        return _SWITCHES.get(text.lower(), text)
    if kind is int and re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    return text


def without_password(dsn: str) -> str:
    """Return a DSN as it may be shown: address, database and user, none of its secrets."""
    # Whatever stands before the last @ may be a password with an @ of its own.
    found = re.fullmatch(r"([a-z]+://)(?:([^:/?#@]*)(?::.*)?@)?([^@?#]*)(?:[?#][^@]*)?", dsn)
    if not found:
        return MASK if dsn else ""
    scheme, user, place = found.groups(default="")
    return f"{scheme}{user}@{place}" if user else f"{scheme}{place}"


def _with(holder: Any, name: str, value: object) -> Any:  # noqa: ANN401 - any of the sections
    if isinstance(holder, PhoneLimits):
        changes: dict[str, Any] = {name: value}
        return holder._replace(**changes)
    return replace(holder, **{name: value})


def dev_config(directory: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Return what `serve --dev` runs: state in `directory`, the console carrier, reflection."""
    base = Config(
        world="dev",
        issuer="watchword-dev",
        reflection=True,
        store=Store(path=str(directory / "watchword.db")),
        keys=Keys(directory=str(directory / "keys")),
        carriers=Carriers(
            tables={"console": {"path": str(directory / "messages.jsonl")}},
            order={"SMS": ("console",)},
        ),
    )
    return load(None, environ, base)
