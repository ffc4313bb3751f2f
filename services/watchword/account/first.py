"""What the host does before anybody can call: the first operator, and what dev mode starts with.

No RPC leads here; the command line calls it beside the store.
"""

from typing import NamedTuple

from watchword.account.drafts import (
    AccountWish,
    ApplicationWish,
    CapBounds,
    account_draft,
    account_patch,
    application_draft,
    application_patch,
)
from watchword.account.model import DEV_CAPS
from watchword.account.service import new_credential
from watchword.account.store import AccountStore, SetUp
from watchword.core.errors import FailedPrecondition
from watchword.core.ids import new_id
from watchword.core.ports import Clock, Entropy
from watchword.core.secret import Secret
from watchword.tenancy.model import (
    ALL_REGIONS,
    GRANTABLE,
    Caller,
    Credential,
    Scope,
)
from watchword.vault.keyring import KeyProvider

OPERATOR_SCOPES = frozenset(Scope)
"""An operator makes each account's first credential, and nobody grants what they lack."""

_DEV_WORLDS = frozenset({"dev", "sandbox"})


class NewIdentity(NamedTuple):
    """A credential that was just made, with its secret: keep it now, it is never shown again."""

    credential: Credential
    secret: Secret[str]


class DevIdentities(NamedTuple):
    """What a dev or sandbox store starts with; `admin` has the scope `operator`."""

    account_id: str
    application_id: str
    application: NewIdentity
    admin: NewIdentity


async def create_operator(
    store: AccountStore,
    provider: KeyProvider,
    clock: Clock,
    entropy: Entropy,
    *,
    first: bool = True,
) -> NewIdentity:
    """Make an operator's credential: the `first` of a store, or one more to rotate.

    Raises `FailedPrecondition` (CREDENTIAL_LIMIT) where there was a first one before, or
    two are live.
    """
    draft, secret = new_credential(provider, clock, entropy)
    draft = draft._replace(display_name="operator", scopes=OPERATOR_SCOPES)
    return NewIdentity(await store.create_operator(draft, first=first), secret)


async def set_up_dev(
    store: AccountStore, provider: KeyProvider, clock: Clock, entropy: Entropy, world: str
) -> DevIdentities:
    """Make an account, an application and a credential for each of the two ways in.

    All regions are enabled and SMS alone; the account's caps are out of any load
    harness's way. Earlier operator credentials are revoked: their secrets are taken for
    lost. Raises `FailedPrecondition` in a production store.
    """
    if world not in _DEV_WORLDS:
        raise FailedPrecondition("a production store has no dev set-up")
    draft, secret, admin_secret = _dev_draft(provider, clock, entropy)
    await store.set_up(draft)
    return DevIdentities(
        draft.account.account_id,
        draft.application.application_id,
        NewIdentity(draft.credential, secret),
        NewIdentity(draft.operator, admin_secret),
    )


def _dev_draft(
    provider: KeyProvider, clock: Clock, entropy: Entropy
) -> tuple[SetUp, Secret[str], Secret[str]]:
    account_id = new_id("AC", clock.now(), entropy)
    application_id = new_id("AP", clock.now(), entropy)
    host = Caller("", "", "", OPERATOR_SCOPES)
    account = account_patch(
        AccountWish(display_name="Development", caps=(0, 0), activate=True),
        CapBounds(DEV_CAPS, DEV_CAPS),
        lambda _: b"",
    )
    application = application_patch(
        ApplicationWish(display_name="Development", brand_name="Watchword", regions=[ALL_REGIONS]),
        host,
    )
    credential, secret = new_credential(provider, clock, entropy)
    operator, admin_secret = new_credential(provider, clock, entropy)
    set_up = SetUp(
        account=account_draft(account_id, account),
        application=application_draft(application_id, account_id, application),
        credential=credential._replace(
            account_id=account_id,
            application_id=application_id,
            display_name="dev",
            scopes=GRANTABLE,
        ),
        operator=operator._replace(display_name="dev operator", scopes=OPERATOR_SCOPES),
    )
    return set_up, secret, admin_secret
