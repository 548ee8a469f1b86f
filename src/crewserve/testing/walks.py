"""Limits, queues and delays under whatever happens, in whatever order."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from crewserve.domain.errors import CrewserveError
from crewserve.domain.execution import CancelRequested, Event, HandedBack, Raised, Returned
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow_control import NO_CONTROL, FlowControl, WhenFull
from crewserve.domain.ids import ExecutionId, FlowName, QueueName
from crewserve.domain.policy import Policy
from crewserve.domain.query import ExecutionQuery
from crewserve.domain.status import Status
from crewserve.testing.builders import NOW, an_execution
from crewserve.testing.stores import ANN, Store, claim, done

CRASH: Final = Raised(Failure(code=FailureCode.WORKER_LOST, message="gone"))

FLOWS: Final = {
    FlowName("one"): FlowControl(max_running=1),
    FlowName("three"): FlowControl(max_running=3),
    FlowName("newest"): FlowControl(
        max_running=2, when_full=WhenFull.CANCEL_RUNNING, max_pending=6
    ),
    FlowName("few"): FlowControl(max_running=2, max_pending=3),
    FlowName("free"): NO_CONTROL,
}


@dataclass(slots=True)
class Walk:
    """Does anything that may be done, in any order."""

    store: Store
    chance: random.Random
    now: datetime = NOW
    known: list[ExecutionId] = field(default_factory=list)

    async def step(self) -> None:
        """One thing, which may be refused."""
        act: Callable[[], Any] = self.chance.choice(
            [self._add, self._add, self._claim, self._claim, self._change, self._change, self._rest]
        )
        try:
            await act()
        except CrewserveError:
            return

    async def _add(self) -> None:
        flow, control = self.chance.choice(list(FLOWS.items()))
        delay = timedelta(seconds=self.chance.choice([0, 0, 0, 5]))
        execution = an_execution(
            flow=flow,
            turn=control.turn(flow, {}, self.chance.randint(-1, 1)),
            created_at=self.now,
            available_at=self.now + delay,
            policy=Policy(max_attempts=2),
        )
        await done(self.store.add(execution, control=control))
        self.known.append(execution.id)

    async def _claim(self) -> None:
        await claim(self.store, limit=self.chance.randint(1, 3), flows=FLOWS, now=self.now)

    async def _change(self) -> None:
        one = self.chance.choice([*self.known, ExecutionId(NOT_ONE)])
        cancel = CancelRequested(timedelta())
        events: list[Event] = [Returned(1), Returned(1), CRASH, HandedBack(), cancel]
        event = self.chance.choice(events)
        await done(self.store.change(one, event, now=self.now))

    async def _rest(self) -> None:
        queue = QueueName(self.chance.choice(list(FLOWS)))
        choice = self.chance.randrange(6)
        if choice == 0:
            await done(self.store.pause(queue, now=self.now))
        elif choice == 1:
            while await done(self.store.resume(queue, limit=2)):
                pass
        elif choice == 2 and self.known:
            await done(self.store.delete(self.chance.choice(self.known)))
        elif choice == 3:
            await done(self.store.reap(lost=[ANN], limit=2, now=self.now))
        else:
            self.now += timedelta(seconds=2)
            await done(self.store.let_in(limit=10, now=self.now))

    async def check(self) -> None:
        """No more than may, and no place free that somebody waits for."""
        for state in await self.store.queues():
            limit = FLOWS[FlowName(state.name)].max_running
            occupied = state.ready + state.running
            if limit is not None:
                assert occupied <= limit
            if state.held and not state.paused_at:
                assert occupied == limit

    async def end(self) -> None:
        """All that was accepted can still run."""
        for flow in FLOWS:
            while await done(self.store.resume(QueueName(flow), limit=2)):
                pass
        self.now += timedelta(days=1)
        await done(self.store.let_in(limit=1000, now=self.now))
        for one in await self.store.page(ExecutionQuery(statuses=frozenset({Status.RUNNING}))):
            await done(self.store.change(one.id, Returned(1), now=self.now))
        while begun := await claim(self.store, limit=100, flows=FLOWS, now=self.now):
            await self.check()
            for one in begun:
                await done(self.store.change(one.id, Returned(1), now=self.now))
        assert list(await self.store.queues()) == []


NOT_ONE: Final = an_execution().id


class AnyOrderContract:
    """Whatever happens, in whatever order."""

    @pytest.mark.parametrize("seed", range(4))
    async def test_limits_hold_and_nothing_is_forgotten(self, store: Store, seed: int) -> None:
        walk = Walk(store, random.Random(seed))  # noqa: S311  # the same walk each time
        for _ in range(80):
            await walk.step()
            await walk.check()
        await walk.end()
