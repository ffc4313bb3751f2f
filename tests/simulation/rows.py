"""Holds every committed change of a row against what may follow what."""

from collections import defaultdict

from tests.simulation.budgets import Budgets
from tests.simulation.findings import Findings
from tests.support.places import PROVIDER, Committed

from watchword.audit.leaf import Leaf, LeafMaker
from watchword.delivery.outbox import Send, SendState
from watchword.tenancy.model import MAX_SENDS
from watchword.verification.model import State, Verification, leaf_content

LEASE_FIELDS = ("attempts", "lease_time", "doubts")
_FOREVER = (
    *("account_id", "application_id", "purpose", "binding_key", "action_mac", "phone_index"),
    *("phone_commitment", "code_origin", "carrier_trust", "test", "resend", "max_checks"),
    *("create_time", "expire_time"),
)
_ONLY_UP = ("version", "generation", "checks_used", "send_count")
_AFTER = {
    SendState.QUEUED: set(SendState),
    SendState.SUBMITTED: {SendState.DELIVERED, SendState.UNDELIVERED},
}
_MAKER = LeafMaker(PROVIDER)


class Rows:
    """The rows as they were last seen, and every version of a verification that was."""

    def __init__(self, findings: Findings, budgets: Budgets, lease: int) -> None:
        self._findings = findings
        self._hold = findings.hold
        self._budgets = budgets
        self._lease = lease
        self.now = Committed({}, {}, ())
        self.history: dict[tuple[str, int], Verification] = {}
        self._leaves: defaultdict[tuple[str, str], set[int]] = defaultdict(set)

    def look(self, found: Committed) -> list[Verification]:
        """Take in what is committed; returns the verifications that are approved by it."""
        before, self.now = self.now, found
        gone = (before.verifications.keys() - found.verifications.keys()) or (
            before.sends.keys() - found.sends.keys()
        )
        self._hold(3, f"rows are gone: {gone}", true=not gone)
        approved = []
        for row in found.verifications.values():
            old = before.verifications.get(row.verification_id)
            if row is not old and row != old:
                self._verification(old, row)
                if row.state is State.APPROVED:
                    approved.append(row)
        for send in found.sends.values():
            old_send = before.sends.get(send.send_id)
            if send is not old_send and send != old_send:
                self._send(old_send, send, found.verifications.get(send.subject_id))
        self._budgets.settle()
        self._audit(before, found)
        return approved

    def _verification(self, old: Verification | None, row: Verification) -> None:
        self.history[row.verification_id, row.version] = row
        self._hold(2, "more checks than allowed", true=row.checks_used <= row.max_checks)
        self._hold(7, "more sends than allowed", true=row.send_count <= MAX_SENDS)
        if row.state is not State.PENDING:
            personal = row.phone_sealed + row.custom_sealed + row.limits_index
            self._hold(6, "an ended row holds what is personal", true=not personal)
        used = row.checks_used - (old.checks_used if old else 0)
        if old is not None:
            self._follows(old, row)
        if row.state is State.APPROVED:
            used -= 1
            self._budgets.approved(row)
        if used > 0:
            self._budgets.guessed(row, used)

    def _follows(self, old: Verification, row: Verification) -> None:
        self._hold(11, f"{old.state} became {row.state}", true=old.state is State.PENDING)
        self._hold(10, "a change without a version", true=row.version > old.version)
        for name in _FOREVER:
            self._hold(11, f"{name} changed", true=getattr(row, name) == getattr(old, name))
        for name in _ONLY_UP:
            self._hold(11, f"{name} fell", true=getattr(row, name) >= getattr(old, name))

    def _send(self, old: Send | None, send: Send, row: Verification | None) -> None:
        self._hold(7, "a send of no verification", true=row is not None)
        assert row is not None
        if old is None:
            self._budgets.sent(send, row, send.create_time)
            self._hold(7, "a new send with attempts", true=send.attempts <= 1)
            return
        if old.state is not send.state:
            may = send.state in _AFTER.get(old.state, set())
            self._hold(11, f"{old.state} became {send.state}", true=may)
            self._hold(10, "a change without a version", true=send.version > old.version)
        risen = send.attempts >= old.attempts and send.doubts >= old.doubts
        self._hold(11, "attempts or doubts fell", true=risen)
        if send.doubts > old.doubts and send.state is SendState.QUEUED:
            # A message in doubt goes once more, and is charged once more.
            leased = send.lease_time - self._lease if send.lease_time else 0
            self._budgets.sent(send, row, max(leased, send.update_time))

    def _audit(self, before: Committed, found: Committed) -> None:
        count = len(before.leaves)
        self._hold(10, "leaves are gone", true=found.leaves[:count] == before.leaves)
        for leaf in found.leaves[count:]:
            self._leaf(leaf, found)
        for row in found.verifications.values():
            if row is not before.verifications.get(row.verification_id):
                self._complete("verification", row.verification_id, 1, row.version)
        for send in found.sends.values():
            if send is not before.sends.get(send.send_id):
                # A send's first version is told by the verification that caused it.
                self._complete("send", send.send_id, 2, send.version)

    def _leaf(self, leaf: Leaf, found: Committed) -> None:
        known = self._leaves[leaf.kind, leaf.object_id]
        self._hold(10, "two leaves for one change", true=leaf.version not in known)
        known.add(leaf.version)
        row = found.verifications.get(leaf.object_id)
        if leaf.kind == "verification" and row is not None and row.version == leaf.version:
            told = _MAKER.verify(leaf, leaf_content(row))
            self._hold(10, "a leaf tells another content", true=told)

    def _complete(self, kind: str, object_id: str, first: int, last: int) -> None:
        versions = self._leaves.get((kind, object_id), set())
        self._hold(10, f"leaves {versions} of {last}", true=versions == set(range(first, last + 1)))
