"""A gRPC call byte by byte (RFC 9113, RFC 7541), so that its framing can be wrong."""

import asyncio
from collections.abc import Sequence

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _GOAWAY, _WINDOW = 0, 1, 3, 4, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_MAX_FRAME = 16_384
_PATIENCE = 10.0
_BRIEF = 0.2

Headers = Sequence[tuple[str, str]]


def prefixed(message: bytes, *, length: int | None = None, compressed: bool = False) -> bytes:
    """Return a gRPC message with its prefix; `length` is what the prefix claims."""
    claimed = len(message) if length is None else length
    return bytes([compressed]) + claimed.to_bytes(4) + message


async def ask(
    endpoint: str, path: str, headers: Headers, body: bytes, *, unfinished: bool = False
) -> bytes:
    """Send one call and return all header and trailer bytes that came back, unparsed.

    To an `unfinished` message there may be no answer before the connection ends.
    """
    host, _, port = endpoint.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", endpoint),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            *headers,
        ]
        block = b"".join(_literal(name, value) for name, value in fields)
        writer.write(_frame(_HEADERS, _END_HEADERS, 1, block))
        for begin in range(0, len(body), _MAX_FRAME):
            part = body[begin : begin + _MAX_FRAME]
            last = begin + _MAX_FRAME >= len(body)
            writer.write(_frame(_DATA, _END_STREAM if last else 0, 1, part))
        await writer.drain()
        answered = asyncio.ensure_future(_answered(reader, writer))
        done, _ = await asyncio.wait([answered], timeout=_BRIEF if unfinished else _PATIENCE)
        if not done:
            answered.cancel()
            if not unfinished:
                raise TimeoutError
        return answered.result() if done else b""
    finally:
        writer.close()


async def _answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    seen = b""
    while True:
        try:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return seen
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        if kind == _HEADERS and stream == 1:
            seen += payload
        if kind in (_RESET, _GOAWAY) or (stream == 1 and kind != _WINDOW and flags & _END_STREAM):
            return seen


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def _literal(name: str, value: str) -> bytes:
    # Without indexing and without Huffman codes (RFC 7541, 6.2.2).
    return b"\x00" + _string(name) + _string(value)


def _string(text: str) -> bytes:
    data = text.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, coded = len(data) - 127, b"\x7f"
    while rest >= 128:
        coded += bytes([rest % 128 + 128])
        rest //= 128
    return coded + bytes([rest]) + data
