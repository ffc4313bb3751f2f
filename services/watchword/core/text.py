"""Checks of text that outsiders send and people or logs will read.

Nothing here repairs what it refuses; the one change made is Unicode normalisation
(NFC, UAX #15), so keep the returned value, not the argument.
"""

import re
import unicodedata

from watchword.core.errors import InvalidArgument

MAX_LANGUAGE_CODE = 35
"""Longest language tag that a receiver must take (RFC 5646 section 4.4.1)."""

_MAX_COMBINING_RUN = 3
# Controls, formats (bidi and zero-width characters), surrogates, private use, unassigned,
# line and paragraph separators.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# They show nothing, and are letters, marks or symbols to Unicode: the joiner of graphemes,
# the fillers of Hangul and Khmer, the blank of braille, variation selectors but emoji's own.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\uffa0\ufe00-\ufe0e"
    "\U000e0100-\U000e01ef]"
)
_LANGUAGE = re.compile(
    r"[A-Za-z]{2,8}"  # language
    r"(?:-[A-Za-z]{3}){0,3}"  # extended language
    r"(?:-[A-Za-z]{4})?"  # script
    r"(?:-(?:[A-Za-z]{2}|[0-9]{3}))?"  # region
    r"(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*"  # variants
    r"(?:-[A-WYZa-wyz0-9](?:-[A-Za-z0-9]{2,8})+)*"  # extensions
    r"(?:-[Xx](?:-[A-Za-z0-9]{1,8})+)?"  # private use
)


def check_text(field: str, text: str, max_code_points: int, max_bytes: int) -> str:
    """Return one line of readable text in NFC; "" is allowed.

    Raises `InvalidArgument` on `field` for text longer than `max_code_points` or
    `max_bytes` (UTF-8), for controls, bidi and invisible characters, spaces other than
    U+0020, unassigned and private characters, and for stacked combining marks.
    """
    if len(text) > max_code_points:
        raise InvalidArgument("the text is too long", field=field)
    if text.isascii():
        if not text.isprintable():
            raise InvalidArgument("the text holds characters that are not allowed", field=field)
        normal = text
    else:
        _check_characters(field, text)
        normal = unicodedata.normalize("NFC", text)
        _check_combining(field, normal)
    if len(normal) > max_code_points or len(normal.encode()) > max_bytes:
        raise InvalidArgument("the text is too long", field=field)
    return normal


def check_language_code(text: str, field: str = "language_code") -> str:
    """Return a language tag (BCP 47, RFC 5646 section 2.1: its shape, not its registry) or "".

    Raises `InvalidArgument` on `field`; tags grandfathered or for private use alone are
    refused, too.
    """
    if text and (len(text) > MAX_LANGUAGE_CODE or _LANGUAGE.fullmatch(text) is None):
        raise InvalidArgument("must be a BCP 47 language tag", field=field)
    return text


def _check_characters(field: str, text: str) -> None:
    categories = {character: unicodedata.category(character) for character in set(text)}
    spaces = any(kind == "Zs" and character != " " for character, kind in categories.items())
    if spaces or _INVISIBLE.search(text) or not _REFUSED_CATEGORIES.isdisjoint(categories.values()):
        raise InvalidArgument("the text holds characters that are not allowed", field=field)


def _check_combining(field: str, text: str) -> None:
    run = _MAX_COMBINING_RUN  # a mark at the start would join whatever stands before it
    for character in text:
        run = run + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if run > _MAX_COMBINING_RUN:
            raise InvalidArgument("the text stacks too many combining marks", field=field)
