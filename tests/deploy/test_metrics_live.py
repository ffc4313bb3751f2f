"""Every series that the board and the rules name is found on a running server's /metrics."""

import re

import aiohttp
import grpc.aio
import pytest
from tests.deploy.test_metric_names import expressions
from tests.support.live import Live

from watchword.verification.v1 import verification_pb2 as pb

DELIVERED = "+12025550180"
REJECTED = "+12025550183"

_NAME = re.compile(r"\b(?:watchword|grpc_server|process)_[a-z_]+\b")
_SERIES = re.compile(r"^([a-z_]+)(?:\{| )", re.MULTILINE)


async def be_busy(live: Live) -> None:
    """Cause one event of each kind: approval, wrong code, refusals, delivery and its failure."""
    started = await live.start(DELIVERED)
    code = await live.code(started.verification_id)
    wrong = code[:-1] + str((int(code[-1]) + 1) % 10)
    await live.check(started.verification_id, wrong)
    with pytest.raises(grpc.aio.AioRpcError):
        await live.start(DELIVERED)
    await live.check(started.verification_id, code)
    refused = await live.start(REJECTED)
    request = pb.WatchVerificationRequest(verification_id=refused.verification_id)
    async for _ in live.verification.WatchVerification(request, metadata=live.auth):
        pass  # it ends when the carrier has refused the only message
    with pytest.raises(grpc.aio.AioRpcError):
        await live.verification.GetQuota(pb.GetQuotaRequest(phone_number=DELIVERED))


async def test_every_series_that_is_looked_at_exists(live: Live) -> None:
    await be_busy(live)
    async with aiohttp.ClientSession() as session, session.get(f"{live.http}/metrics") as reply:
        text = await reply.text()
    wanted = {name for expression in expressions() for name in _NAME.findall(expression)}
    assert wanted - set(_SERIES.findall(text)) == set()
