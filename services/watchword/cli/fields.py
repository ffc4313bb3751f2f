"""How the fields of a message read in a table."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def rows(message: Message) -> Iterator[tuple[str, str]]:
    """Yield name and text of each field that is set, those of inner messages under both names."""
    for field, value in message.ListFields():
        name = field.name.replace("_", " ")
        if isinstance(value, Message) and not isinstance(value, Timestamp | Duration):
            for inner, text in rows(value):
                yield f"{name}: {inner}", text
        else:
            yield name, _text(field, value)


def text_of(message: Message, path: str) -> str:
    """Return the text of the field at `path`; "" where it is absent."""
    name, _, rest = path.partition(".")
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.message_type and not field.is_repeated and not message.HasField(name):
        return ""
    value = getattr(message, name)
    return text_of(value, rest) if rest else _text(field, value)


def printable(text: str) -> str:
    """Return `text` without what could steer a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _text(field: Any, value: Any) -> str:  # noqa: ANN401 - a FieldDescriptor and its value
    if field.message_type and field.message_type.GetOptions().map_entry:
        return printable(", ".join(f"{key}={value[key]}" for key in sorted(value)))
    if field.is_repeated:
        return ", ".join(_one(field, item) for item in value)
    return _one(field, value)


def _one(field: Any, value: Any) -> str:  # noqa: ANN401 - as above
    if isinstance(value, Timestamp):
        return f"{value.ToDatetime(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, Duration):
        return f"{value.ToMilliseconds() / 1000:g} s"
    if isinstance(value, Message):
        return "[" + ", ".join(f"{name} {text}" for name, text in rows(value)) + "]"
    if field.enum_type is not None:
        return enum_text(field.enum_type, value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))


def enum_text(enum: Any, number: int) -> str:  # noqa: ANN401 - protobuf's EnumDescriptor
    """Return an enum value's name without the enum's own, the number where it is unknown."""
    known = enum.values_by_number.get(number)
    if known is None:
        return str(number)
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper()
    return str(known.name.removeprefix(f"{prefix}_"))


def time_text(seconds: float) -> str:
    """Return a moment (seconds of the Unix epoch) as tables show it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
