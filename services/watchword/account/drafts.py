"""Turns what callers wish for into drafts and patches, every field checked."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from watchword.account import fields
from watchword.account.model import AccountPatch, ApplicationPatch, Contact, patched_account
from watchword.core.phone import PhoneNumber, parse_phone
from watchword.delivery.carrier import Channel
from watchword.fraud.budget import AccountCaps
from watchword.tenancy.model import (
    ALL_REGIONS,
    Account,
    AccountState,
    Application,
    Caller,
    CodePolicy,
    checked_policy,
)

T = TypeVar("T")
V = TypeVar("V")

ContactIndex = Callable[[PhoneNumber], bytes]
"""Gives a phone's blind index within the account at hand."""


class CapBounds(NamedTuple):
    """The deployment's default caps, and those that no account exceeds."""

    default: AccountCaps
    most: AccountCaps


class AccountWish(NamedTuple):
    """What a caller asks an account to be, unchecked; None is not asked for.

    `contact_phone` "" takes the phone away. `caps` holds sends an hour and a day, 0 for
    the default.
    """

    display_name: str | None = None
    company_name: str | None = None
    contact_email: str | None = None
    contact_phone: str | None = None
    caps: tuple[int, int] | None = None
    regions: Sequence[str] | None = None
    activate: bool = False


class ApplicationWish(NamedTuple):
    """What a caller asks an application to be, unchecked; None is not asked for."""

    display_name: str | None = None
    brand_name: str | None = None
    audience: str | None = None
    regions: Sequence[str] | None = None
    channels: Sequence[Channel] | None = None
    purposes: Sequence[str] | None = None
    code_policy: CodePolicy | None = None
    custom_code_granted: bool | None = None
    spiffe_ids: Sequence[str] | None = None
    spiffe_scopes: Sequence[str] | None = None


def account_patch(
    wish: AccountWish, bounds: CapBounds, index: ContactIndex, prefix: str = ""
) -> AccountPatch:
    """Return the checked wish; raises `InvalidArgument` with paths that begin with `prefix`."""
    company = f"{prefix}company_name"
    email = f"{prefix}contact_email_address"
    caps, limits = wish.caps, f"{prefix}limits"
    return AccountPatch(
        display_name=_checked(wish.display_name, fields.name, f"{prefix}display_name"),
        company_name=_checked(wish.company_name, fields.optional, company),
        contact_email=_checked(wish.contact_email, fields.email, email),
        contact=None if wish.contact_phone is None else _contact(wish.contact_phone, index),
        caps=None if caps is None else fields.caps(limits, *caps, bounds.default, bounds.most),
        regions=_checked(wish.regions, fields.regions, f"{prefix}enabled_regions"),
        activate=wish.activate,
    )


def account_draft(account_id: str, patch: AccountPatch) -> Account:
    """Return a new account on trial, open to all regions unless the patch says otherwise."""
    blank = Account(
        account_id=account_id,
        version=0,
        display_name="",
        company_name="",
        contact_email="",
        contact_hint="",
        contact_index=b"",
        state=AccountState.TRIAL,
        sends_per_hour=0,
        sends_per_day=0,
        regions=(ALL_REGIONS,),
        create_time=0,
        update_time=0,
    )
    return patched_account(blank, patch, 0)


def application_patch(wish: ApplicationWish, caller: Caller, prefix: str = "") -> ApplicationPatch:
    """Return the checked wish.

    Raises `InvalidArgument` with paths that begin with `prefix`, `PermissionDenied` where
    the caller lacks a scope that certificates shall have.
    """
    policy, scopes = wish.code_policy, wish.spiffe_scopes
    scopes_field = f"{prefix}spiffe_scopes"
    regions = _checked(wish.regions, fields.regions, f"{prefix}enabled_regions")
    return ApplicationPatch(
        display_name=_checked(wish.display_name, fields.name, f"{prefix}display_name"),
        brand_name=_checked(wish.brand_name, fields.brand, f"{prefix}brand_name"),
        audience=_checked(wish.audience, fields.optional, f"{prefix}audience"),
        regions=None if regions is None else frozenset(regions),
        channels=_checked(wish.channels, fields.channels, f"{prefix}enabled_channels"),
        purposes=_checked(wish.purposes, fields.purposes, f"{prefix}purposes"),
        code_policy=policy and checked_policy(policy, f"{prefix}code_policy"),
        custom_code_granted=wish.custom_code_granted,
        spiffe_ids=_checked(wish.spiffe_ids, fields.spiffe_ids, f"{prefix}spiffe_ids"),
        spiffe_scopes=None if scopes is None else fields.scopes(scopes_field, scopes, caller),
    )


def application_draft(application_id: str, account_id: str, patch: ApplicationPatch) -> Application:
    """Return a new application; what the patch leaves open is as narrow as can be."""
    return Application(
        application_id=application_id,
        account_id=account_id,
        version=1,
        display_name=patch.display_name or "",
        brand_name=patch.brand_name or "",
        audience=patch.audience or "",
        regions=patch.regions or frozenset(),
        channels=patch.channels or frozenset({str(Channel.SMS)}),
        purposes=patch.purposes or frozenset(),
        code_policy=patch.code_policy or CodePolicy(),
        custom_code_granted=False,
        spiffe_ids=patch.spiffe_ids or (),
        spiffe_scopes=patch.spiffe_scopes or frozenset(),
        create_time=0,
        update_time=0,
    )


def _contact(text: str, index: ContactIndex) -> Contact:
    if not text:
        return Contact(b"", "")
    phone = parse_phone(text, field="contact_phone_number")
    return Contact(index(phone), phone.hint)


def _checked(value: V | None, check: Callable[[str, V], T], field: str) -> T | None:
    return None if value is None else check(field, value)
