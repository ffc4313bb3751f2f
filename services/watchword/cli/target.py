"""Which server a command calls and as whom: flags, then environment, then the dev profile."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from watchword.client import Tls

DEV_PROFILE = Path("var/dev-credentials.json")
"""What `watchword serve --dev` writes beside its state."""


class TargetError(ValueError):
    """No server, or no credential for it, could be made out; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to call and who calls; a credential of None stands for a client certificate."""

    endpoint: str
    credential_id: str | None
    credential_secret: str | None = field(repr=False)
    tls: Tls | bool | None = None


def resolve(
    endpoint: str | None,
    credential_id: str | None,
    credential_secret: str | None,
    *,
    profile: Path = DEV_PROFILE,
    admin: bool = False,
    tls: Tls | bool | None = None,
) -> Target:
    """Return the target; what is not given comes from the profile, if it is there.

    A profile's credential goes to the profile's own endpoint alone. `admin` takes the
    profile's operator. Raises `TargetError`.
    """
    known = _read(profile)
    endpoint = endpoint or known.get("endpoint")
    if endpoint is None:
        raise TargetError(
            "no server is known; give --endpoint, set WATCHWORD_ENDPOINT, "
            "or run `watchword serve --dev` in this directory"
        )
    if credential_id or credential_secret:
        if not (credential_id and credential_secret):
            raise TargetError("a credential is an id and a secret; give both")
        return Target(endpoint, credential_id, credential_secret, tls)
    if isinstance(tls, Tls) and tls.certificate_chain is not None:
        return Target(endpoint, None, None, tls)
    if endpoint != known.get("endpoint"):
        raise TargetError(
            "no credential is known; set WATCHWORD_CREDENTIAL_ID and WATCHWORD_CREDENTIAL_SECRET"
        )
    prefix = "admin_" if admin else ""
    try:
        pair = known[f"{prefix}credential_id"], known[f"{prefix}credential_secret"]
    except KeyError:
        raise TargetError(f"{profile} holds no credential; start the dev server anew") from None
    return Target(endpoint, *pair, tls)


def _read(profile: Path) -> dict[str, str]:
    try:
        content = json.loads(profile.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise TargetError(f"{profile} cannot be read as a profile") from None
    if not isinstance(content, dict):
        raise TargetError(f"{profile} cannot be read as a profile")
    return {str(key): str(value) for key, value in content.items()}
