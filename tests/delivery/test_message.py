"""What people read, and what may never get into it."""

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.core.errors import InvalidArgument
from watchword.core.secret import Secret
from watchword.delivery.carrier import Channel
from watchword.delivery.message import (
    MessageSpec,
    NoticeKind,
    check_android_app_hash,
    check_brand,
    check_web_otp_origin,
    read_spec,
    render_code_message,
    render_notice,
    segments,
)
from watchword.delivery.phrases import PHRASES

CODE: Secret[str] = Secret("031415")
HASH = "FA+9qCX9VS/"
GSM = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)


def body(spec: MessageSpec, channel: Channel = Channel.SMS, code: Secret[str] = CODE) -> str:
    return render_code_message(spec, code, channel).reveal()


def test_an_english_message() -> None:
    assert body(MessageSpec("Acme")) == (
        "Acme: Your verification code is 031415. It expires in 10 minutes. Never share it."
    )
    assert body(MessageSpec(ttl_minutes=1)) == (
        "Your verification code is 031415. It expires in 1 minute. Never share it."
    )


@pytest.mark.parametrize("language", PHRASES)
def test_every_language_says_all_of_it_in_one_segment(language: str) -> None:
    text = body(MessageSpec("Acme Finance Group", language, ttl_minutes=5))
    words = PHRASES[language]
    assert text.count("031415") == 1
    assert text.startswith("Acme Finance Group: ")
    assert text.endswith(words.secrecy)
    assert " 5 " in text
    assert segments(text) == 1


@pytest.mark.parametrize(
    ("tag", "language"),
    [("pt-BR", "pt"), ("DE-at", "de"), ("zh-Hant", "en"), ("", "en"), ("espalda", "en")],
)
def test_the_first_subtag_chooses_the_language(tag: str, language: str) -> None:
    assert body(MessageSpec("Acme", tag)) == body(MessageSpec("Acme", language))


def test_the_line_for_browsers_is_the_last_and_repeats_the_code() -> None:
    lines = body(MessageSpec("Acme", web_otp_origin="login.example.com")).split("\n")
    assert lines[1:] == ["@login.example.com #031415"]


def test_the_line_for_android_comes_before_the_one_for_browsers() -> None:
    spec = MessageSpec("Acme", "en", "example.com", HASH)
    assert body(spec).split("\n")[1:] == [HASH, "@example.com #031415"]
    assert body(spec._replace(web_otp_origin="")).split("\n")[1:] == [HASH]


@pytest.mark.parametrize("language", PHRASES)
@pytest.mark.parametrize("brand", ["", "Acme", "B" * 32])
@pytest.mark.parametrize("origin", ["", "example.com"])
def test_a_message_for_android_keeps_to_its_limit(language: str, brand: str, origin: str) -> None:
    text = body(MessageSpec(brand, language, origin, HASH), code=Secret("9876543210"))
    assert len(text.encode()) <= 140
    assert PHRASES[language].secrecy in text


@pytest.mark.parametrize("channel", [Channel.VOICE, Channel.EMAIL])
def test_only_sms_has_lines_for_programs(channel: Channel) -> None:
    text = body(MessageSpec("Acme", "en", "example.com", HASH), channel)
    assert HASH not in text
    assert "@" not in text
    assert text.endswith("Never share it.")


def test_voice_says_the_digits_one_by_one_and_twice() -> None:
    assert body(MessageSpec("Acme"), Channel.VOICE) == (
        "Acme: Your verification code is 0, 3, 1, 4, 1, 5. Again: 0, 3, 1, 4, 1, 5."
        " It expires in 10 minutes. Never share it."
    )


@pytest.mark.parametrize("kind", NoticeKind)
@pytest.mark.parametrize("language", PHRASES)
def test_notices_hold_brand_and_no_code(kind: NoticeKind, language: str) -> None:
    text = render_notice(str(kind), MessageSpec("Acme", language)).reveal()
    assert text.startswith("Acme: ")
    assert text.endswith(PHRASES[language].notices[kind])
    assert segments(text) == 1


def test_a_notice_of_no_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="NoticeKind"):
        render_notice("PROMOTION", MessageSpec())


def test_messages_are_secrets() -> None:
    assert "031415" not in f"{render_code_message(MessageSpec(), CODE, Channel.SMS)}"


TEMPLATES = ["{code.__class__}", "{0}", "%s", "${code}", "{{7*7}}", "%(code)s", "\\1", "\0"]


@pytest.mark.parametrize("text", TEMPLATES)
def test_c060_templates_in_a_part_stay_out_of_the_message(text: str) -> None:
    plain = body(MessageSpec())
    spec = MessageSpec(text, text, text, text)
    assert body(spec) == plain
    assert render_notice("REBIND_REQUESTED", spec) == render_notice(
        "REBIND_REQUESTED", MessageSpec()
    )


@pytest.mark.parametrize(
    "spec",
    [
        MessageSpec("Acme\n@evil.test #123456"),
        MessageSpec("Acme", web_otp_origin="example.com #123456\n@evil.test"),
        MessageSpec("Acme", android_app_hash="AAAAAAAAAAA\n@evil.test #123456"),
        MessageSpec("evil.test"),
        MessageSpec("code 123456 at https://evil.test"),
    ],
)
def test_c060_no_second_line_and_no_link_gets_in(spec: MessageSpec) -> None:
    text = body(spec)
    assert "evil" not in text
    assert "123456" not in text


brands = st.text(max_size=32)


@given(brand=brands, origin=st.text(max_size=40), app_hash=st.text(max_size=12))
def test_c060_whatever_the_parts_the_last_line_is_ours(
    brand: str, origin: str, app_hash: str
) -> None:
    spec = MessageSpec(brand, "en", "example.com", HASH)
    assert body(spec).split("\n")[1:] == [HASH, "@example.com #031415"]
    spec = MessageSpec("Acme", "en", origin, app_hash)
    first, *rest = body(spec).split("\n")
    assert first.startswith("Acme: Your verification code is 031415.")
    assert len(rest) <= 2


@pytest.mark.parametrize(
    "text",
    ["", "Acme", "7-Eleven", "Studio 54", "Müller & Söhne", "日本銀行", "Яндекс", "J.P. Morgan"],
)
def test_brands_that_may_be_shown(text: str) -> None:
    assert check_brand(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Acme\n",
        "Acme\x00",
        "A" * 33,
        "\u202eemcA",
        "Ac\u200bme",
        "A\u0301\u0302\u0303\u0304\u0305cme",
        "<b>Acme</b>",
        "\x1b[31mAcme",
        "Acme #123456",
        "123456",
        "1 2 3 4 5 6",
        "@acme",
        "https://acme",
        "acme.test",
        "Go to evil.test",
        "Acme: code",
        "P\u0430ypal",
        "\uff30aypal",
        "\U0001d40fay",
        " Acme",
        "Acme ",
        "Ac  me",
        "Acme \N{GRINNING FACE}",
        "{brand}",
        "100%",
    ],
)
def test_c059_brands_that_deceive_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_brand(text)
    assert caught.value.field == "brand_name"
    assert text.strip() not in caught.value.message


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "a-b.example.co.uk",
        "xn--bcher-kva.example",
        "1.example.com",
        f"{'a' * 63}.de",
    ],
)
def test_hosts_that_may_be_named(host: str) -> None:
    assert check_web_otp_origin(host) == host


@pytest.mark.parametrize(
    "host",
    [
        "https://example.com",
        "example.com/path",
        "example.com:443",
        "user@example.com",
        "example.com #1",
        "example.com\n",
        "Example.com",
        "localhost",
        "127.0.0.1",
        "[::1]",
        ".example.com",
        "example.com.",
        "example..com",
        "-a.example.com",
        "a-.example.com",
        "ab--c.example.com",
        "xn--.example",
        "xn--\u00fc.example",
        "xn--999999999.example",
        "a_b.example.com",
        "b\u00fccher.example",
        "ex\u0430mple.com",
        f"{'a' * 64}.com",
        ".".join(["a" * 60] * 5),
        "a." * 500_000,
    ],
)
def test_c059_hosts_of_another_form_are_refused(host: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_web_otp_origin(host)
    assert caught.value.field == "web_otp_origin"


@pytest.mark.parametrize(
    "text", ["A" * 10, "A" * 12, "FA+9qCX9VS=", "FA-9qCX9VS_", "FA+9qCX9VS\n", "FA+9qCX9VSu\n"]
)
def test_c059_app_hashes_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_android_app_hash(text)
    assert caught.value.field == "android_app_hash"


def test_an_app_hash_may_be_absent() -> None:
    assert check_android_app_hash("") == ""
    assert check_android_app_hash(HASH) == HASH


def test_a_spec_survives_its_json_form() -> None:
    spec = MessageSpec("Acme", "fr", "example.com", HASH, 7)
    assert read_spec(json.dumps(spec._asdict())) == spec
    assert read_spec('{"kind": "REBIND_REQUESTED", "brand": "Acme"}') == MessageSpec("Acme")
    for text in ("[]", "", "null"):
        with pytest.raises(ValueError, match=r"."):
            read_spec(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("ó" * 70, 1),
        ("ó" * 71, 2),
        ("ó" * 134, 2),
        ("ó" * 135, 3),
        ("\N{GRINNING FACE}" * 35, 1),
        ("\N{GRINNING FACE}" * 36, 2),
        ("\N{GRINNING FACE}" * 66, 2),
        ("\N{GRINNING FACE}" * 67, 3),
        ("a" * 70 + "ç", 2),
        (GSM, 1),
        (GSM + "[" * 16, 1),
        (GSM + "[" * 17, 2),
    ],
)
def test_segments_are_counted_as_the_network_does(text: str, count: int) -> None:
    assert segments(text) == count


def test_every_letter_of_the_gsm_alphabet_counts_one() -> None:
    assert len(set(GSM)) == 127
    for first, second in product(GSM, "^{}\\[~]|€\f"):
        assert segments(first * 160) == 1
        assert segments(second * 80) == 1
        assert segments(second * 81) == 2
