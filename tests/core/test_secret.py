"""Secrets: nothing but `reveal` shows one."""

import copy
import json
import logging
import pickle
import traceback

import pytest

from watchword.core.secret import Secret

CANARY = "canary-4711"


def test_c143_no_text_form_shows_a_secret() -> None:
    secret = Secret(CANARY)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r}", f"{secret:>40}", f"{[secret]}"]
    shown.append("%s %r" % (secret, secret))  # noqa: UP031 - old code formats like this
    assert all(CANARY not in text for text in shown)
    assert all("***" in text for text in shown)


def test_c143_a_secret_of_bytes_is_masked_alike() -> None:
    assert repr(Secret(b"canary")) == repr(Secret("canary")) == "Secret(***)"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_c143_a_secret_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(Secret(CANARY), protocol)


def test_c143_a_secret_cannot_be_copied_or_serialised() -> None:
    with pytest.raises(TypeError):
        copy.deepcopy(Secret(CANARY))
    with pytest.raises(TypeError):
        json.dumps({"secret": Secret(CANARY)})


def test_c143_a_log_line_does_not_show_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("watchword").debug("with %s and %r", Secret(CANARY), Secret(CANARY))
    assert "***" in caplog.text
    assert CANARY not in caplog.text


def test_c143_a_traceback_does_not_show_a_secret() -> None:
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError(Secret(CANARY))
    trace = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = "".join(trace.format())
    assert "***" in shown
    assert CANARY not in shown


def test_reveal_gives_the_value_back() -> None:
    assert Secret(CANARY).reveal() == CANARY
    assert Secret(b"\x00\xff").reveal() == b"\x00\xff"


@pytest.mark.parametrize("value", ["1", "é", "\ud800"])
def test_secrets_compare_by_value(value: str) -> None:
    assert Secret(value) == Secret(value)
    assert Secret(value) != Secret(value + value)
    assert Secret(value) != value
    assert Secret(b"\xff") == Secret(b"\xff")
    assert Secret(b"\xff") != Secret(b"\xfe")


def test_a_secret_is_not_hashable() -> None:
    with pytest.raises(TypeError, match="hashable"):
        hash(Secret(CANARY))
