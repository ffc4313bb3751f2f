"""Made-up phone numbers: valid, mobile or alike, and each of them only once.

Limits per phone are part of what is measured and never bite here: every verification is
another person's.
"""

# Each block takes six more digits; none is fictitious, special or in the sandbox's script.
_BLOCKS = (
    "+12122",
    "+13102",
    "+14152",
    "+17183",
    "+447400",
    "+33612",
    "+4915112",
    "+34612",
)
_EACH = 1_000_000
MOST = len(_BLOCKS) * _EACH
"""How many there are."""


def phone_number(person: int) -> str:
    """Return the number of a person (0 up to `MOST`), E.164. Raises `ValueError` beyond."""
    if not 0 <= person < MOST:
        raise ValueError("there is no such person")
    line, block = divmod(person, len(_BLOCKS))
    return f"{_BLOCKS[block]}{line:06d}"
