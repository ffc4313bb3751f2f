"""Malformed input over a real socket, generated from the descriptors."""

import asyncio

import grpc
import pytest
from google.protobuf.internal import api_implementation
from google.protobuf.message import Message
from tests.support.live import Live
from tests.support.methods import CANARY, Method, call, methods, wrong_requests
from tests.support.status import Details, details

from watchword.verification.v1 import verification_pb2 as pb

BUGS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS}


async def outcome(live: Live, method: Method, raw: bytes) -> grpc.aio.AioRpcError | None:
    metadata = live.auth if "Verification" in method.path else live.admin
    try:
        await call(live.channel, method, raw, metadata)
    except grpc.aio.AioRpcError as error:
        return error
    return None


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.described.name)
async def test_c054_no_field_of_any_request_makes_a_bug_show(live: Live, method: Method) -> None:
    async def one(request: Message) -> None:
        async with slots:
            error = await outcome(live, method, request.SerializeToString())
        if error is not None:
            check_told(details(error), request)

    slots = asyncio.Semaphore(32)
    await asyncio.gather(*map(one, wrong_requests(method)))
    assert await live.server.ready()
    assert not [line for line in live.lines if line["event"] == "fault"]
    assert CANARY.encode() not in b"".join(live.raw_lines)


def check_told(told: Details, request: Message) -> None:
    assert told.code not in BUGS, (told, request)
    assert CANARY not in told.message
    assert CANARY.encode() not in told.raw
    if told.raw:
        assert told.infos == 1
        assert told.domain == "watchword"
    if told.code is grpc.StatusCode.INVALID_ARGUMENT:
        assert told.fields, (told, request)


async def test_bad_utf8_and_truncated_requests_are_invalid(live: Live) -> None:
    for method in methods():
        for raw in (b"\x0a\x02\xff\xfe", b"\x0a\x7f", b"\x07", b"\xff" * 32):
            error = await outcome(live, method, raw)
            # A method without fields skips what it does not know.
            assert error is None or error.code() in {
                grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.UNIMPLEMENTED,
            }


async def test_c062_requests_over_64_kib_are_refused(live: Live) -> None:
    start = live.verification.StartVerification
    for size in (64 * 1024 + 1, 5 * 1024 * 1024):
        request = pb.StartVerificationRequest(phone_number="1" * size)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await start(request, metadata=live.auth)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_c062_a_compressed_request_is_refused_before_it_is_inflated(live: Live) -> None:
    bomb = pb.StartVerificationRequest(phone_number="1" * 50_000)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await live.verification.StartVerification(
            bomb, metadata=live.auth, compression=grpc.Compression.Gzip
        )
    assert caught.value.code() in {
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }


def test_c064_the_parser_is_the_one_that_bounds_depth() -> None:
    assert api_implementation.Type() == "upb"


async def test_c064_deep_nesting_is_refused(live: Live) -> None:
    # Groups of an unknown field, opened ten thousand times.
    raw = b"\x9b\x06" * 10_000
    method = next(m for m in methods() if m.described.name == "GetVerification")
    error = await outcome(live, method, raw)
    assert error is not None
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "request_id", ["x" * 65, "a\x00b", "é", "tab\t", "x" * 60_000], ids=lambda text: str(len(text))
)
async def test_c066_request_ids_are_short_printable_ascii(live: Live, request_id: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await live.start(request_id=request_id)
    told = details(caught.value)
    assert told.code is grpc.StatusCode.INVALID_ARGUMENT
    assert told.fields == ("request_id",)


async def test_c066_an_empty_request_id_is_no_request_id(live: Live) -> None:
    verification = await live.start(request_id="")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await live.start(request_id="")
    assert verification.verification_id
    assert details(caught.value).reason == "SEND_COOLDOWN"
