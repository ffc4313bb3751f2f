"""Codes: the RFC's vectors, two libraries as oracles, their quality, and what is no code."""

# ruff: noqa: RUF001 - look-alike digits are what is tested here

import ast
import base64
from collections import Counter
from pathlib import Path

import pyotp
import pytest
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from hypothesis import given
from hypothesis import strategies as st

from watchword.core.codes import (
    GENERATIONS,
    code_key,
    derive_code,
    is_code,
    matching_generations,
)
from watchword.core.framing import frame
from watchword.testing.entropy import SeededEntropy

ROOT = Path(__file__).resolve().parents[2]
RFC_KEY = b"12345678901234567890"
RFC_CODES = ("755224", "287082", "359152", "969429", "338314", "254676")
KEYS = st.binary(min_size=32, max_size=32)
LENGTHS = st.integers(6, 8)


@pytest.mark.parametrize("generation", range(GENERATIONS))
def test_codes_are_those_of_rfc_4226_appendix_d(generation: int) -> None:
    assert derive_code(RFC_KEY, generation, 6).reveal() == RFC_CODES[generation]


@given(key=KEYS, length=LENGTHS, generation=st.integers(0, GENERATIONS - 1))
def test_codes_agree_with_pyotp_and_cryptography(key: bytes, length: int, generation: int) -> None:
    code = derive_code(key, generation, length).reveal()
    assert code == pyotp.HOTP(base64.b32encode(key).decode(), digits=length).at(generation)
    assert code == HOTP(key, length, SHA1()).generate(generation).decode()


def test_code_key_is_hkdf_expand() -> None:
    epoch_key = SeededEntropy().token(32)
    expected = HKDFExpand(SHA256(), 32, frame("code", "VE1", "AP1")).derive(epoch_key)
    assert code_key(epoch_key, "VE1", "AP1") == expected


def test_code_key_depends_on_each_input_and_on_where_it_ends() -> None:
    base = SeededEntropy().token(32)
    keys = [
        code_key(base, "VE1", "AP1"),
        code_key(base, "VE2", "AP1"),
        code_key(base, "VE1", "AP2"),
        code_key(base, "VE1A", "P1"),
        code_key(bytes(32), "VE1", "AP1"),
    ]
    assert len(set(keys)) == len(keys)


@given(key=KEYS, length=LENGTHS, generations=st.integers(1, GENERATIONS))
def test_matching_names_every_generation_with_that_code(
    key: bytes, length: int, generations: int
) -> None:
    codes = [derive_code(key, g, length).reveal() for g in range(GENERATIONS)]
    for code in [*codes, "0" * length]:
        expected = sum(1 << g for g in range(generations) if codes[g] == code)
        assert matching_generations(key, code, length, generations) == expected


@pytest.mark.parametrize("text", ["", "75522", "7552240", "７５５２２４", "٧٥٥٢٢٤", "\ud800" * 6])
def test_what_is_no_code_matches_nothing(text: str) -> None:
    assert matching_generations(RFC_KEY, text, 6) == 0


@pytest.mark.parametrize(("generation", "length"), [(-1, 6), (GENERATIONS, 6), (0, 5), (0, 9)])
def test_bounds_are_refused(generation: int, length: int) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        derive_code(RFC_KEY, generation, length)


@pytest.mark.parametrize(("length", "generations"), [(5, 6), (9, 6), (6, 0), (6, 7)])
def test_bounds_of_matching_are_refused(length: int, generations: int) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        matching_generations(RFC_KEY, "123456", length, generations)


def test_c143_a_code_is_masked() -> None:
    code = derive_code(RFC_KEY, 0, 6)
    assert RFC_CODES[0] not in f"{code} {code!r} {code:>10}"


@pytest.mark.parametrize("length", range(6, 11))
def test_a_code_is_exactly_its_ascii_digits(length: int) -> None:
    assert is_code("0123456789"[:length], length)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "12345",
        "1234567",
        "1" * 1_000_000,
        "12345a",
        "-12345",
        "+12345",
        "1e5",
        "0x1F",
        "١٢٣٤٥٦",
        "１２３４５６",
        "𝟏𝟐𝟑𝟒𝟓𝟔",
        "12345²",
        "123\u200b456",
        "\u202e123456",
        "../sms",
        "123456#",
        "123456/..",
        "123456\x00",
        "123456\n",
        " 123456",
        "123456 ",
        "123 456",
    ],
)
def test_c055_nothing_else_is_a_code(text: str) -> None:
    assert not is_code(text, 6)


@pytest.mark.parametrize("length", [-1, 0, 5, 11])
def test_no_code_has_another_length(length: int) -> None:
    assert not is_code("1" * max(length, 0), length)


def _sample(count: int, length: int) -> list[str]:
    entropy = SeededEntropy(12)
    return [derive_code(entropy.token(32), 0, length).reveal() for _ in range(count)]


def _chi_square(counts: Counter[str], cells: int) -> float:
    expected = counts.total() / cells
    missing = (cells - len(counts)) * expected
    return missing + sum((count - expected) ** 2 / expected for count in counts.values())


@pytest.mark.parametrize("length", [6, 8])
def test_c012_digits_of_codes_are_uniform(length: int) -> None:
    codes = _sample(40_000, length)
    for position in range(length):
        # 9 degrees of freedom: 27.9 is exceeded once in 1,000 draws, and the draw is fixed.
        assert _chi_square(Counter(code[position] for code in codes), 10) < 27.9
    # The leading three digits stand for the whole range: 999 degrees, p = 0.001.
    assert _chi_square(Counter(code[:3] for code in codes), 1_000) < 1_144


def test_c012_generations_of_a_verification_do_not_correlate() -> None:
    entropy = SeededEntropy(13)
    keys = [entropy.token(32) for _ in range(20_000)]
    pairs = Counter(
        derive_code(key, 0, 6).reveal()[0] + derive_code(key, 1, 6).reveal()[0] for key in keys
    )
    # 99 degrees of freedom, p = 0.001.
    assert _chi_square(pairs, 100) < 148.3


def test_c012_the_ends_of_the_range_occur() -> None:
    codes = set(_sample(40_000, 6))
    assert any(code.startswith("000") for code in codes)
    assert any(code.startswith("999") for code in codes)


@pytest.mark.parametrize(("number", "wanted"), [(95_980, "000000"), (2_366_222, "999999")])
def test_c012_no_code_is_left_out(number: int, wanted: str) -> None:
    # The keys were found by search.
    assert derive_code(number.to_bytes(32, "big"), 0, 6).reveal() == wanted


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names


def test_c012_no_module_imports_random() -> None:
    modules = [path for root in ("services", "adapters") for path in (ROOT / root).rglob("*.py")]
    assert ROOT / "services/watchword/core/codes.py" in modules
    assert [path.name for path in modules if "random" in _imports(path)] == []
