"""What the Twilio carrier is told: its account, its sender and how to reach the API."""

import ipaddress
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from watchword.core.secret import Secret
from watchword_adapters.carriers.settings import Settings

_ACCOUNT = re.compile(r"AC[0-9a-fA-F]{32}")
_API_KEY = re.compile(r"SK[0-9a-fA-F]{32}")
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
# E.164, a short code, or an alphanumeric sender id with at least one letter.
_FROM = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=[A-Za-z0-9 ]*[A-Za-z])[A-Za-z0-9 ]{1,11}")


class TwilioSettings(NamedTuple):
    """Checked settings; times in milliseconds. `user` and `password` are for Basic auth."""

    account_sid: str
    user: str
    password: Secret[str]
    from_number: str
    messaging_service_sid: str
    base_url: str
    timeout: int
    connect_timeout: int
    connections: int
    redact: bool
    redact_after: int


def read_settings(settings: Mapping[str, object]) -> TwilioSettings:
    """Return the checked settings. Raises `ValueError` with one line that names the setting."""
    table = Settings("twilio", settings)
    if table.flag("voice", default=False):
        raise table.error(
            "voice", "cannot be enabled: calls need callback ingress, which is not there"
        )
    account_sid = _shaped(table, "account_sid", _ACCOUNT)
    user, password = _credentials(table, account_sid)
    from_number, service_sid = _sender(table)
    checked = TwilioSettings(
        account_sid=account_sid,
        user=user,
        password=password,
        from_number=from_number,
        messaging_service_sid=service_sid,
        base_url=_base_url(table),
        timeout=table.number("timeout_ms", 8_000, 100, 60_000),
        connect_timeout=table.number("connect_timeout_ms", 3_000, 100, 30_000),
        connections=table.number("connections", 64, 1, 1_000),
        redact=table.flag("redact", default=False),
        redact_after=table.number("redact_after_ms", 60_000, 0, 86_400_000),
    )
    table.finish()
    return checked


def _credentials(table: Settings, account_sid: str) -> tuple[str, Secret[str]]:
    token, key_secret = table.secret("auth_token"), table.secret("api_key_secret")
    if (token is None) == (key_secret is None):
        raise table.error("auth_token_file", "or api_key_secret_file is needed, and not both")
    if key_secret is not None:
        return _shaped(table, "api_key_sid", _API_KEY), key_secret
    assert token is not None  # noqa: S101 - exactly one of the two is there
    return account_sid, token


def _sender(table: Settings) -> tuple[str, str]:
    from_number = table.text("from_number", "")
    service_sid = table.text("messaging_service_sid", "")
    if bool(from_number) == bool(service_sid):
        raise table.error("from_number", "or messaging_service_sid is needed, and not both")
    if from_number and _FROM.fullmatch(from_number) is None:
        raise table.error("from_number", "must be E.164, a short code or an alphanumeric sender")
    if service_sid and _SERVICE.fullmatch(service_sid) is None:
        raise table.error("messaging_service_sid", "must be MG and 32 hex digits")
    return from_number, service_sid


def _shaped(table: Settings, name: str, form: re.Pattern[str]) -> str:
    value = table.text(name)
    if form.fullmatch(value) is None:
        raise table.error(name, f"must be {form.pattern[:2]} and 32 hex digits")
    return value


def _base_url(table: Settings) -> str:
    text = table.text("base_url", "https://api.twilio.com")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise table.error("base_url", "is not a URL") from None
    if parts.username or parts.query or parts.fragment or parts.path.strip("/") or not host:
        raise table.error("base_url", "must be scheme, host and port alone")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise table.error("base_url", "must be https, or http to a loopback address")
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
