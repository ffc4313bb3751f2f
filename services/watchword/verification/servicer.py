"""`watchword.verification.v1` as gRPC: translates messages, decides nothing."""

import json
from collections.abc import AsyncIterator
from typing import NoReturn

from google.protobuf.timestamp_pb2 import Timestamp

from watchword.core.errors import FailedPrecondition, InvalidArgument, Reason, Unimplemented
from watchword.core.phone import lookup
from watchword.core.ports import SECOND, Millis
from watchword.core.secret import Secret
from watchword.delivery.carrier import Channel
from watchword.delivery.outbox import Send
from watchword.rpc.convert import (
    PageTokens,
    check_request_id,
    enum_value,
    from_duration,
    page_size,
    require,
    to_timestamp,
)
from watchword.rpc.identity import Context, current_caller
from watchword.tenancy.model import Resend
from watchword.verification.model import State
from watchword.verification.quota import QuotaName, quotas
from watchword.verification.rebind import Rebinder, RebindRequest
from watchword.verification.request import CheckRequest, PolicyWish, StartRequest
from watchword.verification.service import CheckResult, VerificationService
from watchword.verification.store import Snapshot
from watchword.verification.v1 import verification_pb2 as pb
from watchword.verification.v1 import verification_pb2_grpc as pb_grpc

_CHANNELS = {c: pb.Channel.Value(f"CHANNEL_{c}") for c in Channel}
_CHANNEL_OF = {int(number): channel for channel, number in _CHANNELS.items()}
_STATES = {s: pb.VerificationState.Value(f"VERIFICATION_STATE_{s}") for s in State}
_STATE_OF = {int(number): state for state, number in _STATES.items()}
_RESEND_OF = {int(pb.ResendPolicy.Value(f"RESEND_POLICY_{r}")): r for r in Resend}
_SERVED = frozenset({Channel.SMS, Channel.VOICE})


class VerificationServicer(pb_grpc.VerificationServiceServicer):
    """Answers the calls of VerificationService; the caller is established before it."""

    def __init__(
        self, service: VerificationService, rebinder: Rebinder, tokens: PageTokens
    ) -> None:
        """Serve `service`; `tokens` seal page tokens to their account."""
        self._service = service
        self._rebinder = rebinder
        self._tokens = tokens

    async def StartVerification(
        self, request: pb.StartVerificationRequest, context: Context
    ) -> pb.StartVerificationResponse:
        """Issue a code and queue its delivery."""
        snapshot = await self._service.start(current_caller(), _start_request(request))
        return pb.StartVerificationResponse(verification=_verification(snapshot))

    async def ResendVerification(
        self, request: pb.ResendVerificationRequest, context: Context
    ) -> pb.ResendVerificationResponse:
        """Queue one more send of a pending verification."""
        check_request_id(request.request_id)
        snapshot = await self._service.resend(
            current_caller(),
            require(request.verification_id, "verification_id"),
            _channel(request.channel) if request.HasField("channel") else None,
            request.request_id,
            request.SerializeToString(deterministic=True),
        )
        return pb.ResendVerificationResponse(verification=_verification(snapshot))

    async def CheckVerification(
        self, request: pb.CheckVerificationRequest, context: Context
    ) -> pb.CheckVerificationResponse:
        """Judge a code: the one reply that is authority."""
        result = await self._service.check(current_caller(), _check_request(request))
        return _check_response(result)

    async def CancelVerification(
        self, request: pb.CancelVerificationRequest, context: Context
    ) -> pb.CancelVerificationResponse:
        """End a pending verification."""
        check_request_id(request.request_id)
        snapshot = await self._service.cancel(
            current_caller(),
            require(request.verification_id, "verification_id"),
            request.request_id,
            request.SerializeToString(deterministic=True),
        )
        return pb.CancelVerificationResponse(verification=_verification(snapshot))

    async def GetVerification(
        self, request: pb.GetVerificationRequest, context: Context
    ) -> pb.GetVerificationResponse:
        """Show the committed state; information, not authority."""
        snapshot = await self._service.get(
            current_caller(), require(request.verification_id, "verification_id")
        )
        return pb.GetVerificationResponse(verification=_verification(snapshot))

    async def ListVerifications(
        self, request: pb.ListVerificationsRequest, context: Context
    ) -> pb.ListVerificationsResponse:
        """Show a page of the application's verifications, newest first."""
        caller = current_caller()
        size = page_size(request.page_size)
        method, filters = "ListVerifications", (request.phone_number, str(request.state))
        before = self._tokens.open(caller, method, request.page_token, *filters)
        state = None
        if request.HasField("state"):
            state = enum_value(request.state, _STATE_OF, "state")
        page = await self._service.list(caller, request.phone_number, state, before, size + 1)
        response = pb.ListVerificationsResponse(
            verifications=[_verification(snapshot) for snapshot in page[:size]]
        )
        if len(page) > size:
            last = page[size - 1].verification.verification_id
            response.next_page_token = self._tokens.seal(caller, method, last, *filters)
        return response

    async def WatchVerification(
        self, request: pb.WatchVerificationRequest, context: Context
    ) -> AsyncIterator[pb.WatchVerificationResponse]:
        """Show the whole state at once, then each change, until it is terminal."""
        verification_id = require(request.verification_id, "verification_id")
        async for snapshot in self._service.watch(current_caller(), verification_id):
            yield pb.WatchVerificationResponse(verification=_verification(snapshot))

    async def GetQuota(self, request: pb.GetQuotaRequest, context: Context) -> pb.GetQuotaResponse:
        """Show what this account's limits on a phone have left."""
        shown = await quotas(
            self._service, current_caller(), request.phone_number, request.region_code
        )
        response = pb.GetQuotaResponse(next_send_time=to_timestamp(shown.next_send_time))
        for quota in shown.quotas:
            response.quotas.add(
                name=_QUOTAS[quota.name],
                limit=quota.limit,
                used=quota.used,
                remaining=max(0, quota.limit - quota.used),
                reset_time=to_timestamp(quota.reset_time),
            )
        return response

    async def RebindPhone(
        self, request: pb.RebindPhoneRequest, context: Context
    ) -> pb.RebindPhoneResponse:
        """Ask that a hard stop on a phone ends, after a wait and with notice."""
        check_request_id(request.request_id)
        outcome = await self._rebinder.rebind(
            current_caller(),
            RebindRequest(
                phone_number=request.phone_number,
                region_code=request.region_code,
                reason=request.reason,
                evidence=Secret(request.evidence),
                request_id=request.request_id,
                body=request.SerializeToString(deterministic=True),
            ),
        )
        pending = outcome.effective_time > outcome.now
        return pb.RebindPhoneResponse(
            rebind=pb.Rebind(
                state=pb.REBIND_STATE_PENDING if pending else pb.REBIND_STATE_EFFECTIVE,
                effective_time=to_timestamp(outcome.effective_time),
            )
        )

    async def LookupPhoneNumber(
        self, request: pb.LookupPhoneNumberRequest, context: Context
    ) -> pb.LookupPhoneNumberResponse:
        """Tell what the numbering plan says of a number; nothing of who is known here."""
        found = lookup(request.phone_number, request.region_code)
        return pb.LookupPhoneNumberResponse(
            e164=found.e164,
            region_code=found.region_code,
            line_type=pb.LineType.Value(f"LINE_TYPE_{found.line_type}"),
            carrier_name=found.carrier_name,
            time_zones=found.time_zones,
            possible=found.possible,
            valid=found.valid,
        )

    async def EvaluateStart(
        self, request: pb.EvaluateStartRequest, context: Context
    ) -> pb.EvaluateStartResponse:
        """Refuse: published ahead of the routes that it will explain."""
        _unimplemented()

    async def ReportOutcome(
        self, request: pb.ReportOutcomeRequest, context: Context
    ) -> pb.ReportOutcomeResponse:
        """Refuse: published ahead of the routes that it will feed."""
        _unimplemented()


_QUOTAS = {name: pb.QuotaName.Value(f"QUOTA_NAME_{name}") for name in QuotaName}


def _start_request(request: pb.StartVerificationRequest) -> StartRequest:
    check_request_id(request.request_id)
    recipient = request.WhichOneof("recipient")
    if recipient is None:
        raise InvalidArgument("a recipient is required", field="phone_number")
    if recipient != "phone_number":
        raise FailedPrecondition("only phone numbers are served", reason=Reason.CHANNEL_UNAVAILABLE)
    channel = _channel(request.channel) if request.HasField("channel") else Channel.SMS
    return StartRequest(
        phone_number=request.phone_number,
        region_code=request.region_code,
        channel=channel,
        purpose=request.purpose,
        action=request.action,
        binding=request.binding,
        policy=_policy(request.code_policy) if request.HasField("code_policy") else PolicyWish(),
        language_code=request.language_code,
        web_otp_origin=request.web_otp_origin,
        android_app_hash=request.android_app_hash,
        tags=request.tags,
        custom_code=Secret(request.custom_code) if request.custom_code else None,
        request_id=request.request_id,
        body=request.SerializeToString(deterministic=True) if request.request_id else b"",
    )


def _check_request(request: pb.CheckVerificationRequest) -> CheckRequest:
    check_request_id(request.request_id)
    if not request.verification_id and not request.phone_number:
        raise InvalidArgument(
            "verification_id or phone_number is required", field="verification_id"
        )
    return CheckRequest(
        verification_id=request.verification_id,
        phone_number=request.phone_number,
        code=Secret(request.code),
        purpose=request.purpose,
        action=request.action,
        binding=request.binding,
        request_id=request.request_id,
        body=request.SerializeToString(deterministic=True) if request.request_id else b"",
    )


def _check_response(result: CheckResult) -> pb.CheckVerificationResponse:
    response = pb.CheckVerificationResponse(verification=_verification(result.snapshot))
    if result.receipt is not None:
        approval = response.approval
        approval.receipt = result.receipt.token
        approval.salts.phone_salt = result.receipt.phone_salt
        approval.salts.action_salt = result.receipt.action_salt
        _set_time(approval.approve_time, result.snapshot.verification.approve_time)
    elif result.rejection is not None:
        response.rejection.reason = pb.RejectionReason.Value(f"REJECTION_REASON_{result.rejection}")
        response.rejection.checks_remaining = result.checks_remaining
    return response


def _policy(policy: pb.CodePolicy) -> PolicyWish:
    if policy.length < 0 or policy.max_checks < 0:
        raise InvalidArgument("must not be negative", field="code_policy")
    resend = None
    if policy.HasField("resend"):
        resend = enum_value(policy.resend, _RESEND_OF, "code_policy.resend")
    ttl = 0
    if policy.HasField("ttl"):
        ttl = require(from_duration(policy.ttl, "code_policy.ttl"), "code_policy.ttl")
    return PolicyWish(policy.length, ttl, policy.max_checks, resend)


def _channel(number: int) -> Channel:
    channel = enum_value(number, _CHANNEL_OF, "channel")
    if channel not in _SERVED:
        raise FailedPrecondition("this channel is not served", reason=Reason.CHANNEL_UNAVAILABLE)
    return channel


def _verification(snapshot: Snapshot) -> pb.Verification:
    row = snapshot.verification
    message = pb.Verification(
        verification_id=row.verification_id,
        application_id=row.application_id,
        state=_STATES[row.state],
        channel=_CHANNELS[row.channel],
        purpose=row.purpose,
        recipient_hint=row.hint,
        region_code=row.region_code,
        line_type=_LINE_TYPES[row.line_type],
        sends=[_send(send) for send in snapshot.sends],
        checks_remaining=row.checks_remaining,
        sends_remaining=row.sends_remaining,
        test=row.test,
        code_origin=_ORIGINS[row.code_origin],
    )
    if row.tags:
        message.tags.update(json.loads(row.tags))
    if row.next_send_time and row.state is State.PENDING:
        _set_time(message.next_send_time, row.next_send_time)
    _set_time(message.create_time, row.create_time)
    _set_time(message.update_time, row.update_time)
    _set_time(message.expire_time, row.expire_time)
    return message


def _send(send: Send) -> pb.Send:
    message = pb.Send(
        send_id=send.send_id,
        channel=_CHANNELS[send.channel],
        carrier=send.carrier,
        state=_SEND_STATES[send.state],
        error_reason=send.error_reason,
    )
    _set_time(message.create_time, send.create_time)
    _set_time(message.update_time, send.update_time)
    if send.submit_time:
        _set_time(message.submit_time, send.submit_time)
    return message


_SEND_STATES = {name.removeprefix("SEND_STATE_"): number for name, number in pb.SendState.items()}
_LINE_TYPES = {name.removeprefix("LINE_TYPE_"): number for name, number in pb.LineType.items()}
_ORIGINS = {
    "derived": pb.CODE_ORIGIN_DERIVED,
    "caller": pb.CODE_ORIGIN_CALLER,
}


def _set_time(field: Timestamp, millis: Millis) -> None:
    field.seconds = millis // SECOND
    field.nanos = millis % SECOND * 1_000_000


def _unimplemented() -> NoReturn:
    raise Unimplemented("this method does not exist yet")
