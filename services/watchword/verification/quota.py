"""What this account's limits on one phone have left."""

from enum import StrEnum
from typing import NamedTuple

from watchword.core.phone import parse_phone
from watchword.core.ports import DAY, HOUR, Millis
from watchword.fraud import budget
from watchword.fraud.budget import AccountCaps
from watchword.fraud.limits import next_send_time, recent
from watchword.tenancy.model import Account, Caller
from watchword.verification.service import VerificationService
from watchword.verification.store import PhoneUsage


class QuotaName(StrEnum):
    """The limits that a caller may see; the one across accounts is never told."""

    PHONE_SENDS_HOUR = "PHONE_SENDS_HOUR"
    PHONE_SENDS_DAY = "PHONE_SENDS_DAY"
    PHONE_GUESSES_DAY = "PHONE_GUESSES_DAY"
    ACCOUNT_SENDS_HOUR = "ACCOUNT_SENDS_HOUR"
    ACCOUNT_SENDS_DAY = "ACCOUNT_SENDS_DAY"


class Quota(NamedTuple):
    """One limit; `reset_time` is when the first of what is used is given back."""

    name: QuotaName
    limit: int
    used: int
    reset_time: Millis


class Quotas(NamedTuple):
    """All limits on a phone, and when it may next be sent to."""

    quotas: list[Quota]
    next_send_time: Millis


async def quotas(
    service: VerificationService, caller: Caller, phone_number: str, region_code: str
) -> Quotas:
    """Return the limits. Raises `InvalidArgument`, `PermissionDenied`."""
    application = await service.application(caller)
    account = await service.account(application)
    phone = parse_phone(phone_number, region_code)
    index = service.index.phone(caller.account_id, phone.e164)
    usage = await service.store.usage(caller.account_id, caller.application_id, index, index)
    following, _ = next_send_time(usage.sends, usage.now, service.limits)
    return Quotas(_phone(service, usage) + _account(account, usage), following)


def _phone(service: VerificationService, usage: PhoneUsage) -> list[Quota]:
    limits = service.limits
    return [
        _rolling(QuotaName.PHONE_SENDS_HOUR, limits.sends_per_hour, usage.sends, HOUR, usage.now),
        _rolling(QuotaName.PHONE_SENDS_DAY, limits.sends_per_day, usage.sends, DAY, usage.now),
        _rolling(
            QuotaName.PHONE_GUESSES_DAY,
            limits.wrong_guesses_per_day,
            usage.guesses.wrong,
            DAY,
            usage.now,
        ),
    ]


def _rolling(
    name: QuotaName, limit: int, times: tuple[Millis, ...], window: Millis, now: Millis
) -> Quota:
    used = recent(times, now, window)
    return Quota(name, limit, len(used), used[0] + window if used else now)


def _account(account: Account, usage: PhoneUsage) -> list[Quota]:
    used = budget.current(usage.budget, usage.now)
    caps = AccountCaps(account.sends_per_hour, account.sends_per_day)
    return [
        Quota(
            QuotaName.ACCOUNT_SENDS_HOUR,
            caps.sends_per_hour,
            used.hour_used,
            used.hour_start + HOUR,
        ),
        Quota(QuotaName.ACCOUNT_SENDS_DAY, caps.sends_per_day, used.day_used, used.day_start + DAY),
    ]
