"""Composes what a Start brings to the store: ids, keyed values, seals. No limit is judged here."""

import json
from dataclasses import dataclass
from functools import lru_cache

from watchword.core.errors import FailedPrecondition, InvalidArgument, PermissionDenied, Reason
from watchword.core.ids import epoch_of, new_verification_id
from watchword.core.phone import PhoneNumber
from watchword.core.ports import MINUTE, Clock, Entropy
from watchword.core.secret import Secret
from watchword.delivery.carrier import Channel
from watchword.delivery.message import MessageSpec
from watchword.delivery.sealing import custom_code_mac, seal_custom_code, seal_recipient
from watchword.tenancy.model import (
    Account,
    AccountState,
    Application,
    CodePolicy,
    Resend,
    region_open,
)
from watchword.vault.epochs import EpochKeys
from watchword.vault.index import BlindIndex
from watchword.verification.keyed import KeyedValues
from watchword.verification.model import CodeOrigin, State, Verification
from watchword.verification.receipt import ReceiptMaker
from watchword.verification.request import StartRequest


@dataclass(slots=True)
class Drafter:
    """Makes the `Verification` that a Start asks for; the store fills in its times."""

    clock: Clock
    entropy: Entropy
    index: BlindIndex
    keyed: KeyedValues
    epochs: EpochKeys
    receipts: ReceiptMaker

    async def draft(
        self,
        application: Application,
        phone: PhoneNumber,
        request: StartRequest,
        policy: CodePolicy,
        *,
        channel: Channel,
        trust: str,
        test_code: Secret[str] | None,
    ) -> Verification:
        """Return the verification to be. Raises `Unavailable` where no epoch key can be had."""
        fixed = test_code or request.custom_code
        length = len(fixed.reveal()) if fixed else policy.length
        account_id, application_id = application.account_id, application.application_id
        now = self.clock.now()
        verification_id = new_verification_id(
            now,
            length,
            self.entropy,
            fixed=fixed is not None,
            renewable=fixed is None and policy.resend is not Resend.SAME,
        )
        epoch_key = self.epochs.peek(account_id, epoch_of(now))
        if epoch_key is None:
            epoch_key = await self.epochs.create(account_id, epoch_of(now))
        return Verification(
            verification_id=verification_id,
            account_id=account_id,
            application_id=application_id,
            version=1,
            state=State.PENDING,
            channel=channel,
            purpose=request.purpose,
            binding_key=self.keyed.binding(account_id, application_id, request.binding),
            action_mac=self.keyed.action(account_id, application_id, request.action),
            phone_index=self.index.phone(account_id, phone.e164),
            limits_index=self.index.limits_index(phone.e164),
            phone_sealed=seal_recipient(
                epoch_key, verification_id, account_id, phone.e164, self.entropy
            ),
            phone_commitment=self.receipts.phone_commitment(verification_id, phone.e164),
            custom_mac=custom_code_mac(epoch_key, verification_id, fixed) if fixed else b"",
            custom_sealed=(
                seal_custom_code(epoch_key, verification_id, account_id, fixed, self.entropy)
                if fixed
                else b""
            ),
            code_origin=CodeOrigin.CALLER if request.custom_code else CodeOrigin.DERIVED,
            carrier_trust=trust,
            test=test_code is not None,
            hint=phone.hint,
            region_code=phone.region_code,
            line_type=phone.line_type,
            generation=0,
            resend=policy.resend,
            checks_used=0,
            max_checks=policy.max_checks,
            send_count=0,
            next_send_time=0,
            create_time=0,
            update_time=0,
            expire_time=0,
            approve_time=0,
            receipt_kid="",
            tags=json.dumps(dict(request.tags)) if request.tags else "",
            message=message_json(application, request, policy),
        )


def message_json(application: Application, request: StartRequest, policy: CodePolicy) -> str:
    """Return the `MessageSpec` of a Start as a JSON object; it holds nothing personal."""
    return _spec_json(
        MessageSpec(
            brand=application.brand_name or application.display_name,
            language_code=request.language_code or "en",
            web_otp_origin=request.web_otp_origin,
            android_app_hash=request.android_app_hash,
            ttl_minutes=max(1, policy.ttl // MINUTE),
        )
    )


@lru_cache(1024)
def _spec_json(spec: MessageSpec) -> str:
    # An application's messages are alike: few specs, many messages.
    return json.dumps(spec._asdict())


def check_allowed(
    account: Account, application: Application, phone: PhoneNumber, request: StartRequest
) -> None:
    """Raise where account or application do not let this Start happen.

    `FailedPrecondition` (ACCOUNT_SUSPENDED, REGION_DISABLED, CHANNEL_UNAVAILABLE),
    `PermissionDenied` (CUSTOM_CODE_NOT_GRANTED), `InvalidArgument` for a purpose that the
    application does not list.
    """
    if application.purposes and request.purpose not in application.purposes:
        raise InvalidArgument("the application does not list this purpose", field="purpose")
    check_sending(account, application, request.channel, phone.region_code)
    if request.custom_code is not None and not application.custom_code_granted:
        raise PermissionDenied(
            "custom codes were not granted to this application",
            reason=Reason.CUSTOM_CODE_NOT_GRANTED,
        )


def check_sending(
    account: Account, application: Application, channel: Channel, region_code: str
) -> None:
    """Raise where account or application let no message go, be it the first or a resend.

    `FailedPrecondition` (ACCOUNT_SUSPENDED, CHANNEL_UNAVAILABLE, REGION_DISABLED).
    """
    if account.state not in (AccountState.ACTIVE, AccountState.TRIAL):
        raise FailedPrecondition("the account starts nothing", reason=Reason.ACCOUNT_SUSPENDED)
    if channel not in application.channels:
        raise FailedPrecondition(
            "the application has not enabled this channel", reason=Reason.CHANNEL_UNAVAILABLE
        )
    if not region_open(account, application, region_code):
        raise FailedPrecondition(
            "the number's region is not enabled; add it to the application's enabled_regions",
            reason=Reason.REGION_DISABLED,
        )


def check_trial(account: Account, phone_index: bytes) -> None:
    """Raise `FailedPrecondition` (ACCOUNT_TRIAL) where a trial would send to a stranger."""
    if account.state is AccountState.TRIAL and phone_index != account.contact_index:
        raise FailedPrecondition(
            "a trial account sends to its verified contact only", reason=Reason.ACCOUNT_TRIAL
        )
