"""Routing: who is first, who takes over, and never across a trust class."""

import pytest

from watchword.core.errors import FailedPrecondition, Reason
from watchword.delivery.carrier import Capabilities, Channel, Trust
from watchword.delivery.router import Router
from watchword.testing.carriers import FakeCarrier

SMS, VOICE = Channel.SMS, Channel.VOICE


def a_carrier(trust: Trust, *channels: Channel) -> FakeCarrier:
    class Made(FakeCarrier):
        capabilities = Capabilities(channels=frozenset(channels), trust=trust)

    return Made()


CARRIERS = {
    "a": a_carrier(Trust.OPERATOR, SMS, VOICE),
    "tenant": a_carrier(Trust.TENANT, SMS),
    "b": a_carrier(Trust.OPERATOR, SMS),
    "c": a_carrier(Trust.OPERATOR, SMS, VOICE),
}


def test_without_routes_every_carrier_serves_its_channels_in_order() -> None:
    router = Router(CARRIERS)
    assert router.first(SMS) == "a"
    assert router.first(VOICE) == "a"
    assert router.next(VOICE, "a") == "c"


def test_routes_decide_the_order() -> None:
    router = Router(CARRIERS, {SMS: ["b", "a"]})
    assert router.first(SMS) == "b"
    assert router.next(SMS, "b") == "a"
    assert router.next(SMS, "a") == ""


@pytest.mark.parametrize("channel", [Channel.EMAIL, Channel.AUTO])
def test_a_channel_that_nobody_serves_is_unavailable(channel: Channel) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        Router(CARRIERS).first(channel)
    assert caught.value.reason is Reason.CHANNEL_UNAVAILABLE


def test_a_channel_with_an_empty_route_is_unavailable() -> None:
    with pytest.raises(FailedPrecondition):
        Router(CARRIERS, {SMS: []}).first(SMS)


def test_failing_over_stays_in_the_trust_class() -> None:
    router = Router(CARRIERS)
    assert [router.next(SMS, name) for name in ("a", "b", "c")] == ["b", "c", ""]
    assert router.next(SMS, "tenant") == ""
    assert router.next(SMS, "tenant", around=True) == ""


def test_around_begins_anew_after_the_last() -> None:
    router = Router(CARRIERS)
    assert [router.next(SMS, name, around=True) for name in ("a", "b", "c")] == ["b", "c", "a"]


def test_nobody_takes_over_from_a_stranger() -> None:
    assert Router(CARRIERS).next(SMS, "gone", around=True) == ""


def test_trust_is_the_carriers_own() -> None:
    assert Router(CARRIERS).trust("tenant") is Trust.TENANT
    with pytest.raises(KeyError):
        Router(CARRIERS).trust("gone")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a", "z"], "not configured"),
        (["tenant"], "does not serve VOICE"),
        (["a", "a"], "twice"),
    ],
)
def test_a_route_that_cannot_be_is_refused_in_one_line(names: list[str], text: str) -> None:
    with pytest.raises(ValueError, match=rf"^[^\n]*{text}[^\n]*$"):
        Router(CARRIERS, {VOICE: names})
