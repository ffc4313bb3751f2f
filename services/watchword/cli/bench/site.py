"""A deployment of the bench's own: a sandbox world with real keys in a temporary directory."""

import json
from pathlib import Path
from typing import NamedTuple

from watchword.account.first import set_up_dev
from watchword.config import Config
from watchword.core.ids import epoch_of
from watchword.core.system import SystemClock, SystemEntropy
from watchword.server.bus import LocalChangeBus
from watchword.server.plugins import keys_adapter, stores_adapter
from watchword.vault.epochs import EpochKeys

CONFIG = """\
world = "sandbox"
issuer = "watchword-bench"
listen = "127.0.0.1:0"
http_listen = "127.0.0.1:0"
callback_listen = "127.0.0.1:0"

[store]
path = {store}

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


async def make_site(directory: Path) -> Site:
    """Make keys, store, account and credential, as an operator would before the first start."""
    clock, entropy = SystemClock(), SystemEntropy()
    keys, store = directory / "keys", directory / "watchword.db"
    provider = keys_adapter(Config().keys.kind).create(keys, clock=clock, entropy=entropy)
    stores = await stores_adapter(Config().store.kind).open(
        store,
        world="sandbox",
        clock=clock,
        bus=LocalChangeBus(),
        provider=provider,
        create=True,
        entropy=entropy,
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
    config = directory / "watchword.toml"
    # A JSON string is a TOML string.
    config.write_text(CONFIG.format(store=json.dumps(str(store)), keys=json.dumps(str(keys))))
    return Site(
        config,
        Profile(
            application_id=made.application_id,
            credential_id=made.application.credential.credential_id,
            credential_secret=made.application.secret.reveal(),
            epoch_keys=epoch_keys,
        ),
    )
