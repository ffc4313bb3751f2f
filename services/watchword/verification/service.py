"""The use cases of verification: what happens between a call's values and the store's command."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple

from watchword.core.errors import (
    DomainError,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    Reason,
    ResourceExhausted,
)
from watchword.core.phone import PhoneNumber, is_fictitious, parse_phone
from watchword.core.ports import SECOND, ChangeBus, Clock, Entropy
from watchword.delivery.carrier import Channel
from watchword.delivery.router import Router
from watchword.fraud.budget import AccountCaps
from watchword.fraud.limits import PhoneLimits
from watchword.tenancy.directory import Directory
from watchword.tenancy.model import Account, Application, Caller
from watchword.tenancy.usage import UsageMeter
from watchword.vault.derive import request_mac
from watchword.vault.epochs import EpochKeys
from watchword.vault.index import BlindIndex
from watchword.vault.keyring import KeyProvider
from watchword.vault.signing import ReceiptSigner
from watchword.verification.checking import CheckCommand
from watchword.verification.comparing import compare
from watchword.verification.draft import Drafter, check_allowed, check_sending, check_trial
from watchword.verification.handover import HandOver
from watchword.verification.keyed import KeyedValues
from watchword.verification.meter import VerificationMeter
from watchword.verification.model import (
    RejectionReason,
    RequestKey,
    SendPlan,
    State,
    Verification,
)
from watchword.verification.receipt import RECEIPT_TTL, Receipt, ReceiptMaker
from watchword.verification.request import (
    CheckRequest,
    StartRequest,
    check_code,
    check_scope_fields,
    check_start,
    merged_policy,
    parse_id,
)
from watchword.verification.starting import Sending, StartCommand
from watchword.verification.store import (
    CancelCommand,
    CheckOutcome,
    ListQuery,
    ResendCommand,
    Snapshot,
    StartOutcome,
    VerificationStore,
)
from watchword.verification.test_numbers import TestNumbers


class CheckResult(NamedTuple):
    """What a Check came to: a receipt, or why not."""

    snapshot: Snapshot
    receipt: Receipt | None
    rejection: RejectionReason | None
    checks_remaining: int


@dataclass(slots=True)
class VerificationService:
    """Starts, resends, checks, cancels and shows verifications for a proven caller."""

    store: VerificationStore
    directory: Directory
    provider: KeyProvider
    index: BlindIndex
    keyed: KeyedValues
    epochs: EpochKeys
    signer: ReceiptSigner
    receipts: ReceiptMaker
    drafter: Drafter
    test_numbers: TestNumbers
    router: Router
    handover: HandOver
    clock: Clock
    entropy: Entropy
    bus: ChangeBus
    limits: PhoneLimits
    meter: VerificationMeter
    usage: UsageMeter

    async def start(self, caller: Caller, request: StartRequest) -> Snapshot:
        """Issue a code and queue its delivery.

        Raises `InvalidArgument`, `FailedPrecondition`, `PermissionDenied` or
        `ResourceExhausted`; then nothing was issued and nothing is sent.
        """
        application = await self.application(caller)
        account = await self.account(application)
        check_start(request)
        phone = parse_phone(request.phone_number, request.region_code)
        check_allowed(account, application, phone, request)
        command = await self._start_command(caller, account, application, phone, request)
        try:
            outcome = await self.handover.run(self.store.start, command)
        except ResourceExhausted as refusal:
            self._refused(request.channel, phone.region_code, refusal)
            raise
        self._count_start(outcome)
        return outcome.snapshot

    async def resend(
        self,
        caller: Caller,
        verification_id: str,
        channel: Channel | None,
        request_id: str,
        body: bytes,
    ) -> Snapshot:
        """Queue one more send of a pending verification, by its own channel or another.

        Raises `NotFound`, `FailedPrecondition` or `ResourceExhausted`.
        """
        application = await self.application(caller)
        account = await self.account(application)
        row = (await self._get(caller, verification_id)).verification
        by = channel or row.channel
        check_sending(account, application, by, row.region_code)
        if not row.test:
            check_trial(account, row.phone_index)
        command = ResendCommand(
            verification_id=verification_id,
            account_id=caller.account_id,
            application_id=caller.application_id,
            sending=self._sending(account, self._plan(by)),
            request=self.request_key(caller, "Resend", request_id, body),
        )
        try:
            outcome = await self.handover.run(self.store.resend, command)
        except ResourceExhausted as refusal:
            self._refused(by, row.region_code, refusal)
            raise
        self._count_start(outcome)
        return outcome.snapshot

    async def check(self, caller: Caller, request: CheckRequest) -> CheckResult:
        """Judge a code; an approval comes with its receipt.

        Raises `InvalidArgument`, `NotFound`, `FailedPrecondition` (VERIFICATION_AMBIGUOUS)
        or `ResourceExhausted` (GUESS_BUDGET_EXHAUSTED); a wrong code is no error.
        """
        application = await self.application(caller)
        check_scope_fields(request.purpose, request.action, request.binding)
        check_code(request.code)
        verification_id = request.verification_id or await self._pending_id(caller, request)
        command = await self._check_command(caller, verification_id, request)
        try:
            outcome = await self.store.check(command)
        except ResourceExhausted as refusal:
            self.meter.limit_hit(refusal.reason)
            raise
        return self._checked(application, request, outcome)

    async def cancel(
        self, caller: Caller, verification_id: str, request_id: str, body: bytes
    ) -> Snapshot:
        """End a pending verification. Raises `NotFound`, `FailedPrecondition`."""
        await self.application(caller)
        parse_id(verification_id)
        return await self.store.cancel(
            CancelCommand(
                verification_id=verification_id,
                account_id=caller.account_id,
                application_id=caller.application_id,
                request=self.request_key(caller, "Cancel", request_id, body),
            )
        )

    async def get(self, caller: Caller, verification_id: str) -> Snapshot:
        """Return the committed state. Raises `NotFound`."""
        await self.application(caller)
        return await self._get(caller, verification_id)

    async def list(
        self, caller: Caller, phone_number: str, state: State | None, before: str, limit: int
    ) -> list[Snapshot]:
        """Return a page of the application's verifications, newest first."""
        await self.application(caller)
        phone_index = b""
        if phone_number:
            phone_index = self.index.phone(caller.account_id, parse_phone(phone_number).e164)
        return await self.store.list(
            ListQuery(
                account_id=caller.account_id,
                application_id=caller.application_id,
                phone_index=phone_index,
                state=state,
                before=before,
                limit=limit,
            )
        )

    async def watch(self, caller: Caller, verification_id: str) -> AsyncIterator[Snapshot]:
        """Yield the whole state at once, then after each change; ends after a terminal one."""
        await self.application(caller)
        async with self.bus.subscribe(verification_id) as changes:
            snapshot = await self._get(caller, verification_id)
            yield snapshot
            while snapshot.verification.state is State.PENDING:
                await anext(changes)
                seen, snapshot = snapshot, await self._get(caller, verification_id)
                if (snapshot.verification, snapshot.sends) != (seen.verification, seen.sends):
                    yield snapshot

    async def application(self, caller: Caller) -> Application:
        """Return the caller's application.

        Raises `PermissionDenied` for a credential that acts for no application.
        """
        found = None
        if caller.application_id:
            found = await self.directory.application(caller.application_id)
        if found is None:
            raise PermissionDenied("this credential belongs to no application")
        return found

    def request_key(
        self, caller: Caller, method: str, request_id: str, body: bytes
    ) -> RequestKey | None:
        """Return the key under which a call's effect is remembered, None without a request id."""
        if not request_id:
            return None
        mac = request_mac(self.provider, body)
        return RequestKey(caller.application_id, method, request_id, mac)

    async def account(self, application: Application) -> Account:
        """Return the application's account."""
        account = await self.directory.account(application.account_id)
        if account is None:
            raise PermissionDenied("this credential belongs to no account")
        return account

    async def _get(self, caller: Caller, verification_id: str) -> Snapshot:
        parse_id(verification_id)
        return await self.store.get(verification_id, caller.account_id, caller.application_id)

    async def _start_command(
        self,
        caller: Caller,
        account: Account,
        application: Application,
        phone: PhoneNumber,
        request: StartRequest,
    ) -> StartCommand:
        policy = merged_policy(application.code_policy, request.policy)
        test_code = None
        if is_fictitious(phone):
            test_code = await self.test_numbers.code_of(application, phone)
        plan = self._plan(request.channel)
        draft = await self.drafter.draft(
            application,
            phone,
            request,
            policy,
            channel=request.channel,
            trust=self.router.trust(plan.carrier),
            test_code=test_code,
        )
        if test_code is None:
            check_trial(account, draft.phone_index)
        return StartCommand(
            draft=draft,
            policy=policy,
            sending=self._sending(account, plan),
            request=self.request_key(caller, "Start", request.request_id, request.body),
        )

    async def _check_command(
        self, caller: Caller, verification_id: str, request: CheckRequest
    ) -> CheckCommand:
        compared = await compare(self.epochs, caller, verification_id, request.code)
        return CheckCommand(
            verification_id=verification_id,
            account_id=caller.account_id,
            application_id=caller.application_id,
            matches=compared.matches,
            custom_mac=compared.custom_mac,
            purpose=request.purpose,
            action_mac=self.keyed.action(caller.account_id, caller.application_id, request.action),
            binding_key=self.keyed.binding(
                caller.account_id, caller.application_id, request.binding
            ),
            receipt_kid=self.signer.current_kid(),
            limits=self.limits,
            request=self.request_key(caller, "Check", request.request_id, request.body),
        )

    async def _pending_id(self, caller: Caller, request: CheckRequest) -> str:
        phone = parse_phone(request.phone_number)
        found = await self.store.pending_ids(
            caller.application_id,
            self.index.phone(caller.account_id, phone.e164),
            request.purpose,
            self.keyed.binding(caller.account_id, caller.application_id, request.binding) or None,
        )
        if not found:
            raise NotFound("no such verification")
        if len(found) > 1:
            raise FailedPrecondition(
                "several verifications of this phone are pending; check by verification_id",
                reason=Reason.VERIFICATION_AMBIGUOUS,
            )
        return found[0]

    def _checked(
        self, application: Application, request: CheckRequest, outcome: CheckOutcome
    ) -> CheckResult:
        row = outcome.snapshot.verification
        self._count_check(row, outcome)
        rejection = outcome.rejection
        receipt = None
        if outcome.approved and outcome.snapshot.now >= row.approve_time + RECEIPT_TTL:
            rejection = RejectionReason.ALREADY_USED
        elif outcome.approved:
            audience = application.audience or application.application_id
            receipt = self.receipts.make(row, audience, request.action)
        return CheckResult(outcome.snapshot, receipt, rejection, outcome.checks_remaining)

    def _sending(self, account: Account, plan: SendPlan) -> Sending:
        caps = AccountCaps(account.sends_per_hour, account.sends_per_day)
        return Sending(plan, self.limits, caps)

    def _plan(self, channel: Channel) -> SendPlan:
        return SendPlan(channel, self.router.first(channel))

    def _count_start(self, outcome: StartOutcome) -> None:
        row = outcome.snapshot.verification
        kind = "replayed" if outcome.replayed else "created" if outcome.created else "resent"
        self.meter.start(row.channel, row.region_code, kind)
        if not outcome.replayed:
            self._use(row, starts=int(outcome.created), sends=int(not row.test))

    def _count_check(self, row: Verification, outcome: CheckOutcome) -> None:
        result = "replayed" if outcome.replayed else (outcome.rejection or "approved").lower()
        self.meter.check(row.channel, row.region_code, result)
        if outcome.approved and not outcome.replayed:
            seconds = (row.approve_time - row.create_time) / SECOND
            self.meter.conversion(row.channel, row.region_code, seconds)
            self._use(row, approvals=1)

    def _use(
        self, row: Verification, *, starts: int = 0, sends: int = 0, approvals: int = 0
    ) -> None:
        self.usage.record(
            row.account_id,
            row.application_id,
            row.channel,
            row.region_code,
            self.router.first(row.channel),
            starts=starts,
            sends=sends,
            approvals=approvals,
        )

    def _refused(self, channel: Channel, region: str, refusal: DomainError) -> None:
        self.meter.start(channel, region, "refused")
        self.meter.limit_hit(refusal.reason)
