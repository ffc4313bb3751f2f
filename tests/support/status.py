"""Reads the details of a gRPC error as a client would."""

from typing import NamedTuple

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status


class Details(NamedTuple):
    """What an error said; `infos` counts the ErrorInfos."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    fields: tuple[str, ...]
    retry: Duration | None
    infos: int
    raw: bytes


def details(error: grpc.aio.AioRpcError) -> Details:
    """Return the details of an error, empty where the transport made it."""
    raw = b""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            raw = value if isinstance(value, bytes) else value.encode()
    status = Status.FromString(raw)
    info, infos, retry, fields = ErrorInfo(), 0, None, []
    for item in status.details:
        if item.Is(ErrorInfo.DESCRIPTOR):
            item.Unpack(info)
            infos += 1
        elif item.Is(RetryInfo.DESCRIPTOR):
            found = RetryInfo()
            item.Unpack(found)
            retry = found.retry_delay
        elif item.Is(BadRequest.DESCRIPTOR):
            bad = BadRequest()
            item.Unpack(bad)
            fields += [violation.field for violation in bad.field_violations]
    return Details(
        error.code(),
        error.details() or "",
        info.reason,
        info.domain,
        tuple(fields),
        retry,
        infos,
        raw,
    )
