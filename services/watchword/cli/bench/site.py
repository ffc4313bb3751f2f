"""A deployment of the bench's own: a sandbox world with real keys in a temporary directory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

from watchword.account.first import set_up_dev
from watchword.config import load
from watchword.core.ids import epoch_of
from watchword.core.system import SystemClock, SystemEntropy
from watchword.server.bus import LocalChangeBus
from watchword.server.plugins import Growing, keys_adapter, open_stores, stores_adapter
from watchword.vault.epochs import EpochKeys

Tell = Callable[[int], None]

CONFIG = """\
world = "sandbox"
issuer = "watchword-bench"
listen = "127.0.0.1:0"
http_listen = "127.0.0.1:0"
callback_listen = "127.0.0.1:0"
{store}

[keys]
directory = {keys}

[carriers.sandbox]
built_in = false

[carriers.order]
SMS = ["sandbox"]
"""


class Profile(NamedTuple):
    """What a generator is given: one application's credential and code keys, never the root.

    `epoch_keys` are the account's code keys, hex by epoch: today's and tomorrow's, since a
    run may see midnight.
    """

    application_id: str
    credential_id: str
    credential_secret: str
    epoch_keys: dict[str, str]


class Site(NamedTuple):
    """Where the server's configuration is, and what the generator may know."""

    config: Path
    profile: Profile


async def make_site(directory: Path, dsn: str = "", kept: int = 0, tell: Tell = print) -> Site:
    """Make keys, store, account and credential, as an operator would before the first start.

    The store is a SQLite file in `directory`, or the empty PostgreSQL database at `dsn`.
    `kept` finished verifications of the past are put into it; `tell` hears how many stand.
    """
    clock, entropy = SystemClock(), SystemEntropy()
    path = directory / "watchword.toml"
    keys = directory / "keys"
    # A JSON string is a TOML string.
    store = f"store = {json.dumps(dsn)}"
    if not dsn:
        store = f"[store]\npath = {json.dumps(str(directory / 'watchword.db'))}"
    path.write_text(CONFIG.format(store=store, keys=json.dumps(str(keys))))
    config = load(path, {})
    provider = keys_adapter(config.keys.kind).create(keys, clock=clock, entropy=entropy)
    stores = await open_stores(
        config, clock=clock, bus=LocalChangeBus(), provider=provider, create=True, entropy=entropy
    )
    try:
        made = await set_up_dev(stores.account, provider, clock, entropy, "sandbox")
        epochs, today = EpochKeys(stores.keystore), epoch_of(clock.now())
        epoch_keys = {
            str(epoch): (await epochs.create(made.account_id, epoch)).hex()
            for epoch in (today, today + 1)
        }
    finally:
        await stores.close()
    if kept:
        adapter = stores_adapter(config.store.kind)
        await cast("Growing", adapter).grow(
            adapter.place(config.store.settings),
            account_id=made.account_id,
            application_id=made.application_id,
            count=kept,
            now=clock.now(),
            tell=tell,
        )
    return Site(
        path,
        Profile(
            application_id=made.application_id,
            credential_id=made.application.credential.credential_id,
            credential_secret=made.application.secret.reveal(),
            epoch_keys=epoch_keys,
        ),
    )
