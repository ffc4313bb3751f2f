"""Phone numbers: one canonical E.164 form, made once at the edge, and what is known of it.

Spellings that reach the same handset must end in one form, or limits could be walked
around. Three are mended beyond what the numbering metadata do:

- Argentina: `+54 9 area number` and `+54 area number` are one subscriber, and only the
  form with the 9 takes messages from abroad. A landline gets the 9, too: its number
  cannot be told from a mobile's.
- Mexico: the `1`, `01`, `044` and `045` before ten digits were abolished in August 2019.
- San Marino: `+39 0549 …` is `+378 0549 …`.
"""

import re
from typing import NamedTuple, NoReturn

from watchword.core.errors import InvalidArgument, Reason
from watchword.core.numbering import (
    KNOWN_REGIONS,
    REGIONS_BY_CODE,
    LineType,
    area,
    calling_code,
    describe,
    is_short,
    preload,
    read_international,
    read_national,
)

__all__ = [
    "KNOWN_REGIONS",
    "LineType",
    "Lookup",
    "PhoneNumber",
    "check_region_code",
    "is_fictitious",
    "lookup",
    "parse_phone",
    "preload",
]

MAX_INPUT = 32
"""Longest text that is looked at, in characters."""

_MALFORMED = "must be a phone number: + and country code, or a national number with region_code"
_NOT_ALLOWED = "numbers of this kind are never called or texted"
_NON_GEOGRAPHIC = ("001",)
_MAX_E164_DIGITS = 15
_MAX_SHORT_DIGITS = 6
_PLAIN = re.compile(r"\+[1-9][0-9]{6,14}")
_SPELLED = re.compile(r"(?:tel:(?=\+))?(\+?)(\(?[0-9][0-9 ().-]*[0-9])", re.IGNORECASE | re.ASCII)
_NOT_DIGITS = re.compile(r"[^0-9]")

_ARGENTINA, _MEXICO, _ITALY, _SAN_MARINO = 54, 52, 39, 378
_ARGENTINE_WITHOUT_9 = re.compile(r"[0-9]{10}")
_MEXICAN_OLD = re.compile(r"(?:1|01|04[45])([0-9]{10})")
_ITALIAN_SAN_MARINO = re.compile(r"0549[0-9]{6}")

# Regulators keep these out of use, so that films and tests may show them.
_FICTITIOUS = re.compile(
    r"\+1[2-9][0-9]{2}55501[0-9]{2}"
    r"|\+447700900[0-9]{3}"
    r"|\+61491570(?:006|110|156|157|158|159)"
)
_FICTITIOUS_TYPES = frozenset({LineType.MOBILE, LineType.FIXED_LINE_OR_MOBILE})
_REFUSED_TYPES = frozenset(
    {
        LineType.TOLL_FREE,
        LineType.PREMIUM_RATE,
        LineType.SHARED_COST,
        LineType.PAGER,
        LineType.UAN,
        LineType.VOICEMAIL,
    }
)


class PhoneNumber:
    """A number that may be called or texted; only `.e164` shows it.

    `region_code` is ISO 3166-1 alpha-2. Make one with `parse_phone`; the constructor is
    for numbers that were parsed before and come back from a store.
    """

    __slots__ = ("e164", "line_type", "region_code")

    def __init__(self, e164: str, region_code: str, line_type: LineType) -> None:
        """Take the three as they are."""
        self.e164 = e164
        self.region_code = region_code
        self.line_type = line_type

    @property
    def hint(self) -> str:
        """Return the calling code and the last two digits; the length stays hidden."""
        return f"+{calling_code(self.e164[1:])} •••••••{self.e164[-2:]}"

    def __eq__(self, other: object) -> bool:
        """Compare the canonical form."""
        return self.e164 == other.e164 if isinstance(other, PhoneNumber) else NotImplemented

    def __hash__(self) -> int:
        """Hash the canonical form."""
        return hash(self.e164)

    def __repr__(self) -> str:
        """Return a fixed mask."""
        return "PhoneNumber(***)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        """Return the mask whatever the format."""
        return repr(self)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("a PhoneNumber cannot be pickled")


class Lookup(NamedTuple):
    """What metadata alone tell of a number; nothing says whether anyone has it.

    `e164` is "" where the digits are not a possible number. `region_code` is "" where the
    plans do not tell, "001" for calling codes that belong to no country. `carrier_name`
    is who first got the range (in English), `time_zones` are IANA names.
    """

    e164: str
    region_code: str
    line_type: LineType
    carrier_name: str
    time_zones: tuple[str, ...]
    possible: bool
    valid: bool

    def __repr__(self) -> str:
        """Return a fixed mask."""
        return "Lookup(***)"


def parse_phone(text: str, region_code: str = "", *, field: str = "phone_number") -> PhoneNumber:
    """Return the canonical number that `text` spells.

    `region_code` says whose national form may be meant; a number with + ignores it.
    Raises `InvalidArgument`: FIELD_INVALID on `field` (or on `region_code`) for what is
    no valid number, NUMBER_NOT_ALLOWED for premium, shared-cost, toll-free, universal,
    pager and voicemail numbers, short and emergency codes, satellite and other calling
    codes without a country.
    """
    code, nsn = _read(text, region_code, field)
    if REGIONS_BY_CODE[code] == _NON_GEOGRAPHIC:
        raise _not_allowed(field)
    region, line_type = _classify(code, nsn)
    if line_type is LineType.UNKNOWN:
        raise _refusal(nsn, REGIONS_BY_CODE[code], field)
    if line_type in _REFUSED_TYPES:
        raise _not_allowed(field)
    e164 = f"+{code}{nsn}"
    if len(e164) > _MAX_E164_DIGITS + 1:
        raise InvalidArgument(_MALFORMED, field=field)
    return PhoneNumber(e164, region, line_type)


def lookup(text: str, region_code: str = "", *, field: str = "phone_number") -> Lookup:
    """Return what is known of the digits in `text`, whether or not they may be called.

    Raises `InvalidArgument` as `parse_phone` does, but only where no calling code and
    no national number can be read at all.
    """
    code, nsn = _read(text, region_code, field)
    region, line_type = _classify(code, nsn)
    e164 = f"+{code}{nsn}"
    if len(nsn) not in area(code).lengths or len(e164) > _MAX_E164_DIGITS + 1:
        return Lookup("", region, LineType.UNKNOWN, "", (), possible=False, valid=False)
    carrier_name, time_zones = describe(e164)
    valid = line_type is not LineType.UNKNOWN
    return Lookup(e164, region, line_type, carrier_name, time_zones, possible=True, valid=valid)


def check_region_code(region_code: str, *, field: str = "region_code") -> str:
    """Return a known region (two ASCII capitals); raises `InvalidArgument` on `field`."""
    if region_code not in KNOWN_REGIONS:
        raise InvalidArgument("must be a region of ISO 3166-1, two capitals", field=field)
    return region_code


def is_fictitious(number: PhoneNumber) -> bool:
    """Tell whether a regulator keeps this number for fiction, so that nobody has it.

    +1 NPA 555-0100 to 555-0199 (ATIS-0300115, 555 line numbers), +44 7700 900000 to
    900999 (Ofcom, telephone numbers for use in TV and radio drama), and six mobile
    numbers in +61 491 570 (ACMA, phone numbers for use in TV shows, films and creative
    works).
    """
    return number.line_type in _FICTITIOUS_TYPES and _FICTITIOUS.fullmatch(number.e164) is not None


def _read(text: str, region_code: str, field: str) -> tuple[int, str]:
    """Return calling code and national significant number, in one spelling."""
    if region_code:
        check_region_code(region_code)
    if len(text) > MAX_INPUT:
        raise InvalidArgument(_MALFORMED, field=field)
    if _PLAIN.fullmatch(text):
        found = read_international(text[1:])
        if found is None:
            raise InvalidArgument(_MALFORMED, field=field)
    else:
        found = _read_spelled(text, region_code, field)
    return _mend(*found)


def _read_spelled(text: str, region_code: str, field: str) -> tuple[int, str]:
    spelled = _SPELLED.fullmatch(text)
    if spelled is None or not (spelled[1] or region_code):
        raise InvalidArgument(_MALFORMED, field=field)
    digits = _NOT_DIGITS.sub("", spelled[2])
    found = read_international(digits) if spelled[1] else read_national(digits, region_code)
    if found is None:
        raise _refusal(digits, () if spelled[1] else (region_code,), field)
    return found


def _mend(code: int, nsn: str) -> tuple[int, str]:
    """Return the one spelling of numbers that the metadata leave with two."""
    if code == _ARGENTINA and _ARGENTINE_WITHOUT_9.fullmatch(nsn):
        if area(code).classify(f"9{nsn}")[1] is LineType.MOBILE:
            return code, f"9{nsn}"
    elif code == _MEXICO and (old := _MEXICAN_OLD.fullmatch(nsn)):
        return code, old[1]
    elif code == _ITALY and _ITALIAN_SAN_MARINO.fullmatch(nsn):
        return _SAN_MARINO, nsn
    return code, nsn


def _classify(code: int, nsn: str) -> tuple[str, LineType]:
    region, line_type = area(code).classify(nsn)
    # The metadata leave the range for drama out.
    if line_type is LineType.UNKNOWN and code == 44 and _FICTITIOUS.fullmatch(f"+44{nsn}"):  # noqa: PLR2004
        return "GB", LineType.MOBILE
    return region, line_type


def _refusal(digits: str, regions: tuple[str, ...], field: str) -> InvalidArgument:
    """Return why digits that are no valid number are refused: a short code is not allowed."""
    if len(digits) <= _MAX_SHORT_DIGITS and any(is_short(digits, region) for region in regions):
        return _not_allowed(field)
    return InvalidArgument(_MALFORMED, field=field)


def _not_allowed(field: str) -> InvalidArgument:
    return InvalidArgument(_NOT_ALLOWED, reason=Reason.NUMBER_NOT_ALLOWED, field=field)
