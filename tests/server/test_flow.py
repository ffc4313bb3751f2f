"""The main job over a real socket, and what a restart keeps."""

from pathlib import Path

from tests.support.live import Live, running

from watchword.testing.clock import FakeClock


async def test_a_code_is_delivered_and_its_check_approves(live: Live) -> None:
    verification = await live.start(purpose="login")
    code = await live.code(verification.verification_id)
    wrong = "000000" if code != "000000" else "000001"
    rejected = await live.check(verification.verification_id, wrong, purpose="login")
    assert rejected.rejection.checks_remaining == 4
    right = await live.check(verification.verification_id, code, purpose="login")
    assert right.WhichOneof("result") == "approval"
    assert right.approval.receipt.count(".") == 2


async def test_a_restart_keeps_what_was_acknowledged(tmp_path: Path, clock: FakeClock) -> None:
    async with running(tmp_path / "var", clock=clock) as first:
        verification = await first.start()
        code = await first.code(verification.verification_id)
        credentials = first.credentials
    async with running(tmp_path / "var", clock=clock) as second:
        assert second.credentials == credentials
        reply = await second.check(verification.verification_id, code)
        assert reply.WhichOneof("result") == "approval"
