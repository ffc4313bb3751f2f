"""Finds adapters by entry point, as a third party's would be found."""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

from watchword.account.store import AccountStore
from watchword.config import Config, ConfigError
from watchword.core.ports import ChangeBus, Clock, Entropy, Millis, StoreMeter
from watchword.core.upkeep import StoreUpkeep
from watchword.delivery.carrier import Carrier
from watchword.delivery.outbox import Outbox
from watchword.tenancy.directory import TenancyReader
from watchword.vault.keyring import KeyProvider
from watchword.vault.keystore import KeyStore
from watchword.verification.store import VerificationStore


class Stores(Protocol):
    """All ports of one store."""

    verification: VerificationStore
    outbox: Outbox
    account: AccountStore
    tenancy: TenancyReader
    keystore: KeyStore

    async def check(self) -> None:
        """Return where the store can serve; raises `Unavailable`."""
        ...

    async def close(self) -> None:
        """Finish the commands that wait, then let go of the files."""
        ...


class StoresAdapter(Protocol):
    """What an entry point of the group `watchword.stores` names."""

    def place(self, settings: Mapping[str, object]) -> Any:  # noqa: ANN401 - the adapter's own
        """Return what `open` takes: where the store is, from the configuration's section.

        Raises `ValueError` with one line, which holds no password.
        """
        ...

    async def open(
        self,
        place: Any,  # noqa: ANN401
        /,
        *,
        world: str,
        clock: Clock,
        bus: ChangeBus,
        provider: KeyProvider,
        create: bool = False,
        entropy: Entropy | None = None,
        meter: StoreMeter | None = None,
    ) -> Stores:
        """Open the store, made first where `create` is true and nothing is there."""
        ...


class Growing(Protocol):
    """What a store's adapter may offer beside `open`, for measurements of its size."""

    async def grow(
        self,
        place: Any,  # noqa: ANN401
        *,
        account_id: str,
        application_id: str,
        count: int,
        now: Millis,
        tell: Callable[[int], None],
    ) -> None:
        """Add `count` approved verifications of the past to a sandbox store nobody serves."""
        ...


class KeysAdapter(Protocol):
    """What an entry point of the group `watchword.keys` names."""

    def __call__(self, directory: Path) -> KeyProvider:
        """Load the root keys."""
        ...

    def create(
        self, directory: Path, *, clock: Clock | None = None, entropy: Entropy | None = None
    ) -> KeyProvider:
        """Make the first keys of a deployment, never over others."""
        ...


class CarrierAdapter(Protocol):
    """What an entry point of the group `watchword.carriers` names."""

    def create(self, settings: Mapping[str, object]) -> Carrier:
        """Make the carrier from its table. Raises `ValueError` with one line."""
        ...


def stores_adapter(kind: str) -> StoresAdapter:
    """Return the store adapter of that name. Raises `ConfigError`."""
    return cast("StoresAdapter", _load("watchword.stores", kind, "store.kind"))


def place_of(config: Config) -> Any:  # noqa: ANN401 - the adapter's own
    """Return where the configured store is, as its adapter takes it. Raises `ConfigError`."""
    try:
        return stores_adapter(config.store.kind).place(config.store.settings)
    except ValueError as error:
        raise ConfigError(str(error)) from None


async def open_stores(
    config: Config,
    *,
    clock: Clock,
    bus: ChangeBus,
    provider: KeyProvider,
    create: bool,
    entropy: Entropy,
    meter: StoreMeter | None = None,
) -> Stores:
    """Open the configured store. Raises `ConfigError`, or the adapter's own refusal."""
    return await stores_adapter(config.store.kind).open(
        place_of(config),
        world=config.world,
        clock=clock,
        bus=bus,
        provider=provider,
        create=create,
        entropy=entropy,
        meter=meter,
    )


def keys_adapter(kind: str) -> KeysAdapter:
    """Return the key provider of that name. Raises `ConfigError`."""
    return cast("KeysAdapter", _load("watchword.keys", kind, "keys.kind"))


def make_carriers(config: Config) -> dict[str, Carrier]:
    """Make every configured carrier; none is opened yet.

    Raises `ConfigError` with one line for each that is unknown, wrongly set up, or not
    made for this world.
    """
    made: dict[str, Carrier] = {}
    faults: list[str] = []
    for name, table in config.carriers.tables.items():
        try:
            adapter = cast("CarrierAdapter", _load("watchword.carriers", name, "carriers"))
            carrier = adapter.create(table)
        except ConfigError as error:
            faults.extend(error.lines)
            continue
        except ValueError as error:
            faults.append(str(error))
            continue
        if config.world in carrier.capabilities.worlds:
            made[name] = carrier
        else:
            faults.append(f"carriers.{name}: does not load in a {config.world} world")
    if faults:
        raise ConfigError(*faults)
    return made


def upkeep_adapter(kind: str) -> StoreUpkeep[Any]:
    """Return what migrates, backs up and restores stores of that name. Raises `ConfigError`."""
    upkeep = getattr(stores_adapter(kind), "upkeep", None)
    if upkeep is None:
        raise ConfigError(f"store.kind: the adapter {kind!r} neither migrates nor backs up")
    return cast("StoreUpkeep[Any]", upkeep)


def _load(group: str, name: str, where: str) -> object:
    found = [point for point in entry_points(group=group) if point.name == name]
    if not found:
        raise ConfigError(f"{where}: no adapter of the name {name!r} is installed")
    try:
        return found[0].load()
    except ImportError as error:
        missing = error.name or "a library"
        raise ConfigError(f"{where}: the adapter {name!r} needs {missing}") from error
