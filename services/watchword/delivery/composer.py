"""Composes a queued message at the moment it is sent; nothing of it was kept in the clear."""

import json

from watchword.core import codes
from watchword.core.ids import epoch_of, parse_verification_id
from watchword.core.ports import Millis
from watchword.core.secret import Secret
from watchword.delivery.carrier import Message
from watchword.delivery.message import read_spec, render_code_message, render_notice
from watchword.delivery.outbox import Claim, Send, SendKind
from watchword.delivery.sealing import open_custom_code, open_recipient
from watchword.vault.epochs import EpochKeys


class Composer:
    """Turns a claim into a message: opens the recipient, derives the code again, renders.

    The code comes out of the epoch key, the verification's id and the generation alone,
    so that every attempt carries the same one.
    """

    def __init__(self, epochs: EpochKeys) -> None:
        """Take the keys of `epochs`."""
        self._epochs = epochs

    async def compose(self, claim: Claim, now: Millis) -> Message | None:
        """Return the message, or None where the epoch's key was destroyed: it is too late.

        Raises `Unavailable` where the key cannot be had now, `SealBroken` or `ValueError`
        where the row is not what was written.
        """
        send = claim.send
        epoch, length = _epoch_and_length(send)
        epoch_key = self._epochs.peek(send.account_id, epoch)
        if epoch_key is None:
            epoch_key = await self._epochs.get(send.account_id, epoch)
        if epoch_key is None:
            return None
        to = open_recipient(epoch_key, send.subject_id, send.account_id, claim.recipient_sealed)
        if send.kind is SendKind.NOTICE:
            spec, code = read_spec(send.notice), Secret("")
            body = render_notice(_notice_kind(send.notice), spec)
        else:
            spec, code = read_spec(claim.message), _code(claim, epoch_key, length)
            body = render_code_message(spec, code, send.channel)
        return Message(
            send_id=send.send_id,
            attempt_id=send.attempt_id,
            verification_id=send.subject_id if send.kind is SendKind.CODE else "",
            channel=send.channel,
            to=to,
            body=body,
            code=code,
            language_code=spec.language_code,
            time=now,
        )


def _code(claim: Claim, epoch_key: bytes, length: int) -> Secret[str]:
    send = claim.send
    if claim.custom_sealed:
        return open_custom_code(epoch_key, send.subject_id, send.account_id, claim.custom_sealed)
    key = codes.code_key(epoch_key, send.subject_id, send.application_id)
    return codes.derive_code(key, send.generation, length)


def _epoch_and_length(send: Send) -> tuple[int, int]:
    """Return the code epoch and length that the subject's id says; a notice has no length."""
    if send.kind is SendKind.NOTICE:
        # The id begins with its time: two capitals, then 48 bits of milliseconds.
        return epoch_of(int(send.subject_id[2:14], 16)), 0
    parsed = parse_verification_id(send.subject_id)
    if parsed is None:
        raise ValueError("the send names no verification")
    return parsed.epoch, parsed.length


def _notice_kind(notice: str) -> str:
    """Return the kind that the JSON object of a notice names."""
    return str(json.loads(notice).get("kind", ""))
