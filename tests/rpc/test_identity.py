"""Callers from metadata and certificates, without a server."""

import base64

import pytest

from watchword.core.errors import Unauthenticated
from watchword.rpc.backoff import (
    FORGET_AFTER,
    LONGEST_WAIT,
    PAIR_FREE,
    PEER_FREE,
    Backoff,
)
from watchword.rpc.identity import current_caller, parse_basic, peer_host, spiffe_id_of
from watchword.testing.clock import FakeClock

ID = "CR" + "a" * 32


def basic(pair: bytes) -> str:
    return "Basic " + base64.b64encode(pair).decode()


def test_a_basic_value_gives_id_and_secret() -> None:
    credential_id, secret = parse_basic(basic(f"{ID}:a:b".encode()))
    assert (credential_id, secret.reveal()) == (ID, "a:b")
    assert parse_basic("bAsIc " + basic(f"{ID}:s".encode())[6:])[0] == ID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Basic",
        "Basic ",
        "Basic é",
        "Basic ====",
        "Basic a",
        basic(b"\xff:\xff"),
        basic(f"{ID}".encode()),
        basic(f"{ID}:".encode()),
        basic(f"{ID}\x00:s".encode()),
        basic(f"{ID.lower()}:s".encode()),
        basic(b"VE" + b"a" * 32 + b":s"),
        " " + basic(f"{ID}:s".encode()),
        basic(f"{ID}:s".encode()) + " ",
        basic(f"{ID}:{'s' * 2000}".encode()),
    ],
)
def test_c048_malformed_values_give_nobody(text: str) -> None:
    assert parse_basic(text)[0] == ""


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:127.0.0.1:5555", "127.0.0.1"),
        ("ipv6:%5B::1%5D:5555", "6:0000000000000000"),
        ("ipv6:[2001:db8:1:2:3::4]:5", "6:20010db800010002"),
        ("ipv6:%5B2001:db8:1:2:ffff::4%5D:5", "6:20010db800010002"),
        ("unix:", "unix"),
        ("ipv6:nonsense", "6:"),
    ],
)
def test_peers_are_known_by_their_host(peer: str, host: str) -> None:
    assert peer_host(peer) == host


def test_only_one_spiffe_id_counts() -> None:
    assert spiffe_id_of({"peer_spiffe_id": [b"spiffe://a/b"]}) == "spiffe://a/b"
    wrong: list[dict[str, list[bytes]]] = [
        {},
        {"peer_spiffe_id": []},
        {"peer_spiffe_id": [b"a", b"b"]},
    ]
    for proven in wrong:
        assert spiffe_id_of(proven) == ""
    assert spiffe_id_of({"peer_spiffe_id": [b"\xff"]}) == ""


def test_nobody_calls_outside_of_a_call() -> None:
    with pytest.raises(Unauthenticated):
        current_caller()


def test_c049_waits_grow_to_a_minute_and_are_forgotten(clock: FakeClock) -> None:
    backoff = Backoff(clock)
    waits = []
    for _ in range(PAIR_FREE + 10):
        waits.append(backoff.wait(ID, "p"))
        backoff.failed(ID, "p")
    assert waits[:PAIR_FREE] == [0] * PAIR_FREE
    assert waits[PAIR_FREE : PAIR_FREE + 4] == [1_000, 2_000, 4_000, 8_000]
    assert max(waits) == LONGEST_WAIT
    clock.advance(FORGET_AFTER + LONGEST_WAIT)
    backoff.failed(ID, "p")
    assert backoff.wait(ID, "p") == 0


def test_c049_another_peer_never_waits(clock: FakeClock) -> None:
    backoff = Backoff(clock)
    for _ in range(PAIR_FREE + 1):
        backoff.failed(ID, "p")
    assert backoff.wait(ID, "p") > 0
    assert backoff.wait(ID, "elsewhere") == 0
    backoff.succeeded(ID, "p")
    assert backoff.wait(ID, "p") == 0


def test_c049_trying_many_ids_slows_the_peer(clock: FakeClock) -> None:
    backoff = Backoff(clock)
    for number in range(PEER_FREE):
        backoff.failed(f"CR{number}", "p")
    assert backoff.wait(ID, "p") > 0


def test_c049_its_memory_is_bounded(clock: FakeClock) -> None:
    backoff = Backoff(clock, capacity=100)
    for number in range(10_000):
        backoff.failed(f"CR{number}", f"p{number}")
    assert len(backoff._failures) <= 100
