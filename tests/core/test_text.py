"""What text from outside is refused, and that it is kept in one form."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.core.errors import InvalidArgument, Reason
from watchword.core.text import check_language_code, check_text


def refusal(text: str, max_code_points: int = 64, max_bytes: int = 128) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        check_text("display_name", text, max_code_points, max_bytes)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "a\x00b",
        "a\x07b",
        "a\x1b[31mred",
        "a\x7fb",
        "a\x85b",
        "a\x9b31m",
        "a\nb",
        "a\r\nb",
        "a\tb",
        *(f"a{chr(point)}b" for point in range(0x202A, 0x202F)),
        *(f"a{chr(point)}b" for point in range(0x2066, 0x206A)),
        "a\u200eb",
        "a\u200fb",
        "a\u061cb",
        "a\u200bb",
        "a\u200cb",
        "a\u200db",
        "a\u2060b",
        "a\ufeffb",
        "a\u00adb",
        "a\u034fb",
        "a\u3164b",
        "a\u2800b",
        "a\ufe00b",
        "a\U000e0041b",
        "a\U000e0100b",
        "a\u2028b",
        "a\u2029b",
        "a\u00a0b",
        "a\u3000b",
        "a\ud800b",
        "a\ue000b",
        "a\uffffb",
        "\u0301a",
        "a" + "\u0301\u0302\u0303\u0304\u0305",
        "Z\u0351\u036b\u0343\u036aalgo",
    ],
)
def test_c059_text_that_hides_or_moves_is_refused(text: str) -> None:
    error = refusal(text)
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, "display_name")
    assert text not in error.message


@pytest.mark.parametrize(
    ("text", "max_code_points", "max_bytes"),
    [
        ("a" * 65, 64, 1024),
        ("a" * 10_240, 64, 1024),
        ("a" * 65, 1024, 64),
        ("é" * 33, 64, 65),
        ("\N{GRINNING FACE}" * 33, 64, 128),
        ("\ufb2c", 1, 64),  # NFC makes three of it
    ],
)
def test_c059_text_is_bounded_in_code_points_and_bytes(
    text: str, max_code_points: int, max_bytes: int
) -> None:
    assert refusal(text, max_code_points, max_bytes).message == "the text is too long"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Acme & Sons",
        "<b>bold</b>",
        "{0} %s ${} {{7*7}}",
        "Müller",
        "日本語",
        "Việt Nam",
        "\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48",
        "ok \N{GRINNING FACE} \u2764\ufe0f",
        "x" * 64,
    ],
)
def test_c059_readable_text_stays_as_it_is(text: str) -> None:
    assert check_text("display_name", text, 64, 128) == text


def test_c059_text_is_kept_in_nfc() -> None:
    assert check_text("display_name", "Mu\u0308ller", 64, 128) == "M\u00fcller"
    assert check_text("display_name", "\u212b", 64, 128) == "\u00c5"


@given(st.text(max_size=70))
def test_what_passes_is_one_bounded_line_in_nfc(text: str) -> None:
    try:
        kept = check_text("display_name", text, 64, 128)
    except InvalidArgument:
        return
    assert unicodedata.is_normalized("NFC", kept)
    assert len(kept) <= 64
    assert len(kept.encode()) <= 128
    assert len(kept.splitlines()) <= 1
    assert check_text("display_name", kept, 64, 128) == kept


@pytest.mark.parametrize(
    "tag",
    ["", "en", "pt-BR", "zh-Hant-TW", "es-419", "de-CH-1901", "sr-Latn", "en-x-twain", "EN-us"],
)
def test_language_tags_of_the_right_shape(tag: str) -> None:
    assert check_language_code(tag) == tag


@pytest.mark.parametrize(
    "tag",
    [
        "e",
        "en_US",
        "en-",
        "-en",
        "en--US",
        "12",
        "en US",
        "en\n",
        "../../etc/passwd",
        "x-private",
        "en-" + "a" * 9,
        "en-x-" + "-".join(["abcdefgh"] * 4),
        "\uff45\uff4e",
        "\u0435n",
        "e" * 10_000,
    ],
)
def test_c059_language_tags_of_another_shape_are_refused(tag: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_language_code(tag)
    assert caught.value.field == "language_code"
