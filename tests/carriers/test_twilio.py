"""The Twilio adapter: what its answers mean, and the SDK as the oracle of the wire."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped]
from twilio.rest import Client  # type: ignore[import-untyped]

from watchword.core.secret import Secret
from watchword.delivery.carrier import (
    Ambiguous,
    CarrierError,
    Channel,
    Misconfigured,
    Receipt,
    Rejected,
    Throttled,
    Unreachable,
)
from watchword.testing.carrier_contract import INJECTIONS
from watchword.testing.carriers import a_message
from watchword.testing.twilio_fake import (
    ACCOUNT_SID,
    API_KEY_SECRET,
    API_KEY_SID,
    AUTH_TOKEN,
    FROM_NUMBER,
    SERVICE_SID,
    Answer,
    Fault,
    TwilioFake,
    twilio_fake,
)
from watchword_adapters.carriers.twilio import TwilioCarrier
from watchword_adapters.carriers.twilio_errors import MISCONFIGURED, REJECTED, THROTTLED

BASE: dict[str, object] = {
    "account_sid": ACCOUNT_SID,
    "auth_token": Secret(AUTH_TOKEN),
    "from_number": FROM_NUMBER,
}
BY_KEY: dict[str, object] = {
    "account_sid": ACCOUNT_SID,
    "api_key_sid": API_KEY_SID,
    "api_key_secret": Secret(API_KEY_SECRET),
    "messaging_service_sid": SERVICE_SID,
}


async def no_receipts(receipt: Receipt) -> None:
    raise AssertionError(receipt.state)


@pytest.fixture
async def api() -> AsyncIterator[TwilioFake]:
    async with twilio_fake() as fake:
        yield fake


@pytest.fixture
async def carrier(api: TwilioFake) -> AsyncIterator[TwilioCarrier]:
    made = TwilioCarrier.create(BASE | {"base_url": api.base_url, "timeout_ms": 300})
    await made.open(no_receipts)
    yield made
    await made.close()


# ---------------------------------------------------------------------- the SDK as oracle


def sdk_send(api: TwilioFake, by_key: bool, to: str, body: str) -> str:
    if by_key:
        client = Client(API_KEY_SID, API_KEY_SECRET, ACCOUNT_SID)
        sender = {"messaging_service_sid": SERVICE_SID}
    else:
        client = Client(ACCOUNT_SID, AUTH_TOKEN)
        sender = {"from_": FROM_NUMBER}
    client.api.base_url = api.base_url
    try:
        return str(client.messages.create(to=to, body=body, **sender).sid)
    finally:
        client.http_client.session.close()


@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("text", ["plain", *INJECTIONS])
async def test_the_wire_is_the_official_packages(api: TwilioFake, by_key: bool, text: str) -> None:
    body = f"Brand {text}: 493817 é + %20 & = ; \U0001f511"
    sid = await asyncio.to_thread(sdk_send, api, by_key, "+12025550100", body)
    carrier = TwilioCarrier.create((BY_KEY if by_key else BASE) | {"base_url": api.base_url})
    await carrier.open(no_receipts)
    submitted = await carrier.send(a_message(body=body))
    await carrier.close()
    theirs, ours = api.requests
    assert ours._replace(form=()) == theirs._replace(form=())
    assert sorted(ours.form) == sorted(theirs.form)
    assert len(dict(ours.form)) == len(ours.form)
    one, two = api.messages
    assert (one.to, one.sender, one.service, one.body) == (two.to, two.sender, two.service, body)
    assert (one.sid, two.sid) == (sid, submitted.provider_id)


async def test_redaction_on_the_wire_is_the_official_packages(api: TwilioFake) -> None:
    carrier = TwilioCarrier.create(
        BASE | {"base_url": api.base_url, "redact": True, "redact_after_ms": 0}
    )
    api.born = ("delivered", None)
    await carrier.open(no_receipts)
    submitted = await carrier.send(a_message())
    while len(api.requests) < 2:  # noqa: ASYNC110 - the other side of a socket
        await asyncio.sleep(0)
    while api.messages[0].body:  # noqa: ASYNC110 - the same
        await asyncio.sleep(0)
    await carrier.close()
    ours = api.requests[-1]

    def redact() -> None:
        client = Client(ACCOUNT_SID, AUTH_TOKEN)
        client.api.base_url = api.base_url
        client.messages(submitted.provider_id).update(body="")
        client.http_client.session.close()

    await asyncio.to_thread(redact)
    assert ours == api.requests[-1]
    assert api.messages[0].body == ""
    assert api.messages[0].to == "+12025550100"


async def test_a_message_in_the_queue_is_redacted_later(api: TwilioFake) -> None:
    carrier = TwilioCarrier.create(
        BASE | {"base_url": api.base_url, "redact": True, "redact_after_ms": 0}
    )
    await carrier.open(no_receipts)
    await carrier.send(a_message())
    while len(api.requests) < 3:  # noqa: ASYNC110 - refused at least once
        await asyncio.sleep(0)
    assert api.messages[0].body
    api.advance(api.messages[0].sid, "delivered")
    while api.messages[0].body:  # noqa: ASYNC110 - the other side of a socket
        await asyncio.sleep(0)
    await carrier.close()


async def test_without_redaction_nothing_is_touched_afterwards(
    carrier: TwilioCarrier, api: TwilioFake
) -> None:
    await carrier.send(a_message())
    await carrier.send(a_message())
    assert {request.path[-14:] for request in api.requests} == {"/Messages.json"}


def test_the_sdk_and_the_fake_agree_on_a_refusal() -> None:
    async def refused() -> tuple[int | None, int]:
        async with twilio_fake() as api:
            api.script.append(Answer(400, 21610))
            with pytest.raises(TwilioRestException) as caught:
                await asyncio.to_thread(sdk_send, api, False, "+12025550100", "x")
            return caught.value.code, caught.value.status

    assert asyncio.run(refused()) == (21610, 400)


# ---------------------------------------------------------------------- what answers mean

ANSWERS: list[tuple[Answer | Fault, type[CarrierError]]] = [
    *((Answer(400, code), Rejected) for code in sorted(REJECTED)),
    *((Answer(400, code), Misconfigured) for code in sorted(MISCONFIGURED)),
    *((Answer(400, code), Throttled) for code in sorted(THROTTLED)),
    (Answer(400, 0), Rejected),
    (Answer(400, 99_999), Rejected),
    (Answer(401, 20003), Misconfigured),
    (Answer(403, 20003), Misconfigured),
    (Answer(404, 20404), Misconfigured),
    (Answer(405), Misconfigured),
    (Answer(302, 0, {"Location": "https://example.com/"}), Misconfigured),
    (Answer(429, 20429), Throttled),
    (Answer(500), Ambiguous),
    (Answer(502), Ambiguous),
    (Answer(503), Unreachable),
    (Answer(504), Ambiguous),
    (Fault.DROP_BEFORE, Ambiguous),
    (Fault.DROP_AFTER, Ambiguous),
    (Fault.STALL_BEFORE, Ambiguous),
    (Fault.STALL_AFTER, Ambiguous),
]


@pytest.mark.parametrize(("answer", "error"), ANSWERS)
async def test_each_answer_has_its_typed_error(
    carrier: TwilioCarrier, api: TwilioFake, answer: Answer | Fault, error: type[CarrierError]
) -> None:
    api.script.append(answer)
    with pytest.raises(CarrierError) as caught:
        await carrier.send(a_message())
    assert type(caught.value) is error
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("3", 3_000),
        ("0", 0),
        ("999999", 600_000),
        ("9" * 30, 0),
        ("-1", 0),
        ("٣", 0),
        ("Fri, 15 Jan 2027 08:00:00 GMT", 0),
    ],
)
async def test_retry_after_is_read_in_seconds_and_bounded(
    carrier: TwilioCarrier, api: TwilioFake, text: str, wait: int
) -> None:
    api.script.append(Answer(429, 20429, {"Retry-After": text}))
    with pytest.raises(Throttled) as caught:
        await carrier.send(a_message())
    assert caught.value.retry_after == wait


@pytest.mark.parametrize(
    ("born", "error"),
    [
        (("failed", 30007), Rejected),
        (("undelivered", None), Rejected),
        (("failed", 30001), Throttled),
        (("failed", 30002), Misconfigured),
    ],
)
async def test_a_message_born_failed_is_a_failure(
    carrier: TwilioCarrier, api: TwilioFake, born: tuple[str, int | None], error: type[CarrierError]
) -> None:
    api.born = born
    with pytest.raises(CarrierError) as caught:
        await carrier.send(a_message())
    assert type(caught.value) is error


async def test_c071_a_taken_message_whose_answer_breaks_off_is_submitted(
    carrier: TwilioCarrier, api: TwilioFake
) -> None:
    api.script.append(Fault.CUT_ANSWER)
    submitted = await carrier.send(a_message())
    assert submitted.provider_id == ""
    assert len(api.messages) == 1


async def test_c071_taken_and_unanswered_is_ambiguous_and_sent_once(
    carrier: TwilioCarrier, api: TwilioFake
) -> None:
    api.script.append(Fault.DROP_AFTER)
    with pytest.raises(Ambiguous):
        await carrier.send(a_message())
    assert len(api.messages) == 1
    assert len(api.requests) == 1


async def test_a_connection_that_fails_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # Bound and not listening: connections are refused.
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        carrier = TwilioCarrier.create(BASE | {"base_url": url})
        await carrier.open(no_receipts)
        with pytest.raises(Unreachable) as caught:
            await carrier.send(a_message())
        # The library's own error, which names the peer, stays out of every trace.
        assert caught.value.__suppress_context__
        await carrier.close()


async def test_an_untrusted_certificate_is_unreachable(api: TwilioFake) -> None:
    url = api.base_url.replace("http://", "https://")
    carrier = TwilioCarrier.create(BASE | {"base_url": url})
    await carrier.open(no_receipts)
    with pytest.raises(Unreachable):
        await carrier.send(a_message())
    await carrier.close()
    assert api.requests == []


async def test_wrong_credentials_are_misconfigured(api: TwilioFake) -> None:
    carrier = TwilioCarrier.create(BASE | {"auth_token": Secret("x"), "base_url": api.base_url})
    await carrier.open(no_receipts)
    with pytest.raises(Misconfigured):
        await carrier.send(a_message())
    await carrier.close()
    assert api.messages == []


async def test_sending_before_open_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await TwilioCarrier.create(BASE).send(a_message())


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"voice": True}, "voice"),
        ({"account_sid": "AC1"}, "account_sid"),
        ({"account_sid": None}, "account_sid"),
        ({"auth_token": "in-the-clear"}, "auth_token"),
        ({"auth_token": None}, "auth_token_file"),
        ({"api_key_secret": Secret("x")}, "auth_token_file"),
        ({"auth_token": None, "api_key_secret": Secret("x")}, "api_key_sid"),
        ({"from_number": ""}, "from_number"),
        ({"from_number": "12 345 678 901 234"}, "from_number"),
        ({"messaging_service_sid": SERVICE_SID}, "from_number"),
        ({"base_url": "http://api.twilio.com"}, "base_url"),
        ({"base_url": "http://127.0.0.1.evil.example"}, "base_url"),
        ({"base_url": "https://user@api.twilio.com"}, "base_url"),
        ({"base_url": "https://api.twilio.com/x?y"}, "base_url"),
        ({"base_url": "https://"}, "base_url"),
        ({"base_url": "https://[::1"}, "base_url"),
        ({"timeout_ms": 0}, "timeout_ms"),
        ({"timeout_ms": True}, "timeout_ms"),
        ({"redact": "yes"}, "redact"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_bad_setting_is_refused_by_name(change: dict[str, object], name: str) -> None:
    table = {key: value for key, value in (BASE | change).items() if value is not None}
    with pytest.raises(ValueError, match=rf"^carriers\.twilio\.{name} [^\n]+$") as caught:
        TwilioCarrier.create(table)
    assert "in-the-clear" not in str(caught.value)


def test_voice_stays_off() -> None:
    assert TwilioCarrier.capabilities.channels == {Channel.SMS}
    TwilioCarrier.create(BASE | {"voice": False})


def test_the_token_comes_from_a_file_of_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(AUTH_TOKEN + "\n")
    table = {key: value for key, value in BASE.items() if key != "auth_token"}
    table["auth_token_file"] = str(path)
    path.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        TwilioCarrier.create(table)
    path.chmod(0o600)
    carrier = TwilioCarrier.create(table)
    assert AUTH_TOKEN not in repr(vars(carrier))
    path.write_text("")
    with pytest.raises(ValueError, match="one line"):
        TwilioCarrier.create(table)
    path.unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        TwilioCarrier.create(table)
