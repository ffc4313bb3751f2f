"""A gRPC client that costs little: unary calls over HTTP/2 on one plain connection.

A generator must not be the bottleneck, and every general client costs as much as the
server that is measured. This one speaks the part of HTTP/2 (RFC 9113) that a gRPC server
uses towards a client, and raises on all else. HPACK (RFC 7541) is the package `hpack`.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, cast

import hpack

Headers = tuple[tuple[str, str], ...]

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 1, 1, 4, 8, 32
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_HEAD = 9
_GRPC_HEAD = 5
_FIRST_WINDOW = 65_535
_WINDOW = 1 << 30
_RETURN_AT = 1 << 20
_HEADER_TABLE_SIZE = 1
_INDEXED, _LONG = 0x80, 0xFF
_LARGEST = 8_192


class CallFailed(Exception):
    """A call did not end with grpc-status 0 and one message; says what came instead."""


class _Call(NamedTuple):
    answer: "asyncio.Future[bytes]"
    data: bytearray


def request_headers(authority: str, path: str, metadata: Sequence[tuple[str, str]]) -> Headers:
    """Return the headers of every call of one method; the deadline is ten seconds."""
    return (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "watchword-bench"),
        ("grpc-timeout", "10S"),
        *metadata,
    )


async def connect(endpoint: str) -> "Connection":
    """Open a connection to `host:port`. Raises `OSError`."""
    host, _, port = endpoint.rpartition(":")
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, host, int(port))
    return connection


class Connection(asyncio.Protocol):
    """Makes calls; what is sent in one turn of the event loop leaves in one write."""

    def __init__(self) -> None:
        """Wait for the transport."""
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, _Call] = {}
        self._next_stream = 1
        self._out: list[bytes] = []
        self._rest = b""
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._encoded: dict[Headers, bytes] = {}
        self._decoded: dict[bytes, dict[str, str]] = {}
        self._credit = _FIRST_WINDOW
        self._waiting: deque[tuple[Headers, bytes, asyncio.Future[bytes]]] = deque()
        self._consumed = 0

    def call(self, headers: Headers, message: bytes) -> "asyncio.Future[bytes]":
        """Send `message`; the future becomes the reply's bytes or raises `CallFailed`.

        `headers` are those of `request_headers`, the same object for each call of a method.
        """
        answer: asyncio.Future[bytes] = self._loop.create_future()
        if len(message) > _LARGEST:
            raise ValueError("the message is too long for a generator")
        if self._waiting or self._credit < len(message) + _GRPC_HEAD:
            self._waiting.append((headers, message, answer))
        else:
            self._send(headers, message, answer)
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    # ------------------------------------------------------------------- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello, with windows that no reply fills."""
        self._transport = cast("asyncio.Transport", transport)
        increment = (_WINDOW - _FIRST_WINDOW).to_bytes(4, "big")
        self._transport.write(
            _PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_WINDOW_UPDATE, 0, 0, increment)
        )

    def data_received(self, data: bytes) -> None:
        """Take what came apart into frames."""
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        while end - at >= _FRAME_HEAD:
            until = at + _FRAME_HEAD + int.from_bytes(data[at : at + 3], "big")
            if until > end:
                break
            stream = int.from_bytes(data[at + 5 : at + 9], "big")
            self._take(data[at + 3], data[at + 4], stream, data[at + _FRAME_HEAD : until])
            at = until
        self._rest = data[at:]
        if self._consumed >= _RETURN_AT:
            self._write(_frame(_WINDOW_UPDATE, 0, 0, self._consumed.to_bytes(4, "big")))
            self._consumed = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is still open."""
        self._fail_all(f"the connection was lost ({type(exc).__name__ if exc else 'closed'})")

    # ------------------------------------------------------------------- sending

    def _send(self, headers: Headers, message: bytes, answer: "asyncio.Future[bytes]") -> None:
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._calls[stream] = _Call(answer, bytearray())
        block = self._encoded.get(headers)
        if block is None:
            block = self._encoder.encode(headers)
            if _plain(block):
                self._encoded[headers] = block
            else:
                # The block changed the table, and with it what other blocks mean.
                self._encoded.clear()
        framed = b"\0" + len(message).to_bytes(4, "big") + message
        self._credit -= len(framed)
        self._write(
            _frame(_HEADERS, _END_HEADERS, stream, block)
            + _frame(_DATA, _END_STREAM, stream, framed)
        )

    def _write(self, data: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        self._transport.write(b"".join(self._out))
        self._out.clear()

    # ----------------------------------------------------------------- receiving

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._take_data(flags, stream, payload)
        elif kind == _HEADERS:
            self._take_headers(flags, stream, payload)
        elif kind == _WINDOW_UPDATE:
            self._take_credit(stream, payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self._take_settings(payload)
        elif kind == _PING and not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, payload))
        elif kind == _RESET:
            call = self._calls.pop(stream)
            _fail(call.answer, f"stream reset, error {int.from_bytes(payload, 'big')}")
        elif kind == _GOAWAY:
            self._fail_all("the server sent GOAWAY")

    def _take_data(self, flags: int, stream: int, payload: bytes) -> None:
        call = self._calls[stream]
        self._consumed += len(payload)
        if flags & (_PADDED | _END_STREAM):
            _fail(self._calls.pop(stream).answer, "data that is padded or ends without trailers")
            return
        call.data.extend(payload)

    def _take_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & (_PADDED | _PRIORITY) or not flags & _END_HEADERS:
            self._fail_all("headers of a form that is not understood")
            self._transport.abort()
            return
        found = self._decoded.get(payload)
        if found is None:
            found = {str(name): str(value) for name, value in self._decoder.decode(payload)}
            if _plain(payload):
                self._decoded[payload] = found
            else:
                self._decoded.clear()
        if flags & _END_STREAM:
            call = self._calls.pop(stream)
            if not call.answer.done():
                _answer(call, found)
        elif found.get(":status") != "200":
            _fail(self._calls[stream].answer, f"HTTP status {found.get(':status')}")

    def _take_credit(self, stream: int, payload: bytes) -> None:
        # A stream's own window is larger than any one message.
        if stream == 0:
            self._credit += int.from_bytes(payload, "big")
            while self._waiting and self._credit >= len(self._waiting[0][1]) + _GRPC_HEAD:
                self._send(*self._waiting.popleft())

    def _take_settings(self, payload: bytes) -> None:
        for at in range(0, len(payload), 6):
            if int.from_bytes(payload[at : at + 2], "big") == _HEADER_TABLE_SIZE:
                size = int.from_bytes(payload[at + 2 : at + 6], "big")
                self._encoder.header_table_size = min(size, self._encoder.header_table_size)
                self._encoded.clear()
        self._write(_frame(_SETTINGS, _ACK, 0, b""))

    def _fail_all(self, text: str) -> None:
        for call in self._calls.values():
            _fail(call.answer, text)
        for _, _, answer in self._waiting:
            _fail(answer, text)
        self._calls.clear()
        self._waiting.clear()


def _answer(call: _Call, trailers: dict[str, str]) -> None:
    status, data = trailers.get("grpc-status"), call.data
    if status != "0":
        _fail(call.answer, f"grpc-status {status}: {trailers.get('grpc-message', '')}")
    elif data[:1] != b"\0" or len(data) != _GRPC_HEAD + int.from_bytes(data[1:5], "big"):
        _fail(call.answer, "not one uncompressed message")
    else:
        call.answer.set_result(bytes(data[_GRPC_HEAD:]))


def _fail(answer: "asyncio.Future[bytes]", text: str) -> None:
    if not answer.done():
        answer.set_exception(CallFailed(text))


def _plain(block: bytes) -> bool:
    """Tell whether a header block is nothing but one-byte references into the table.

    Such a block changes no table (RFC 7541 §6.1): while nothing else does, it always
    means the same.
    """
    return all(_INDEXED <= byte < _LONG for byte in block)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return b"%b%c%c%b%b" % (
        len(payload).to_bytes(3, "big"),
        kind,
        flags,
        stream.to_bytes(4, "big"),
        payload,
    )
