"""One attempt at one send: a slot, the message, the call, and what came of it."""

import asyncio
from collections.abc import Mapping
from typing import Protocol, cast

from watchword.core.errors import Unavailable
from watchword.core.ports import SECOND, Clock, Entropy, Millis
from watchword.delivery.carrier import CarrierError, Message, Throttled
from watchword.delivery.composer import Composer
from watchword.delivery.lane import Lane
from watchword.delivery.outbox import Claim, Outbox, Result, ResultKind
from watchword.delivery.router import Router
from watchword.telemetry.logs import Log
from watchword.vault.envelope import SealBroken

_KINDS: Mapping[str, ResultKind] = {
    str(kind): kind
    for kind in ResultKind
    if kind not in (ResultKind.SUBMITTED, ResultKind.TOO_LATE, ResultKind.NOT_NEEDED)
}
_FAILS_OVER = frozenset({ResultKind.THROTTLED, ResultKind.UNREACHABLE, ResultKind.MISCONFIGURED})
_LONGEST_RETRY_AFTER: Millis = 600 * SECOND
_MAX_PROVIDER_ID = 128


class AttemptMeter(Protocol):
    """Counts calls of carriers; labels are from closed sets."""

    def attempted(
        self, channel: str, region: str, carrier: str, outcome: str, latency: Millis
    ) -> None:
        """Count one call of a carrier: a `ResultKind` and how long it took."""
        ...


class Attempts:
    """Makes attempts at claimed sends. Whatever goes wrong becomes a `Result`."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        composer: Composer,
        router: Router,
        clock: Clock,
        entropy: Entropy,
        meter: AttemptMeter,
        log: Log,
        call_timeout: Millis,
    ) -> None:
        """Box each call in `call_timeout` milliseconds."""
        self._outbox = outbox
        self._composer = composer
        self._router = router
        self._clock = clock
        self._entropy = entropy
        self._meter = meter
        self._log = log
        self._call_timeout = call_timeout

    async def attempt(self, lane: Lane, claim: Claim) -> Result:
        """Wait for a slot, compose, call the carrier; never raises but for our own bugs."""
        waits = lane.slots.locked()
        try:
            if waits:
                async with asyncio.timeout(self._patience(claim, self._clock.now()) / SECOND):
                    await lane.slots.acquire()
            else:
                await lane.slots.acquire()
        except (TimeoutError, asyncio.CancelledError):
            return self.given_back(lane, claim)
        try:
            if waits and not await self._wanted(claim):
                return self.result(claim, ResultKind.NOT_NEEDED)
            return await self._in_slot(lane, claim)
        except asyncio.CancelledError:
            # Cut off before the call began: nothing was sent.
            return self.given_back(lane, claim)
        finally:
            lane.slots.release()

    async def _wanted(self, claim: Claim) -> bool:
        """Tell whether what waited in line should still go; yes where nobody can say."""
        try:
            return await self._outbox.wanted(claim.send.send_id)
        except Unavailable:
            return True

    async def _in_slot(self, lane: Lane, claim: Claim) -> Result:
        now = self._clock.now()
        if self._patience(claim, now) <= 0:
            return self.given_back(lane, claim)
        if now >= claim.send.expire_time:
            return self.result(claim, ResultKind.TOO_LATE)
        message = await self._composed(claim, now)
        if not isinstance(message, Message):
            return self.result(claim, message)
        return await self._call(lane, claim, message)

    def _patience(self, claim: Claim, now: Millis) -> Millis:
        """Return how long the call may still wait if it is to end within the lease."""
        return claim.send.lease_time - self._call_timeout - now

    async def _composed(self, claim: Claim, now: Millis) -> Message | ResultKind:
        """Return the message, or how the attempt ends without one."""
        try:
            message = await self._composer.compose(claim, now)
        except Exception as error:  # noqa: BLE001 - a row that cannot be read ends its own send
            self._log.error(
                "a message could not be composed",
                send_id=claim.send.send_id,
                error=type(error).__name__,
            )
            # The key store may be back soon; a broken seal stays broken.
            away = isinstance(error, Unavailable) and not isinstance(error, SealBroken)
            return ResultKind.UNREACHABLE if away else ResultKind.MISCONFIGURED
        return ResultKind.TOO_LATE if message is None else message

    async def _call(self, lane: Lane, claim: Claim, message: Message) -> Result:
        # The loop's time, which a simulation can stop: how long a call takes decides waits.
        time = asyncio.get_running_loop().time
        began = time()
        result = await self._sent(lane, claim, message)
        latency = int((time() - began) * SECOND)
        lane.took(latency)
        send = claim.send
        self._meter.attempted(send.channel, send.region_code, lane.name, result.kind, latency)
        if result.kind not in (ResultKind.SUBMITTED, ResultKind.REJECTED):
            count = lane.failed(self._clock.now())
            if count:
                self._log.warning(
                    "a carrier fails", carrier=lane.name, kind=result.kind, count=count
                )
        return result

    async def _sent(self, lane: Lane, claim: Claim, message: Message) -> Result:
        # Cutting off is all that a time-out does here, and it means what the stop's means: so
        # a bare timer, for `asyncio.timeout` costs as much as a quick call.
        timer = _cut_off_after(self._call_timeout)
        try:
            submitted = await lane.carrier.send(message)
        except Throttled as error:
            return self._failed(claim, ResultKind.THROTTLED, error.retry_after)
        except CarrierError as error:
            return self._failed(claim, _KINDS.get(error.kind, ResultKind.AMBIGUOUS))
        except (TimeoutError, asyncio.CancelledError):
            # Too slow, or cut off by the stop: the message may have left.
            return self._failed(claim, ResultKind.AMBIGUOUS)
        except Exception as error:  # noqa: BLE001 - what an adapter must not raise says nothing
            self._log.error(
                "a carrier raised what it must not", carrier=lane.name, error=type(error).__name__
            )
            return self._failed(claim, ResultKind.AMBIGUOUS)
        finally:
            timer.cancel()
        provider_id = submitted.provider_id[:_MAX_PROVIDER_ID]
        return Result(claim.send.send_id, claim.send.attempts, ResultKind.SUBMITTED, provider_id)

    def _failed(self, claim: Claim, kind: ResultKind, retry_after: Millis = 0) -> Result:
        """Return the result of a call, with who takes over where nothing was sent."""
        send = claim.send
        heir = ""
        if kind in _FAILS_OVER:
            # A wrong set-up stays wrong: going round would only burn the attempts.
            around = kind is not ResultKind.MISCONFIGURED
            heir = self._router.next(send.channel, send.carrier, around=around)
        wait = 0 if heir else min(max(retry_after, 0), _LONGEST_RETRY_AFTER)
        return self.result(claim, kind)._replace(next_carrier=heir, retry_after=wait)

    def given_back(self, lane: Lane, claim: Claim) -> Result:
        """Return a send that waited in line for too long: nothing was sent."""
        return self.result(claim, ResultKind.THROTTLED)._replace(retry_after=lane.wait)

    def result(self, claim: Claim, kind: ResultKind) -> Result:
        """Return how an attempt ended without a call."""
        return Result(claim.send.send_id, claim.send.attempts, kind, jitter=jitter(self._entropy))


def _cut_off_after(timeout: Millis) -> asyncio.TimerHandle:
    """Return a timer that cancels the running task unless it is canceled before."""
    task = cast("asyncio.Task[object]", asyncio.current_task())
    return asyncio.get_running_loop().call_later(timeout / SECOND, task.cancel)


def jitter(entropy: Entropy) -> float:
    """Return a number in [0, 1) that spreads what would come all at once."""
    return int.from_bytes(entropy.token(2)) / 65_536
