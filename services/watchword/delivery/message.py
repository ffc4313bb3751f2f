"""What a person reads: built-in sentences, and the checks of what callers put into them.

Messages are joined from fixed parts; nothing that came from outside is ever a format.
The lines that phones and browsers read are built here and are always last:

- Android's SMS Retriever wants a hash of eleven characters, in 140 bytes at most.
- WebOTP (WICG, "Origin-bound one-time codes delivered via SMS") wants `@host #code` as
  the very last line.
"""

import json
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from watchword.core.errors import InvalidArgument
from watchword.core.secret import Secret
from watchword.core.text import check_text
from watchword.delivery.carrier import Channel
from watchword.delivery.phrases import NoticeKind, Phrases, phrases

__all__ = [
    "MAX_BRAND",
    "MessageSpec",
    "NoticeKind",
    "check_android_app_hash",
    "check_brand",
    "check_web_otp_origin",
    "read_spec",
    "render_code_message",
    "render_notice",
    "segments",
]

MAX_BRAND = 32
"""Longest brand, in code points."""

_MAX_BRAND_DIGITS = 4
_MAX_HOST = 253
_RETRIEVER_BYTES = 140
_LONGEST_CODE = "0" * 10
_HASH = re.compile(r"[A-Za-z0-9+/]{11}")
# RFC 1123 section 2.1, lower case; only A-labels have "--" in third place (RFC 5891, 4.2.3.1).
_LABEL = re.compile(r"(?!-|[^.]{2}--)[a-z0-9-]{1,63}(?<!-)")
_A_LABEL = re.compile(r"xn--[a-z0-9-]{1,59}(?<!-)")
_BRAND_SYMBOLS = frozenset(" .,'\u2019&+-!()")
_DOMAIN_LIKE = re.compile(r"\w\.\w\w")
_LOOKALIKE_SCRIPTS = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})

# 3GPP TS 23.038 section 6.2.1: the default alphabet, and what its escape character adds.
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_ESCAPED = frozenset("\f^{}\\[~]|€")


class MessageSpec(NamedTuple):
    """What a message is made of beside its code; it holds nothing personal.

    `web_otp_origin` is a host name, `android_app_hash` eleven characters; "" leaves the
    line out. A part that its check would refuse is left out, too.
    """

    brand: str = ""
    language_code: str = "en"
    web_otp_origin: str = ""
    android_app_hash: str = ""
    ttl_minutes: int = 10


@lru_cache(maxsize=4096)
def read_spec(text: str) -> MessageSpec:
    """Return the spec that a JSON object of its fields describes; other names are ignored.

    Raises `ValueError` where `text` is no JSON object.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("a message spec is a JSON object")  # noqa: TRY004
    return MessageSpec(**{name: values[name] for name in MessageSpec._fields if name in values})


def render_code_message(spec: MessageSpec, code: Secret[str], channel: Channel) -> Secret[str]:
    """Return the whole message that brings a code.

    Voice says the digits one by one, twice; only SMS has the lines for programs.
    """
    digits = code.reveal()
    if channel is Channel.VOICE:
        digits = ", ".join(digits)
    return Secret(digits.join(_compiled(spec, channel)))


def render_notice(kind: NoticeKind | str, spec: MessageSpec) -> Secret[str]:
    """Return a message without a code; raises `ValueError` for a kind that does not exist."""
    return Secret(_introduction(spec) + phrases(spec.language_code).notices[NoticeKind(kind)])


@lru_cache(maxsize=4096)
def _compiled(spec: MessageSpec, channel: Channel) -> tuple[str, ...]:
    """Return the parts of a message; the code stands between each two."""
    words = phrases(spec.language_code)
    introduction, expiry = _introduction(spec), " " + _expiry(words, spec.ttl_minutes)
    if channel is Channel.VOICE:
        end = f".{expiry} {words.secrecy}"
        return introduction + words.lead, f". {words.again}", end
    if channel is not Channel.SMS:
        return introduction + words.lead, f".{expiry} {words.secrecy}"
    hash_line, otp_line = _hash_line(spec), _otp_line(spec)
    parts: tuple[str, ...] = ()
    # Where the retriever's limit leaves too little room, first the expiry goes, then the brand.
    for start, middle in ((introduction, expiry), (introduction, ""), ("", "")):
        parts = start + words.lead, f".{middle} {words.secrecy}{hash_line}{otp_line}"
        parts += ("",) if otp_line else ()
        if not hash_line or len(_LONGEST_CODE.join(parts).encode()) <= _RETRIEVER_BYTES:
            break
    return parts


def _introduction(spec: MessageSpec) -> str:
    return f"{spec.brand}: " if spec.brand and _passes(check_brand, spec.brand) else ""


def _expiry(words: Phrases, minutes: int) -> str:
    before, after, after_one = words.expiry
    return f"{before}{minutes}{after_one if minutes == 1 else after}"


def _hash_line(spec: MessageSpec) -> str:
    text = spec.android_app_hash
    return f"\n{text}" if text and _passes(check_android_app_hash, text) else ""


def _otp_line(spec: MessageSpec) -> str:
    text = spec.web_otp_origin
    return f"\n@{text} #" if text and _passes(check_web_otp_origin, text) else ""


def _passes(check: Callable[[str], str], text: str) -> bool:
    try:
        return check(text) == text
    except InvalidArgument:
        return False


def check_brand(text: str, field: str = "brand_name") -> str:
    """Return a brand in NFC, fit to stand in a message, or "".

    Letters, up to four digits, single spaces and plain punctuation; nothing that a phone
    makes a link of, that could pass for a code, or that mixes alphabets with the same
    shapes. Raises `InvalidArgument` on `field`.
    """
    brand = check_text(field, text, MAX_BRAND, 4 * MAX_BRAND)
    kinds = {character: unicodedata.category(character) for character in brand}
    odd = any(
        kind[0] not in "LM" and kind != "Nd" for c, kind in kinds.items() if c not in _BRAND_SYMBOLS
    )
    digits = sum(kinds[character] == "Nd" for character in brand)
    if odd or digits > _MAX_BRAND_DIGITS or brand != " ".join(brand.split()):
        raise InvalidArgument("a brand has letters, up to 4 digits and single spaces", field=field)
    if _DOMAIN_LIKE.search(brand) or unicodedata.normalize("NFKC", brand) != brand:
        raise InvalidArgument("a brand is no domain name and has no look-alikes", field=field)
    scripts = {unicodedata.name(c, "").split(" ")[0] for c, kind in kinds.items() if kind[0] == "L"}
    if len(scripts & _LOOKALIKE_SCRIPTS) > 1:
        raise InvalidArgument("a brand is no domain name and has no look-alikes", field=field)
    return brand


def check_web_otp_origin(text: str, field: str = "web_otp_origin") -> str:
    """Return a host name (RFC 1123, lower case; other scripts as A-labels, RFC 5890) or "".

    Two labels at least, no address, no scheme, no port. Raises `InvalidArgument` on `field`.
    """
    if not text:
        return text
    labels = text.split(".") if len(text) <= _MAX_HOST else []
    if len(labels) < 2 or labels[-1].isdigit() or not all(_is_label(label) for label in labels):  # noqa: PLR2004
        raise InvalidArgument("must be a host name in lower case", field=field)
    return text


def _is_label(label: str) -> bool:
    if _A_LABEL.fullmatch(label) is None:
        return _LABEL.fullmatch(label) is not None
    encoded = label.removeprefix("xn--").encode()
    try:
        return encoded.decode("punycode").encode("punycode") == encoded
    except UnicodeError:
        return False


def check_android_app_hash(text: str, field: str = "android_app_hash") -> str:
    """Return an app hash of Android's SMS Retriever (11 characters of base64) or "".

    Raises `InvalidArgument` on `field`.
    """
    if text and _HASH.fullmatch(text) is None:
        raise InvalidArgument("must be 11 characters of A-Z, a-z, 0-9, + and /", field=field)
    return text


def segments(text: str) -> int:
    """Return how many SMS carry `text` (3GPP TS 23.038, TS 23.040 section 9.2.3.24.1).

    160 septets of the GSM alphabet or 70 units of UTF-16 fit into one; in a longer
    message 153 or 67 fit into each, and no character is torn apart.
    """
    if _GSM.issuperset(text) or (_GSM | _GSM_ESCAPED).issuperset(text):
        return _packed([2 if character in _GSM_ESCAPED else 1 for character in text], 160, 153)
    return _packed([2 if ord(character) > 0xFFFF else 1 for character in text], 70, 67)  # noqa: PLR2004


def _packed(widths: list[int], alone: int, joined: int) -> int:
    if sum(widths) <= alone:
        return 1
    count, room = 1, joined
    for width in widths:
        if width > room:
            count, room = count + 1, joined
        room -= width
    return count
