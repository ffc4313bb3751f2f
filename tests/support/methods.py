"""Every published method, from the descriptors, and requests that are wrong in every way."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from tests.support.live import Metadata

from watchword.account.v1 import account_pb2
from watchword.verification.v1 import verification_pb2

CANARY = "c4n4ry-7f3e"
"""A text that no reply may repeat."""

_TEXTS = (
    "",
    CANARY,
    CANARY * 6000,
    f"{CANARY}\x00",
    f"{CANARY}\r\nx: y",
    f"{CANARY}\u202e",
    f"{CANARY}é",
    "٣" * 6,
    "'; DROP TABLE verification; --",
    "../../etc/passwd",
    "%s%n{0}${jndi}",
)
_INTEGERS_32 = (0, 1, -1, 2**31 - 1, -(2**31))
_INTEGERS_64 = (0, 1, -1, 2**63 - 1, -(2**63))
_ENUMS = (0, 1, 99, -1, 2**31 - 1)
_KINDS: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.TYPE_STRING: _TEXTS,
    FieldDescriptor.TYPE_BYTES: (b"", b"\xff" * 65, CANARY.encode() * 5000),
    FieldDescriptor.TYPE_INT32: _INTEGERS_32,
    FieldDescriptor.TYPE_INT64: _INTEGERS_64,
    FieldDescriptor.TYPE_BOOL: (True, False),
    FieldDescriptor.TYPE_ENUM: _ENUMS,
}


class Method(NamedTuple):
    """One method; `path` is its full name with slashes."""

    path: str
    described: MethodDescriptor

    @property
    def stream(self) -> bool:
        """Tell whether it answers with a stream."""
        return bool(self.described.server_streaming)


def methods() -> list[Method]:
    """Return every method of every service."""
    files = (verification_pb2.DESCRIPTOR, account_pb2.DESCRIPTOR)
    return [
        Method(f"/{service.full_name}/{method.name}", method)
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
    ]


async def call(channel: grpc.aio.Channel, method: Method, raw: bytes, metadata: Metadata) -> bytes:
    """Call a method with bytes; of a stream, return the first message or b""."""
    if not method.stream:
        unary: Any = channel.unary_unary(method.path)
        reply: bytes = await unary(raw, metadata=metadata, timeout=10)
        return reply
    stream: Any = channel.unary_stream(method.path)
    running = stream(raw, metadata=metadata, timeout=10)
    async for first in running:
        running.cancel()
        found: bytes = first
        return found
    return b""


def request_type(method: Method) -> type[Message]:
    """Return the class of a method's request."""
    found: type[Message] = message_factory.GetMessageClass(method.described.input_type)
    return found


def wrong_requests(method: Method) -> Iterator[Message]:
    """Yield the empty request, then one for each field and each value that may be wrong."""
    kind = request_type(method)
    yield kind()
    described = method.described.input_type
    assert described is not None
    for path in _paths(described):
        for value in _values(path[-1]):
            request = kind()
            _put(request, path, value)
            yield request


def _paths(described: Descriptor, depth: int = 3) -> Iterator[tuple[FieldDescriptor, ...]]:
    for field in described.fields:
        yield (field,)
        inner = field.message_type
        if inner is not None and not field.is_repeated and depth:
            for path in _paths(inner, depth - 1):
                yield (field, *path)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _values(field: FieldDescriptor) -> tuple[Any, ...]:
    if _is_map(field):
        return ({CANARY: CANARY}, {"": ""}, {f"k{i}": "v" for i in range(100)}, {"k": "\x00"})
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return (None,)
    values = _KINDS[field.type]
    if field.is_repeated:
        return (*([value] for value in values), [values[1]] * 500)
    return values


def _put(request: Message, path: tuple[FieldDescriptor, ...], value: object) -> None:
    holder: Any = request
    for field in path[:-1]:
        holder = getattr(holder, field.name)
        holder.SetInParent()
    last = path[-1]
    target = getattr(holder, last.name)
    if _is_map(last):
        target.update(value)
    elif last.is_repeated and last.type == FieldDescriptor.TYPE_MESSAGE:
        target.add()
    elif last.is_repeated:
        target.extend(value)
    elif last.type == FieldDescriptor.TYPE_MESSAGE:
        target.SetInParent()
    else:
        setattr(holder, last.name, value)
