"""Opening a phone again after a hard stop: a wait with notice, and a trace in the audit log."""

import hashlib
import json
from typing import NamedTuple

from watchword.core.errors import InvalidArgument
from watchword.core.ids import epoch_of, new_id
from watchword.core.phone import PhoneNumber, parse_phone
from watchword.core.ports import DAY, Millis
from watchword.core.secret import Secret
from watchword.core.text import check_text
from watchword.delivery.carrier import Channel
from watchword.delivery.outbox import NOTICE_TTL, Send, SendError, SendKind, SendState
from watchword.delivery.sealing import seal_recipient
from watchword.tenancy.model import Application, Caller
from watchword.vault.derive import request_mac
from watchword.verification.service import VerificationService
from watchword.verification.store import RebindCommand, RebindOutcome

REBIND_DELAY: Millis = DAY
REBIND_NOTICE = "REBIND_REQUESTED"


class RebindRequest(NamedTuple):
    """A request to end a hard stop. `evidence` is what the operator saw; only its MAC is kept."""

    phone_number: str
    region_code: str
    reason: str
    evidence: Secret[str]
    request_id: str
    body: bytes


class Rebinder:
    """Schedules re-binds.

    No other factor exists yet, so every re-bind waits 24 hours and the phone is told.
    """

    def __init__(self, service: VerificationService) -> None:
        """Use the service's store, keys and router."""
        self._service = service

    async def rebind(self, caller: Caller, request: RebindRequest) -> RebindOutcome:
        """Schedule the re-bind. Raises `InvalidArgument`, `FailedPrecondition`."""
        service = self._service
        application = await service.application(caller)
        phone = parse_phone(request.phone_number, request.region_code)
        _check(request)
        command = RebindCommand(
            account_id=caller.account_id,
            application_id=caller.application_id,
            phone_index=service.index.phone(caller.account_id, phone.e164),
            delay=REBIND_DELAY,
            reason=hashlib.sha256(request.reason.encode()).hexdigest(),
            evidence_digest=request_mac(service.provider, request.evidence.reveal().encode()),
            notice=await self._notice(application, phone),
            request=service.request_key(caller, "Rebind", request.request_id, request.body),
        )
        return await service.store.rebind(command)

    async def _notice(self, application: Application, phone: PhoneNumber) -> Send:
        service = self._service
        now = service.clock.now()
        send_id = new_id("SE", now, service.entropy)
        epoch_key = await service.epochs.create(application.account_id, epoch_of(now))
        return Send(
            send_id=send_id,
            kind=SendKind.NOTICE,
            account_id=application.account_id,
            application_id=application.application_id,
            subject_id=send_id,
            version=1,
            channel=Channel.SMS,
            carrier=service.router.first(Channel.SMS),
            generation=0,
            state=SendState.QUEUED,
            error_reason=SendError.NONE,
            provider_id="",
            attempts=0,
            doubts=0,
            withheld=False,
            due_time=0,
            lease_time=0,
            expire_time=NOTICE_TTL,
            notice=json.dumps(
                {
                    "kind": REBIND_NOTICE,
                    "brand": application.brand_name or application.display_name,
                }
            ),
            recipient_sealed=seal_recipient(
                epoch_key, send_id, application.account_id, phone.e164, service.entropy
            ),
            create_time=0,
            submit_time=0,
            update_time=0,
            region_code=phone.region_code,
        )


def _check(request: RebindRequest) -> None:
    if not request.reason:
        raise InvalidArgument("a reason is required", field="reason")
    check_text("reason", request.reason, 256, 1024)
    check_text("evidence", request.evidence.reveal(), 1024, 4096)
