"""Numbering plans of the world: how digits are read, and what a national number is for.

The only module that imports `phonenumbers`. Its metadata decide everything here; its
calls are replaced where they repeat work: the region is found once, and the line type
comes from one compiled expression per region and length. A number is valid where it has
a line type. "nsn" is the national significant number of ITU-T E.164, leading zeros kept.
"""

import re
from enum import StrEnum
from functools import cache
from typing import NamedTuple

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberDesc, shortnumberinfo

KNOWN_REGIONS = frozenset(phonenumbers.SUPPORTED_REGIONS)
"""Every region (ISO 3166-1 alpha-2) that a number can belong to."""

REGIONS_BY_CODE: dict[int, tuple[str, ...]] = dict(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
"""The regions of each calling code, the main one first."""

_CODES = {str(code): code for code in REGIONS_BY_CODE}


class LineType(StrEnum):
    """What a number is for, as far as its numbering plan tells."""

    FIXED_LINE = "FIXED_LINE"
    MOBILE = "MOBILE"
    FIXED_LINE_OR_MOBILE = "FIXED_LINE_OR_MOBILE"
    TOLL_FREE = "TOLL_FREE"
    PREMIUM_RATE = "PREMIUM_RATE"
    SHARED_COST = "SHARED_COST"
    VOIP = "VOIP"
    PERSONAL_NUMBER = "PERSONAL_NUMBER"
    PAGER = "PAGER"
    UAN = "UAN"
    VOICEMAIL = "VOICEMAIL"
    UNKNOWN = "UNKNOWN"


_LINE_TYPES = dict(LineType.__members__)

# Where plans overlap the first one holds; fixed lines and mobiles come after these.
_SPECIAL_TYPES = (
    LineType.PREMIUM_RATE,
    LineType.TOLL_FREE,
    LineType.SHARED_COST,
    LineType.VOIP,
    LineType.PERSONAL_NUMBER,
    LineType.PAGER,
    LineType.UAN,
    LineType.VOICEMAIL,
)


class Plan:
    """The numbering plan of one region, compiled when a number first needs it."""

    __slots__ = ("_by_length", "_general", "_leading", "_metadata", "lengths", "region_code")

    def __init__(self, region_code: str, metadata: PhoneMetadata) -> None:
        """Take a region of the library."""
        self.region_code = region_code
        self.lengths = frozenset(_lengths(metadata.general_desc))
        self._metadata = metadata
        self._general = re.compile(_pattern(metadata.general_desc))
        self._leading = re.compile(metadata.leading_digits) if metadata.leading_digits else None
        self._by_length: dict[int, tuple[re.Pattern[str] | None, re.Pattern[str] | None]] = {}

    def claim(self, nsn: str) -> LineType | None:
        """Return the line type of a number, None where it is another region's of this code."""
        if self._leading is not None:
            return self.line_type(nsn) if self._leading.match(nsn) else None
        line_type = self.line_type(nsn)
        return None if line_type is LineType.UNKNOWN else line_type

    def line_type(self, nsn: str) -> LineType:
        """Return the line type of a number, UNKNOWN where it is not valid here."""
        length = len(nsn)
        if length not in self.lengths or not self._general.fullmatch(nsn):
            return LineType.UNKNOWN
        types, mobile = self._by_length.get(length) or self.compile(length)
        match = types.fullmatch(nsn) if types else None
        if match is None or match.lastgroup is None:
            return LineType.UNKNOWN
        line_type = _LINE_TYPES[match.lastgroup]
        if line_type is LineType.FIXED_LINE and mobile is not None and mobile.fullmatch(nsn):
            return LineType.FIXED_LINE_OR_MOBILE
        return line_type

    def compile(self, length: int) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
        """Compile and keep what tells the line types of numbers this long, and the mobiles'."""
        metadata = self._metadata
        same = metadata.same_mobile_and_fixed_line_pattern
        parts = [(each, getattr(metadata, each.value.lower())) for each in _SPECIAL_TYPES]
        fixed = LineType.FIXED_LINE_OR_MOBILE if same else LineType.FIXED_LINE
        parts.append((fixed, metadata.fixed_line))
        if not same:
            parts.append((LineType.MOBILE, metadata.mobile))
        # One alternative per line type; the name of the group that matched is the type.
        alternatives = [
            f"(?P<{name}>{_pattern(part)})"
            for name, part in parts
            if length in _lengths(part) and _pattern(part)
        ]
        types = re.compile("|".join(alternatives)) if alternatives else None
        is_mobile = not same and length in _lengths(metadata.mobile) and _pattern(metadata.mobile)
        mobile = re.compile(_pattern(metadata.mobile)) if is_mobile else None
        self._by_length[length] = types, mobile
        return types, mobile


class Area(NamedTuple):
    """A calling code: its plans in the order in which they claim numbers.

    `lengths` are those of a possible nsn (dialled within a town included), `prefix` is
    what may stand before one: national prefix, carrier codes.
    """

    plans: tuple[Plan, ...]
    lengths: frozenset[int]
    prefix: re.Pattern[str] | None

    def classify(self, nsn: str) -> tuple[str, LineType]:
        """Return region and line type; the region is "" where the plans do not tell."""
        if len(self.plans) == 1:
            return self.plans[0].region_code, self.plans[0].line_type(nsn)
        for plan in self.plans:
            line_type = plan.claim(nsn)
            if line_type is not None:
                return plan.region_code, line_type
        return "", LineType.UNKNOWN

    def takes_as_is(self, nsn: str) -> bool:
        """Tell whether nothing at the start of `nsn` could be a prefix to take off."""
        match = self.prefix.match(nsn) if self.prefix else None
        return match is None or (match.end() == 0 and match.lastindex is None)


@cache
def area(code: int) -> Area:
    """Return the numbering area of a calling code of `REGIONS_BY_CODE`."""
    plans = []
    for region in REGIONS_BY_CODE[code]:
        metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        if metadata is not None:
            plans.append((Plan(region, metadata), metadata))
    main, metadata = plans[0]
    prefix = metadata.national_prefix_for_parsing
    local = metadata.general_desc.possible_length_local_only if metadata.general_desc else ()
    return Area(
        plans=tuple(plan for plan, _ in plans),
        lengths=main.lengths.union(local),
        prefix=re.compile(prefix) if prefix else None,
    )


def preload() -> None:
    """Read and compile every plan (half a second); else the first number of a region waits."""
    for code in REGIONS_BY_CODE:
        for plan in area(code).plans:
            for length in plan.lengths:
                plan.compile(length)


def calling_code(digits: str) -> int:
    """Return the calling code that `digits` begin with, 0 where there is none.

    No calling code begins another (ITU-T E.164), so the first one found is the one.
    """
    for size in (1, 2, 3):
        code = _CODES.get(digits[:size])
        if code is not None:
            return code
    return 0


def read_international(digits: str) -> tuple[int, str] | None:
    """Return calling code and nsn of digits that follow a +, None where they have none."""
    code = calling_code(digits)
    nsn = digits[len(str(code)) :]
    if code and nsn and area(code).takes_as_is(nsn):
        return code, nsn
    # Without a region: with one, the library would read `+0…` as a national number.
    return _read(f"+{digits}", None)


def read_national(digits: str, region_code: str) -> tuple[int, str] | None:
    """Return calling code and nsn of digits as dialled in a region, None where they have none."""
    return _read(digits, region_code)


def _read(text: str, region_code: str | None) -> tuple[int, str] | None:
    try:
        number = phonenumbers.parse(text, region_code)
    except phonenumbers.NumberParseException:
        return None
    return number.country_code or 0, phonenumbers.national_significant_number(number)


def is_short(digits: str, region_code: str) -> bool:
    """Tell whether the digits are an emergency number or a short code in a region."""
    if shortnumberinfo.is_emergency_number(digits, region_code):
        return True
    code = phonenumbers.country_code_for_region(region_code)
    number = phonenumbers.PhoneNumber(country_code=code, national_number=int(digits))
    return shortnumberinfo.is_valid_short_number_for_region(number, region_code)


def describe(e164: str) -> tuple[str, tuple[str, ...]]:
    """Return who first got the range (in English, "" unknown) and its IANA time zones."""
    # These tables take 0.3 s and 45 MB to load: only who asks for them pays.
    from phonenumbers import carrier, timezone  # noqa: PLC0415

    number = phonenumbers.parse(e164, None)
    zones = timezone.time_zones_for_number(number)
    known = tuple(zone for zone in zones if zone != timezone.UNKNOWN_TIMEZONE)
    return carrier.name_for_number(number, "en"), known


def _pattern(part: PhoneNumberDesc | None) -> str:
    return (part.national_number_pattern or "") if part else ""


def _lengths(part: PhoneNumberDesc | None) -> tuple[int, ...]:
    return tuple(part.possible_length) if part else ()
