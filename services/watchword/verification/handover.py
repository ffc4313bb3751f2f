"""Hands the message of a Start or Resend straight to its carrier, once it is committed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from watchword.delivery.courier import Courier
from watchword.verification.starting import StartCommand
from watchword.verification.store import ResendCommand, StartOutcome

C = TypeVar("C", StartCommand, ResendCommand)


class HandOver:
    """Runs commands with a place kept at the carrier, so that no queue is asked for the send.

    The command's own transaction records the lease and the attempt. A crash between its
    commit and the hand-over is a lease that runs out, like any other.
    """

    def __init__(self, courier: Courier) -> None:
        """Keep places with `courier`."""
        self._courier = courier
        self._running: set[asyncio.Task[StartOutcome]] = set()

    async def run(
        self, execute: Callable[[C], Coroutine[Any, Any, StartOutcome]], command: C
    ) -> StartOutcome:
        """Let the store `execute` the command; raises what that raises.

        A caller that goes away leaves the command running, and what it commits is sent.
        """
        carrier = command.sending.plan.carrier
        lease = self._courier.reserve(carrier)
        if not lease:
            return await execute(command)
        leased = command._replace(sending=command.sending._replace(lease=lease))
        task = asyncio.create_task(self._kept(execute, leased, carrier))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[StartOutcome]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # A caller that has gone hears of no refusal; unheard, it would be logged as a fault.
            task.exception()

    async def _kept(
        self, execute: Callable[[C], Coroutine[Any, Any, StartOutcome]], leased: C, carrier: str
    ) -> StartOutcome:
        try:
            outcome = await execute(leased)
        except BaseException:
            self._courier.release(carrier)
            raise
        if outcome.claim is None:
            self._courier.release(carrier)
        else:
            self._courier.deliver(outcome.claim)
        return outcome
