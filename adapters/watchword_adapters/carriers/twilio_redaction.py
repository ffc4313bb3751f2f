"""Blanks the bodies of messages at Twilio once they are no longer needed there.

Twilio keeps a message's text for months. Posting an empty body to its resource removes
it, as soon as the message has left Twilio's queue. The list of what is still to be
redacted lives in memory: a restart forgets it. Where that matters, shorten the
retention in Twilio's own console as well.
"""

import asyncio
import logging
from http import HTTPStatus

import aiohttp

_TRIES = 5
_MOST_WAITING = 100_000
_log = logging.getLogger(__name__)


class Redactor:
    """Redacts each message a while after it was taken, with a few more tries if refused."""

    def __init__(self, session: aiohttp.ClientSession, messages: str, after: int) -> None:
        """Post to resources under the URL `messages`, `after` milliseconds later."""
        self._session = session
        self._messages = messages
        self._after = after / 1000
        self._tasks: set[asyncio.Task[None]] = set()

    def later(self, sid: str) -> None:
        """Redact the message `sid` in a while."""
        if len(self._tasks) >= _MOST_WAITING:
            _log.warning("too many messages wait for redaction")
            return
        task = asyncio.create_task(self._redact(sid))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Forget what waits."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _redact(self, sid: str) -> None:
        for attempt in range(_TRIES):
            await asyncio.sleep(self._after * 2**attempt)
            if await self._blanked(sid):
                return
        _log.warning("a message could not be redacted")

    async def _blanked(self, sid: str) -> bool:
        try:
            async with self._session.post(
                f"{self._messages}/{sid}.json", data={"Body": ""}, allow_redirects=False
            ) as answer:
                return answer.status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
