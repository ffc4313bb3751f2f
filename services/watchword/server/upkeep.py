"""Migrate, back up, restore: what is done with a deployment's store as a whole.

Nothing here knows which store it is; see `core.upkeep.StoreUpkeep`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from watchword.config import Config
from watchword.core.ids import new_id
from watchword.core.ports import Clock, Entropy
from watchword.core.system import SystemClock, SystemEntropy
from watchword.core.upkeep import Load, Progress, SchemaChange, StoreUpkeep
from watchword.server.manifest import FILE_NAME, Artefact, BackupRefused, Manifest
from watchword.server.plugins import keys_adapter, place_of, upkeep_adapter

_PRIVATE_FILE, _PRIVATE_DIRECTORY = 0o600, 0o700


class Restored(NamedTuple):
    """Which backup a store was made of, and what that did."""

    manifest: Manifest
    load: Load
    with_keys: bool


async def migrate(config: Config, *, dry_run: bool, clock: Clock | None = None) -> SchemaChange:
    """Bring the store's schema up to date, or only say what that would do."""
    return await _upkeep(config).migrate(
        place_of(config), world=config.world, clock=clock or SystemClock(), dry_run=dry_run
    )


async def backup(
    config: Config,
    to: Path,
    keys_to: Path,
    progress: Progress,
    *,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> Manifest:
    """Write data and wrapped keys into a new directory each; a server may serve meanwhile.

    Root keys are neither needed nor written. Raises `BackupRefused` or the adapter's own
    refusal; then neither directory holds anything.
    """
    if _within(to, keys_to) or _within(keys_to, to):
        raise BackupRefused(f"{keys_to}: keys and data belong apart; neither goes into the other")
    upkeep, now = _upkeep(config), (clock or SystemClock()).now()
    with _new(to), _new(keys_to):
        data = _private(to / upkeep.data_name)
        keys = _private(keys_to / upkeep.keys_name)
        dump = await upkeep.dump(
            place_of(config), data, keys, world=config.world, progress=progress
        )
        manifest = Manifest(
            backup_id=new_id("BK", now, entropy or SystemEntropy()),
            time=now,
            store=config.store.kind,
            world=config.world,
            schema=dump.schema,
            data=Artefact.of(data, progress),
            keys=Artefact.of(keys, progress),
            counts=dump.counts,
        )
        # The data's manifest last: it says that the backup is whole.
        manifest.write(keys_to)
        manifest.write(to)
    return manifest


async def restore(
    config: Config,
    source: Path,
    keys_source: Path | None,
    progress: Progress,
    *,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> Restored:
    """Make the store that the configuration names, where there is none, of a backup.

    Without `keys_source` the store begins with no keys. Raises `BackupRefused` or an
    adapter's own refusal; then there is no store.
    """
    upkeep, place = _upkeep(config), place_of(config)
    found = await upkeep.occupied(place)
    if found:
        raise BackupRefused(f"{found}: is there already; a restore overwrites nothing")
    manifest = Manifest.read(source)
    if (manifest.store, manifest.world) != (config.store.kind, config.world):
        raise BackupRefused(
            f"{source}: is a backup of a {manifest.store} store of the world {manifest.world!r},"
            f" not of a {config.store.kind} store of the world {config.world!r}"
        )
    provider = keys_adapter(config.keys.kind)(Path(config.keys.directory))
    data = _verified(source, manifest.data, progress)
    keys = None
    if keys_source is not None:
        if Manifest.read(keys_source).backup_id != manifest.backup_id:
            raise BackupRefused(f"{keys_source}: holds the keys of another backup")
        keys = _verified(keys_source, manifest.keys, progress)
    load = await upkeep.load(
        place,
        data,
        keys,
        world=config.world,
        clock=clock or SystemClock(),
        entropy=entropy or SystemEntropy(),
        provider=provider,
        progress=progress,
    )
    return Restored(manifest, load, keys is not None)


def _upkeep(config: Config) -> StoreUpkeep[Any]:
    return upkeep_adapter(config.store.kind)


def _verified(directory: Path, artefact: Artefact, progress: Progress) -> Path:
    """Return the file's path. Raises `BackupRefused` where it is not what was written."""
    path = directory / artefact.file
    try:
        found = Artefact.of(path, progress)
    except OSError as error:
        raise BackupRefused(f"{path}: cannot be read ({error.strerror})") from None
    if found != artefact:
        raise BackupRefused(f"{path}: is damaged; its digest is not the manifest's")
    return path


def _within(inner: Path, outer: Path) -> bool:
    return inner.resolve().is_relative_to(outer.resolve())


def _private(path: Path) -> Path:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE))
    return path


@contextmanager
def _new(directory: Path) -> Iterator[None]:
    """Make a private directory, or take an empty one; empty it again where the work fails."""
    made = not directory.exists()
    directory.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise BackupRefused(f"{directory}: is not empty; each backup has a directory of its own")
    try:
        yield
    except BaseException:
        (directory / FILE_NAME).unlink(missing_ok=True)
        for path in directory.iterdir():
            path.unlink()
        if made:
            directory.rmdir()
        raise
