"""Holds a submitted code against the derived ones, in memory; the store alone decides."""

from typing import NamedTuple

from watchword.core import codes
from watchword.core.errors import NotFound
from watchword.core.secret import Secret
from watchword.delivery.sealing import custom_code_mac
from watchword.tenancy.model import Caller
from watchword.vault.epochs import EpochKeys
from watchword.verification.request import code_malformed, parse_id


class Comparison(NamedTuple):
    """Which generations a code would match (a bit each), or its MAC as a fixed code."""

    matches: int
    custom_mac: bytes


async def compare(
    epochs: EpochKeys, caller: Caller, verification_id: str, code: Secret[str]
) -> Comparison:
    """Return what the code would match.

    Raises `NotFound` for what is no id, `InvalidArgument` for a code of another length,
    `Unavailable` where the epoch's key cannot be had.
    """
    parsed = parse_id(verification_id)
    text = code.reveal()
    if not codes.is_code(text, parsed.length):
        raise code_malformed()
    if not parsed.fixed and parsed.length > codes.MAX_LENGTH:
        raise NotFound("no such verification")
    epoch_key = epochs.peek(caller.account_id, parsed.epoch)
    if epoch_key is None:
        epoch_key = await epochs.get(caller.account_id, parsed.epoch)
    if epoch_key is None:
        # The epoch is over and its key destroyed: nothing can match any more.
        return Comparison(0, b"")
    if parsed.fixed:
        return Comparison(0, custom_code_mac(epoch_key, verification_id, code))
    key = codes.code_key(epoch_key, verification_id, caller.application_id)
    generations = codes.GENERATIONS if parsed.renewable else 1
    return Comparison(codes.matching_generations(key, text, parsed.length, generations), b"")
