"""What `serve --dev` keeps in its directory: keys, a store, and the credentials to use it."""

import json
import os
from pathlib import Path

from watchword.account.first import set_up_dev
from watchword.config import Config, ConfigError
from watchword.core.ports import Clock, Entropy
from watchword.server.bootstrap import Parts
from watchword.server.plugins import keys_adapter

CREDENTIALS = "dev-credentials.json"
_PRIVATE_FILE, _PRIVATE_DIRECTORY = 0o600, 0o700
_NAMES = (
    "account_id",
    "application_id",
    "credential_id",
    "credential_secret",
    "admin_credential_id",
    "admin_credential_secret",
)

Credentials = dict[str, str]


def prepare(config: Config, clock: Clock, entropy: Entropy) -> None:
    """Make the directory and the root keys where there are none yet.

    Raises `ConfigError` where a store is there and its keys are gone.
    """
    keys, store = Path(config.keys.directory), Path(config.store.path)
    store.parent.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    if keys.exists():
        return
    if config.store.kind == "sqlite" and store.exists():
        raise ConfigError(f"{keys}: the keys of {store} are gone; remove {store.parent} and begin")
    keys_adapter(config.keys.kind).create(keys, clock=clock, entropy=entropy)


async def credentials(
    parts: Parts, directory: Path, clock: Clock, entropy: Entropy, world: str
) -> Credentials:
    """Return the credentials of the file where they still serve, else new ones."""
    kept = _read(directory / CREDENTIALS)
    if kept is not None and await _serve(parts, kept):
        return kept
    made = await set_up_dev(parts.stores.account, parts.provider, clock, entropy, world)
    return {
        "account_id": made.account_id,
        "application_id": made.application_id,
        "credential_id": made.application.credential.credential_id,
        "credential_secret": made.application.secret.reveal(),
        "admin_credential_id": made.admin.credential.credential_id,
        "admin_credential_secret": made.admin.secret.reveal(),
    }


def write(directory: Path, endpoint: str, values: Credentials) -> None:
    """Write the file whole or not at all, readable by its owner alone."""
    path = directory / CREDENTIALS
    fresh = directory / f".{CREDENTIALS}.{os.getpid()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE_FILE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"endpoint": endpoint, **values}, file, indent=2)
        file.write("\n")
    fresh.replace(path)


def _read(path: Path) -> Credentials | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(n), str) for n in _NAMES):
        return None
    return {name: found[name] for name in _NAMES}


async def _serve(parts: Parts, kept: Credentials) -> bool:
    for name in ("credential_id", "admin_credential_id"):
        found = await parts.directory.credential(kept[name])
        if found is None or found.revoke_time:
            return False
    return True
