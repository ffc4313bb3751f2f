"""What errors advise."""

import grpc
import pytest

from watchword.cli import hints
from watchword.client import WatchwordError
from watchword.error.v1 import error_pb2


def test_advice_is_given_on_known_reasons_alone() -> None:
    known = {
        name.removeprefix("ERROR_REASON_")
        for name in error_pb2.ErrorReason.DESCRIPTOR.values_by_name
    }
    assert set(hints._BY_REASON) <= known


@pytest.mark.parametrize(
    ("reason", "retry_after", "fields", "advice"),
    [
        ("SEND_COOLDOWN", 0.2, (), "wait 1 s and try again"),
        ("FIELD_INVALID", None, ("a", "b.c"), "correct a, b.c"),
        ("NUMBER_NOT_ALLOWED", None, (), "use another number"),
        ("SOMETHING_NEW", None, (), ""),
    ],
)
def test_advice(
    reason: str, retry_after: float | None, fields: tuple[str, ...], advice: str
) -> None:
    error = WatchwordError(
        "text",
        code=grpc.StatusCode.FAILED_PRECONDITION,
        reason=reason,
        retry_after=retry_after,
        fields=fields,
    )
    assert hints.hint(error) == advice
