"""What Twilio's answers mean: from HTTP status and error code to the carrier's typed errors.

Sources: Twilio's REST API best practices (statuses, 429 and Retry-After) and its error
and warning dictionary (codes). What is not listed is judged by its status alone.
"""

from collections.abc import Mapping
from http import HTTPStatus

from watchword.core.ports import MINUTE, SECOND, Millis
from watchword.delivery.carrier import (
    Ambiguous,
    CarrierError,
    Misconfigured,
    Rejected,
    Throttled,
    Unreachable,
)

_LONGEST_WAIT: Millis = 10 * MINUTE
_RETRY_AFTER_DIGITS = 6

REJECTED = frozenset(
    {
        21211,  # the To number is not valid
        21214,  # the To number cannot be reached
        21217,  # the number does not appear to be valid
        21265,  # the To number is a short code
        21266,  # To and From are the same
        21407,  # this kind of number is not supported
        21601,  # the number cannot receive SMS
        21604,  # a To number is required
        21610,  # the recipient has opted out
        21612,  # no route from this From to this To
        21614,  # the To number is not a mobile number
        21617,  # the body is too long
        21635,  # the To number is a landline
        30003,  # the handset is unreachable
        30004,  # the message is blocked
        30005,  # the handset is unknown
        30006,  # a landline, or an unreachable carrier
        30007,  # filtered
    }
)
MISCONFIGURED = frozenset(
    {
        20003,  # authentication failed
        20005,  # the account is not active
        20008,  # test credentials reach no live resource
        20404,  # no such account
        21212,  # the From number is not valid
        21408,  # the region is not enabled in the account's permissions
        21603,  # a From number is required
        21606,  # the From number is not ours or not capable
        21608,  # a trial account sends to verified numbers only
        21659,  # the From number is not a number or short code of ours
        21660,  # the From number belongs to another account
        21701,  # no such messaging service
        21703,  # the messaging service has no sender
        21704,  # the messaging service has no sender
        21705,  # the messaging service's id is not valid
        30002,  # the account is suspended
        30034,  # the From number is not registered for A2P 10DLC
    }
)
THROTTLED = frozenset(
    {
        14107,  # rate limit
        20429,  # too many requests
        21611,  # the From number's queue is full
        30001,  # the queue is full
        30022,  # rate limit of the US A2P campaign
        30023,  # daily cap of the US A2P brand
    }
)

_NOT_OURS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})


def refusal(status: int, code: int, headers: Mapping[str, str]) -> CarrierError:
    """Return the typed error for an answer other than success; `code` is 0 where unknown.

    A server error says nothing about what was done before it: only 503 is a refusal.
    """
    if status == HTTPStatus.TOO_MANY_REQUESTS or code in THROTTLED:
        return Throttled("twilio asks to slow down", retry_after(headers))
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Unreachable("twilio is unavailable")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return Ambiguous("twilio failed after it had the request")
    if code in REJECTED:
        return Rejected("twilio rejects the recipient or the message")
    if code in MISCONFIGURED or status in _NOT_OURS or status != HTTPStatus.BAD_REQUEST:
        return Misconfigured("twilio refuses the account, the sender or the request")
    return Rejected("twilio rejects the request")


def failure(code: int) -> CarrierError:
    """Return the typed error for a message resource that is born failed."""
    if code in THROTTLED:
        return Throttled("twilio asks to slow down")
    if code in MISCONFIGURED:
        return Misconfigured("twilio refuses the account or the sender")
    return Rejected("twilio rejects the recipient or the message")


def retry_after(headers: Mapping[str, str]) -> Millis:
    """Return the Retry-After of an answer (RFC 9110 §10.2.3, seconds only), 0 where none."""
    text = headers.get("Retry-After", "")
    if not (text.isascii() and text.isdigit() and len(text) <= _RETRY_AFTER_DIGITS):
        return 0
    return min(int(text) * SECOND, _LONGEST_WAIT)
