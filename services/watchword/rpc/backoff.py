"""Slows down who fails to authenticate, without a way to lock anybody else out.

Failures are counted by (credential id, peer) and by peer. Past a free number each
further one doubles a wait, in which nothing is compared. Another peer, a certificate, or
a secret that was found right before never waits, so that nobody is locked out by others'
guesses, not even behind one proxy where all callers share a peer.
"""

from typing import Final, NamedTuple

from watchword.core.ports import MINUTE, SECOND, Clock, Millis

PAIR_FREE: Final = 20
PEER_FREE: Final = 200
FIRST_WAIT: Millis = SECOND
LONGEST_WAIT: Millis = MINUTE
FORGET_AFTER: Millis = 15 * MINUTE

_Key = tuple[str, str]


class _Failures(NamedTuple):
    times: int
    last: Millis
    until: Millis


class Backoff:
    """Remembers the failures of at most `capacity` keys, the newest ones."""

    def __init__(self, clock: Clock, capacity: int = 10_000) -> None:
        """Count from nothing; a restart forgets."""
        self._clock = clock
        self._capacity = capacity
        self._failures: dict[_Key, _Failures] = {}

    def wait(self, credential_id: str, peer: str) -> Millis:
        """Return how long this pair has to wait, 0 where its secret may be compared."""
        if not self._failures:
            return 0
        now = self._clock.now()
        waits = [
            found.until - now
            for key in ((credential_id, peer), ("", peer))
            if (found := self._failures.get(key)) is not None
        ]
        return max(0, *waits) if waits else 0

    def failed(self, credential_id: str, peer: str) -> None:
        """Count a failure; `credential_id` is "" where none could be read."""
        if credential_id:
            self._count((credential_id, peer), PAIR_FREE)
        self._count(("", peer), PEER_FREE)

    def succeeded(self, credential_id: str, peer: str) -> None:
        """Forget the failures of this pair; those of the peer stay."""
        self._failures.pop((credential_id, peer), None)

    def _count(self, key: _Key, free: int) -> None:
        now = self._clock.now()
        before = self._failures.pop(key, None)
        count = 1
        if before is not None and now - before.last < FORGET_AFTER:
            count = before.times + 1
        until = 0
        if count >= free:
            until = now + min(FIRST_WAIT << min(count - free, 16), LONGEST_WAIT)
        if len(self._failures) >= self._capacity:
            del self._failures[next(iter(self._failures))]
        self._failures[key] = _Failures(count, now, until)
