"""Between the messages of `watchword.account.v1` and the room's plain values."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from watchword.account.drafts import AccountWish, ApplicationWish
from watchword.account.model import Lifetime
from watchword.account.store import UsageCell, UsageRow
from watchword.account.test_numbers import ShownTestNumber
from watchword.account.v1 import account_pb2 as pb
from watchword.core.errors import InvalidArgument
from watchword.core.ids import epoch_of
from watchword.core.ports import DAY, Millis
from watchword.delivery.carrier import Channel
from watchword.rpc.convert import (
    enum_value,
    from_duration,
    from_timestamp,
    to_duration,
    to_timestamp,
)
from watchword.tenancy.model import (
    Account,
    AccountState,
    Application,
    CodePolicy,
    Credential,
    Resend,
)

_USAGE_DAYS = 30
_LONGEST_TTL: Millis = 3_650 * DAY
_UNIX_EPOCH = date(1970, 1, 1).toordinal()
_CELL = re.compile(r"([0-9]{1,6})/([A-Z]*)/([A-Z0-9]*)/([ -~]*)")
_ACCOUNT_STATES = {s: pb.AccountState.Value(f"ACCOUNT_STATE_{s}") for s in AccountState}
_CHANNELS = {c: pb.Channel.Value(f"CHANNEL_{c}") for c in Channel}
_CHANNEL_OF: Mapping[int, Channel] = {number: channel for channel, number in _CHANNELS.items()}
_RESENDS = {r: pb.ResendPolicy.Value(f"RESEND_POLICY_{r}") for r in Resend}
_RESEND_OF: Mapping[int, Resend] = {number: resend for resend, number in _RESENDS.items()}


_Readers = Mapping[str, tuple[str, Callable[[], object]]]
"""Field path to the wish's field and how its value is read."""


def account_wish(request: pb.UpdateAccountRequest) -> AccountWish:
    """Return what the mask of an UpdateAccount names."""
    new, limits = request.account, request.account.limits
    readers: _Readers = {
        "display_name": ("display_name", lambda: new.display_name),
        "company_name": ("company_name", lambda: new.company_name),
        "contact_email_address": ("contact_email", lambda: new.contact_email_address),
        "contact_phone_number": ("contact_phone", lambda: request.contact_phone_number),
        "limits": ("caps", lambda: (limits.sends_per_hour, limits.sends_per_day)),
        "enabled_regions": ("regions", lambda: tuple(new.enabled_regions)),
        "state": ("activate", lambda: _active(new.state)),
    }
    return AccountWish()._replace(**_named(request.update_mask, readers))


def application_wish(request: pb.UpdateApplicationRequest) -> ApplicationWish:
    """Return what the mask of an UpdateApplication names."""
    new, policy = request.application, request.application.code_policy
    channels = "application.enabled_channels"
    readers: _Readers = {
        "display_name": ("display_name", lambda: new.display_name),
        "brand_name": ("brand_name", lambda: new.brand_name),
        "audience": ("audience", lambda: new.audience),
        "enabled_regions": ("regions", lambda: tuple(new.enabled_regions)),
        "enabled_channels": ("channels", lambda: channels_of(new.enabled_channels, channels)),
        "purposes": ("purposes", lambda: tuple(new.purposes)),
        "code_policy": ("code_policy", lambda: policy_of(policy, "application.code_policy")),
        "custom_code_granted": ("custom_code_granted", lambda: new.custom_code_granted),
        "spiffe_ids": ("spiffe_ids", lambda: tuple(new.spiffe_ids)),
        "spiffe_scopes": ("spiffe_scopes", lambda: tuple(new.spiffe_scopes)),
    }
    return ApplicationWish()._replace(**_named(request.update_mask, readers))


def channels_of(numbers: Iterable[int], field: str) -> list[Channel]:
    """Return the channels that a message names."""
    return [enum_value(number, _CHANNEL_OF, field) for number in numbers]


def policy_of(message: pb.CodePolicy, field: str) -> CodePolicy:
    """Return a code policy; what the message leaves out takes its default."""
    default = CodePolicy()
    ttl, resend = default.ttl, default.resend
    if message.HasField("ttl"):
        ttl = from_duration(message.ttl, f"{field}.ttl")
    if message.HasField("resend"):
        resend = enum_value(message.resend, _RESEND_OF, f"{field}.resend")
    return CodePolicy(
        message.length or default.length, ttl, message.max_checks or default.max_checks, resend
    )


def lifetime_of(request: pb.CreateCredentialRequest) -> Lifetime:
    """Return how long a credential shall serve: at most ten years where it is a `ttl`."""
    kind = request.WhichOneof("expiration")
    if kind == "ttl":
        ttl = from_duration(request.ttl, "ttl")
        if not 0 < ttl <= _LONGEST_TTL:
            raise InvalidArgument("ttl must lie between 1 ms and 3650 days", field="ttl")
        return Lifetime(ttl=ttl)
    if kind == "expire_time":
        expire_time = from_timestamp(request.expire_time, "expire_time")
        if expire_time <= 0:
            raise InvalidArgument("the time is over already", field="expire_time")
        return Lifetime(expire_time=expire_time)
    return Lifetime()


def days_of(request: pb.ListUsageRequest, now: Millis) -> tuple[int, int]:
    """Return the first day and the day after the last (UTC days since 1970)."""
    end = epoch_of(now) + 1
    if request.HasField("end_time"):
        end = epoch_of(from_timestamp(request.end_time, "end_time"))
    start = end - _USAGE_DAYS
    if request.HasField("start_time"):
        start = epoch_of(from_timestamp(request.start_time, "start_time"))
    if start > end:
        raise InvalidArgument("start_time lies after end_time", field="start_time")
    return start, end


def cursor_of(row: UsageRow) -> str:
    """Return where the next page of usage goes on."""
    return "/".join(map(str, row.cell))


def cell_of(cursor: str) -> UsageCell | None:
    """Return what `cursor_of` wrote, None for "" (the first page)."""
    if not cursor:
        return None
    found = _CELL.fullmatch(cursor)
    if found is None:
        raise InvalidArgument("not a page token of this method", field="page_token")
    return UsageCell(int(found[1]), found[2], found[3], found[4])


def account_message(row: Account) -> pb.Account:
    """Return an account as callers see it."""
    return pb.Account(
        account_id=row.account_id,
        display_name=row.display_name,
        company_name=row.company_name,
        contact_email_address=row.contact_email,
        contact_phone_hint=row.contact_hint,
        state=_ACCOUNT_STATES[row.state],
        limits=pb.AccountLimits(sends_per_hour=row.sends_per_hour, sends_per_day=row.sends_per_day),
        enabled_regions=row.regions,
        create_time=to_timestamp(row.create_time),
        update_time=to_timestamp(row.update_time),
    )


def application_message(row: Application) -> pb.Application:
    """Return an application as callers see it."""
    policy = row.code_policy
    return pb.Application(
        application_id=row.application_id,
        account_id=row.account_id,
        display_name=row.display_name,
        enabled_regions=sorted(row.regions),
        enabled_channels=sorted(_CHANNELS[Channel(channel)] for channel in row.channels),
        code_policy=pb.CodePolicy(
            length=policy.length,
            ttl=to_duration(policy.ttl),
            max_checks=policy.max_checks,
            resend=_RESENDS[policy.resend],
        ),
        brand_name=row.brand_name,
        audience=row.audience,
        purposes=sorted(row.purposes),
        custom_code_granted=row.custom_code_granted,
        spiffe_ids=row.spiffe_ids,
        spiffe_scopes=sorted(row.spiffe_scopes),
        create_time=to_timestamp(row.create_time),
        update_time=to_timestamp(row.update_time),
    )


def credential_message(row: Credential) -> pb.Credential:
    """Return a credential as callers see it; never its secret."""
    revoked = bool(row.revoke_time)
    return pb.Credential(
        credential_id=row.credential_id,
        account_id=row.account_id,
        application_id=row.application_id,
        display_name=row.display_name,
        scopes=sorted(row.scopes),
        state=pb.CREDENTIAL_STATE_REVOKED if revoked else pb.CREDENTIAL_STATE_ACTIVE,
        create_time=to_timestamp(row.create_time),
        expire_time=to_timestamp(row.expire_time) if row.expire_time else None,
        revoke_time=to_timestamp(row.revoke_time) if revoked else None,
    )


def test_number_message(shown: ShownTestNumber) -> pb.TestNumber:
    """Return a test number as callers see it; never its code."""
    return pb.TestNumber(
        application_id=shown.row.application_id,
        phone_number=shown.e164,
        create_time=to_timestamp(shown.row.create_time),
        expire_time=to_timestamp(shown.row.expire_time),
    )


def usage_message(row: UsageRow) -> pb.UsageRow:
    """Return one row of usage."""
    return pb.UsageRow(
        date=date.fromordinal(_UNIX_EPOCH + row.cell.day).isoformat(),
        channel=_CHANNELS[Channel(row.cell.channel)],
        region_code=row.cell.region_code,
        carrier=row.cell.carrier,
        starts=row.used.starts,
        sends=row.used.sends,
        approvals=row.used.approvals,
    )


def _named(mask: FieldMask, readers: _Readers) -> dict[str, Any]:
    """Return the wish's fields that the mask names (AIP-134); refuses none and unknown ones."""
    if not mask.paths:
        raise InvalidArgument("name the fields to change", field="update_mask")
    if not readers.keys() >= set(mask.paths):
        raise InvalidArgument("no such field can be changed", field="update_mask")
    return {name: read() for name, read in map(readers.__getitem__, mask.paths)}


def _active(number: int) -> bool:
    if number != _ACCOUNT_STATES[AccountState.ACTIVE]:
        raise InvalidArgument("the state can be set to ACTIVE alone", field="account.state")
    return True
