"""Claim, run, record: what moves executions from pending to their end."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

from structlog.contextvars import bind_contextvars

from crewserve.application.catalog import FlowCatalog
from crewserve.application.refused import event_instead, step_instead
from crewserve.domain.errors import StaleExecution, StorageUnavailable, ValueRefused
from crewserve.domain.execution import Event, Execution
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.domain.status import Status
from crewserve.domain.step import Step
from crewserve.ports import (
    Announce,
    Clock,
    ExecutionReader,
    ExecutionStore,
    Expect,
    FlowHost,
    Held,
    Run,
)
from crewserve.worker.deliveries import Attempt, Deliveries, is_due
from crewserve.worker.job import Job, Why
from crewserve.worker.leases import LeaseKeeper, boottime
from crewserve.worker.recorder import Recorder

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 5.0
"""Work is announced; looking for it unasked is only the backstop."""

CLAIM_AT_ONCE: Final = 32

FEW: Final = 4
"""Executions that run whatever else the processors do."""

BUSY_SECONDS: Final = 0.25
"""While the processors are busy one more begins each time: flows that compute for an hour must not
keep others from beginning."""

LOOK_SECONDS: Final = 0.05
"""Until it is asked again whether they are."""

KILL_SECONDS: Final = 5.0
"""At the end of the drain. What takes longer to die is killed with all its surroundings."""

RETRY_SECONDS: Final = 1.0


@dataclass(slots=True, eq=False, kw_only=True)
class Supervisor:
    """Runs as many executions at a time as it has slots and the host has room."""

    name: WorkerName
    store: ExecutionStore
    reader: ExecutionReader
    host: FlowHost
    catalog: FlowCatalog
    flows: Collection[FlowName]
    """Of the catalog, those that it runs."""
    leases: LeaseKeeper
    wake: asyncio.Event
    """Set by whoever makes something claimable, or makes room."""
    announce: Announce
    """For what shall be tried again at once."""
    expect: Expect
    """For what shall be tried again later."""
    slots: int
    has_memory: Callable[[], bool]
    is_busy: Callable[[], bool]
    """Whether the processors have enough to do."""
    lease: timedelta
    drain: timedelta
    """How long running executions may go on after `stop`."""
    clock: Clock
    record_events: Callable[[Held], Recorder]
    on_drained: Callable[[], None] = lambda: None
    """Called when nothing runs any more after `pause`; perhaps again and again."""
    deliveries: Deliveries | None = None
    """Whence it gets what it may claim; without it, it claims whatever there is."""
    _running: dict[Job, Attempt] = field(default_factory=dict)
    _unanswered: bool = False
    """A claim was sent, and what it gave was not started: it may have been committed."""
    _stopping: bool = False
    _paused: bool = False
    _crowded: bool = False
    _last_start: float = 0.0
    """Loop time."""
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep(self) -> None:
        """Claim and run until `stop`; then let what runs finish, and hand back what does not."""
        while not self._stopping:
            self.wake.clear()
            try:
                while await self._claim():
                    pass
            except StorageUnavailable as error:
                log.error("%s; claiming goes on when it does", error)
            if self._paused and not self._running and not self._unanswered:
                self.on_drained()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if self._crowded else POLL_SECONDS):
                    await self.wake.wait()
        await self._drain()

    def stop(self) -> None:
        """Have `keep` come to its end."""
        self._stopping = True
        if self.deliveries is not None:
            self.deliveries.close()
        self.wake.set()

    def pause(self) -> None:
        """Take nothing more, until `resume`; what runs goes on, however long it takes."""
        self._paused = True
        if self.deliveries is not None:
            self.deliveries.close()
        self.wake.set()

    def resume(self) -> None:
        """Take what there is again."""
        self._paused = False
        if self.deliveries is not None and not self._stopping:
            self.deliveries.open()
        self.wake.set()

    def hurry(self) -> None:
        """Do not wait for what runs."""
        self._hurry.set()

    async def _drain(self) -> None:
        seconds = self.drain.total_seconds()
        if self._running and seconds:
            log.info("Waiting up to %g s for %d executions", seconds, len(self._running))
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle_or_hurried()
        self._hurry.set()
        for job in self._running:
            job.kill(Why.HANDED_BACK)
        if self._running and (await asyncio.wait(self._running.values(), timeout=KILL_SECONDS))[1]:
            log.error("%d executions cannot be stopped one by one", len(self._running))
            await self.host.close()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _idle_or_hurried(self) -> None:
        hurry = asyncio.create_task(self._hurry.wait(), name="hurry")
        while self._running and not hurry.done():
            await asyncio.wait([hurry, *self._running.values()], return_when="FIRST_COMPLETED")
            await asyncio.sleep(0)  # whatever ended has left `_running` then
        hurry.cancel()

    async def _claim(self) -> bool:
        """Start what there is room for; returns whether there may be more."""
        if self._unanswered:
            await self._hand_back()
        limit = self._limit()
        if self.deliveries is not None:
            return await self._claim_delivered(self.deliveries, limit)
        begun = await self._begin(limit) if limit else {}
        return limit > 0 and (begun is None or len(begun) == limit)

    async def _claim_delivered(self, deliveries: Deliveries, limit: int) -> bool:
        offered = deliveries.oldest(limit)
        begun = await self._begin(limit, offered) if offered else {}
        if begun is not None:
            deliveries.settle(offered, begun)
        return bool(offered)

    def _limit(self) -> int:
        if self._stopping or self._paused or self.leases.in_doubt:
            return 0
        free = min(self.host.room, self.slots - len(self._running), CLAIM_AT_ONCE)
        return self._uncrowded(free) if free > 0 and self.has_memory() else 0

    async def _begin(
        self, limit: int, only: Collection[ExecutionId] | None = None
    ) -> Mapping[ExecutionId, Attempt] | None:
        """Claim so many, and start them; None when it took too long to start them."""
        deadline, now = self.leases.deadline(), self.clock()
        self._unanswered = True
        claimed = await asyncio.wrap_future(
            self.store.claim(
                self.name,
                flows=self.flows,
                limit=limit,
                lease_expires_at=now + self.lease,
                now=now,
                only=only,
            )
        )
        if claimed and boottime() >= deadline:  # this process was frozen meanwhile
            return None
        self._unanswered = False
        return {execution.id: self._start(execution, deadline) for execution in claimed}

    def _uncrowded(self, limit: int) -> int:
        """How many of *limit* may begin now without slowing down those that run."""
        self._crowded = self.is_busy()
        if not self._crowded:
            return limit
        idle = asyncio.get_running_loop().time() - self._last_start
        return min(limit, max(FEW - len(self._running), int(idle >= BUSY_SECONDS)))

    async def _hand_back(self) -> None:
        """What was claimed in our name and does not run."""
        running = [job.held for job in self._running]
        back = self.store.hand_back(self.name, but=running, now=self.clock())
        handed_back = await asyncio.wrap_future(back)
        for execution in handed_back:
            log.warning("Execution %s was claimed in vain and is handed back", execution.id)
        self._unanswered = False
        self.announce(handed_back)

    def _start(self, execution: Execution, deadline: float) -> Attempt:
        self._last_start = asyncio.get_running_loop().time()
        job = Job(self.catalog.specs[execution.flow], execution, self.host)
        task = asyncio.create_task(self._attempt(job), name=f"attempt-{execution.id}")
        self._running[job] = task
        self.leases.hold(
            job.held,
            deadline=deadline,
            on_lost=lambda: job.kill(Why.LOST),
            on_cancel=job.cancel,
        )
        task.add_done_callback(lambda _: self._ended(job))
        return task

    def _ended(self, job: Job) -> None:
        del self._running[job]
        self.leases.release(job.held)
        self.wake.set()

    async def _attempt(self, job: Job) -> Execution | None:
        bind_contextvars(execution_id=str(job.execution.id), flow=job.execution.flow)
        recorder = self.record_events(job.held)
        event = await job.work(partial(self._prepare, job, recorder))
        if event is None:
            recorder.drop()
            return None
        recorder.close()
        return await self._record(recorder, event)

    async def _prepare(self, job: Job, recorder: Recorder) -> Run:
        """An execution that nobody ran before has no steps yet."""
        execution = job.execution
        steps: Sequence[Step] = ()
        if execution.fence > 1 or execution.parent is not None:
            steps = await self.reader.steps(execution.id)
        keep = partial(self._keep_step, recorder, replaces=bool(steps))
        return Run(job.flow, execution, steps, keep, recorder.note, job.exceed)

    async def _keep_step(self, recorder: Recorder, step: Step, *, replaces: bool) -> None:
        """Its events are in the log before it is recorded. Raises: StaleExecution."""
        held = recorder.held
        recorder.flush()
        try:
            await self._write_step(held, step, replaces=replaces)
        except ValueRefused as refusal:
            log.warning("Step %s of execution %s: %s", step.name, held.id, refusal)
            await self._write_step(held, step_instead(step, refusal), replaces=replaces)

    async def _write_step(self, held: Held, step: Step, *, replaces: bool) -> None:
        while True:
            try:
                await asyncio.wrap_future(self.store.record(held, step, replaces=replaces))
            except StorageUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _record(self, recorder: Recorder, event: Event) -> Execution | None:
        try:
            return await self._write(recorder, event)
        except ValueRefused as refusal:
            log.warning("The end of execution %s: %s", recorder.held.id, refusal)
            return await self._write(recorder, event_instead(event, refusal))

    async def _write(self, recorder: Recorder, event: Event) -> Execution | None:
        """However long the database is away.

        A lost lease or the end of the drain ends the wait; then the reaper decides, and the answer
        is None.
        """
        held = recorder.held
        while True:
            try:
                written = await self._written(recorder, event)
            except StaleExecution:
                log.warning("Execution %s is somebody else's; its outcome is dropped", held.id)
                return None
            except StorageUnavailable:
                if self._hurry.is_set():
                    log.error("The end of execution %s could not be recorded", held.id)
                    return None
                await asyncio.sleep(RETRY_SECONDS)
            else:
                log.info("Execution %s of %s is %s", held.id, written.flow, written.status)
                self._announce_next_attempt(written)
                return written

    async def _written(self, recorder: Recorder, event: Event) -> Execution:
        if not recorder.is_settled:  # the end comes last
            raise StorageUnavailable
        held = recorder.held
        change = self.store.change(held.id, event, now=self.clock(), fence=held.fence)
        return await asyncio.wrap_future(change)

    def _announce_next_attempt(self, execution: Execution) -> None:
        """If it may begin now, whatever delivered it delivers it again."""
        if execution.status is not Status.PENDING:
            return
        if not is_due(execution, self.clock):
            self.expect(execution.available_at)
        elif self.deliveries is None:
            self.announce([execution])
