"""One run: replicas and callers on a store, in an order and with troubles drawn from a seed."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

from tests.simulation.clients import Client, Pool
from tests.simulation.findings import Findings
from tests.simulation.ledger import UNKNOWN, Answer, Ledger
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle
from tests.simulation.replica import LEASE, RETENTION, Replica
from tests.simulation.trouble import Plan, SkewedClock, SomeCalls, StoreClock, Trouble
from tests.support.places import PROVIDER, WORLD, MakePlace

from watchword.account.first import set_up_dev
from watchword.core.ports import SECOND
from watchword.delivery.outbox import SendState
from watchword.server.bus import LocalChangeBus
from watchword.server.plugins import Stores
from watchword.tenancy.model import Caller, Scope
from watchword.testing.entropy import SeededEntropy

_SCOPES: frozenset[Scope] = frozenset()
_LATEST_CRASH = 400.0
_BACK_AFTER = (0.0, 0.5, 60.0)
_WAIT = LEASE / SECOND + 130.0

Break = Callable[[Stores], Stores]
"""Replaces parts of a store by others that break a promise."""


class Run(NamedTuple):
    """What came of a run without a violation."""

    steps: int
    trace: str
    outcomes: set[Answer]
    messages: int


def simulate(
    seed: int,
    make_place: MakePlace,
    directory: Path,
    *,
    breaks: Break = lambda stores: stores,
    plan: Plan | None = None,
    trouble: Trouble | None = None,
) -> Run:
    """Make the run of `seed`. Raises the first violation, with how to see it again."""
    simulation = Simulation(seed, make_place, directory, breaks, plan, trouble)
    try:
        return simulation.run()
    except BaseException as error:
        error.add_note(f"seed {seed}; again: pytest tests/simulation --seed {seed}")
        error.add_note(f"{simulation.plan}")
        raise


class Simulation:
    """Everything of one run."""

    def __init__(
        self,
        seed: int,
        make_place: MakePlace,
        directory: Path,
        breaks: Break,
        plan: Plan | None,
        trouble: Trouble | None,
    ) -> None:
        def chance(what: str) -> random.Random:
            return random.Random(f"{seed}/{what}")

        self._chance = chance
        self.plan = plan or Plan.draw(chance("plan"))
        self.loop = SimulatedLoop(chance("order"))
        self.clock = StoreClock(self.loop.time, self.plan.start)
        self.network = Network(chance("network"), self.plan.carrier_faults)
        self.trouble = trouble or SomeCalls(chance("store"), self.plan.store_faults)
        self.findings = Findings()
        self.place = make_place(directory)
        self.bus = LocalChangeBus()
        self._breaks = breaks
        self.replicas: list[Replica] = []
        self.dead: list[Replica] = []
        self.oracle: Oracle
        self.pool: Pool
        self._stores: Stores
        self._lives = 0

    def run(self) -> Run:
        """Run to the end. Raises the first violation."""
        try:
            return self.loop.run_until_complete(self._run())
        finally:
            self._tidy()

    async def _run(self) -> Run:
        await self._open()
        callers = await self._callers()
        self.oracle = Oracle(self.place, self.findings, self.clock, [c.account_id for c in callers])
        self.network.called, self.network.took = self.oracle.called, self.oracle.took
        self.pool = Pool(
            replicas=lambda: self.replicas,
            network=self.network,
            findings=self.findings,
            oracle=self.oracle,
            ledger=Ledger(self.oracle, self.findings),
            clock=self.clock,
            callers=callers,
            siege=self.plan.siege,
        )
        self.replicas = [self._replica(place) for place in range(len(self.plan.skews))]
        self.loop.after = self.oracle.step
        await self._trouble(self._work())
        await self._settle()
        await asyncio.gather(*(replica.stop() for replica in self.replicas))
        self.oracle.finish()
        return Run(self.loop.steps, self.loop.trace, self.pool.outcomes, len(self.network.taken))

    async def _work(self) -> None:
        """Let all clients do what they do."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.plan.clients):
                client = Client(self.pool, self._chance(f"client {number}"))
                group.create_task(client.act(self.plan.actions))

    async def _trouble(self, work: Coroutine[Any, Any, None]) -> None:
        """Crash replicas and set the clock while `work` goes on."""
        chance = self._chance("nemesis")
        tasks = [asyncio.create_task(self._crash(chance)) for _ in range(self.plan.crashes)]
        tasks += [asyncio.create_task(self._jump(chance, millis)) for millis in self.plan.jumps]
        try:
            await work
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _crash(self, chance: random.Random) -> None:
        await asyncio.sleep(chance.uniform(0.0, _LATEST_CRASH))
        if chance.random() < 0.3:
            await self._crash_all()
        else:
            self.replicas[chance.randrange(len(self.replicas))].owner.kill()
            await asyncio.sleep(chance.choice(_BACK_AFTER))
            self._restart()

    async def _jump(self, chance: random.Random, millis: int) -> None:
        await asyncio.sleep(chance.uniform(0.0, _LATEST_CRASH))
        self.clock.jump(millis)
        self.oracle.clock_moved()

    async def _crash_all(self) -> None:
        """Lose every process, the store's own included."""
        for replica in self.replicas:
            replica.owner.kill()
        await self.place.crash()
        await self._open()
        self._restart()

    async def _settle(self) -> None:
        """Let nothing more go wrong, ask whatever is unknown, and wait until all is over."""
        self.network.rate = 0.0
        if isinstance(self.trouble, SomeCalls):
            self.trouble.rate = 0.0
        self._restart()
        client = Client(self.pool, self._chance("last"))
        for ask in [ask for ask in self.pool.asks if ask.request_id and ask.answer == UNKNOWN]:
            await client.ask(ask, tries=20)
        await asyncio.sleep(_WAIT)
        rows, sends = self.oracle.rows.now.verifications, self.oracle.rows.now.sends
        ends = [row.expire_time for row in rows.values()]
        ends += [max(send.lease_time, send.due_time) for send in sends.values()]
        await asyncio.sleep(_WAIT + max(0, max(ends, default=0) - self.clock.now()) / SECOND)
        await self._stores.verification.sweep(RETENTION, 1_000)
        self.oracle.step()
        waiting = [s for s in self.oracle.rows.now.sends.values() if s.state is SendState.QUEUED]
        self.findings.hold(3, f"messages still wait: {waiting}", true=not waiting)

    # --------------------------------------------------------------------- processes

    async def _open(self) -> None:
        self._stores = self._breaks(await self.place.open(self.clock, self.bus))

    async def _callers(self) -> list[Caller]:
        """Make two accounts with an application each."""
        entropy = SeededEntropy(4)
        made = [
            await set_up_dev(self._stores.account, PROVIDER, self.clock, entropy, WORLD)
            for _ in range(2)
        ]
        return [
            Caller(m.account_id, m.application_id, m.application.credential.credential_id, _SCOPES)
            for m in made
        ]

    def _restart(self) -> None:
        """Put a new process in the place of each that is dead."""
        for place, replica in enumerate(self.replicas):
            if not replica.alive:
                self.dead.append(replica)
                self.replicas[place] = self._replica(place)

    def _replica(self, place: int) -> Replica:
        self._lives += 1
        replica = Replica(
            f"{place}.{self._lives}",
            self._stores,
            network=self.network,
            clock=SkewedClock(self.clock, self.plan.skews[place]),
            bus=self.bus,
            chance=self._chance(f"replica {self._lives}"),
            trouble=self.trouble,
            write=self.oracle.logged,
        )
        replica.serve()
        return replica

    def _tidy(self) -> None:
        """End whatever still runs, so that nothing of a failed run is left behind."""
        self.loop.forgive()
        for replica in (*self.replicas, *self.dead):
            replica.owner.kill()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        ending = self.loop.create_task(self._end())
        while not ending.done():
            # A run that broke off at its very end has left its own signal to stop behind.
            with contextlib.suppress(RuntimeError):
                self.loop.run_until_complete(ending)
        self.loop.close()

    async def _end(self) -> None:
        left = asyncio.all_tasks(self.loop) - {asyncio.current_task()}
        await asyncio.gather(*left, return_exceptions=True)
        await self.place.close()
