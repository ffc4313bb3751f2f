"""The canonical bytes behind a receipt's commitments."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.client import commitment, encode_action, encode_phone_number

ACTIONS = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)


def test_an_action_is_its_pairs_by_key_with_their_lengths() -> None:
    encoded = encode_action({"to": "Zoë", "amount": "10"})
    assert encoded == (b"\0\0\0\x06amount\0\0\0\x0210\0\0\0\x02to\0\0\0\x04Zo\xc3\xab")


def test_no_pairs_are_no_bytes() -> None:
    assert encode_action({}) == b""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": "bc"}, {"ab": "c"}),
        ({"a": "", "b": ""}, {"a": "b"}),
        ({"a": "b"}, {"a": "b", "": ""}),
    ],
)
def test_what_differs_is_encoded_differently(one: dict[str, str], other: dict[str, str]) -> None:
    assert encode_action(one) != encode_action(other)


@given(ACTIONS, ACTIONS)
def test_two_actions_never_share_an_encoding(one: dict[str, str], other: dict[str, str]) -> None:
    assert (encode_action(one) == encode_action(other)) == (one == other)


def test_order_does_not_matter() -> None:
    assert encode_action({"a": "1", "b": "2"}) == encode_action({"b": "2", "a": "1"})


def test_a_commitment_is_unpadded_base64url_of_sha256() -> None:
    made = commitment(b"salt", encode_phone_number("+14155550100"))
    digest = hashlib.sha256(b"salt+14155550100").digest()
    assert base64.urlsafe_b64decode(made + "=") == digest
    assert len(made) == 43
