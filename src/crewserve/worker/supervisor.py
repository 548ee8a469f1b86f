"""Claim, run, record: what moves executions from pending to their end."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from crewserve.application.catalog import FlowCatalog
from crewserve.domain.errors import NotReady, StaleExecution, StorageUnavailable
from crewserve.domain.execution import Event, Execution, HandedBack, Raised, Returned, apply
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import WorkerName
from crewserve.domain.redaction import redact
from crewserve.ports import Clock, ExecutionStore, FlowHost, Held, Outcome
from crewserve.worker.leases import LeaseKeeper

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 5.0
"""Work is announced; looking for it unasked is only the backstop."""

CLAIM_AT_ONCE: Final = 32
RETRY_SECONDS: Final = 1.0


@dataclass(slots=True, eq=False, kw_only=True)
class Supervisor:
    """Runs as many executions at a time as it has slots and the host has room."""

    name: WorkerName
    store: ExecutionStore
    host: FlowHost
    catalog: FlowCatalog
    leases: LeaseKeeper
    wake: asyncio.Event
    """Set by whoever makes something claimable, or makes room."""
    slots: int
    has_memory: Callable[[], bool]
    lease: timedelta
    clock: Clock
    _running: "dict[Held, asyncio.Task[None]]" = field(default_factory=dict)
    _lost: set[Held] = field(default_factory=set)
    _stopping: bool = False

    async def keep(self) -> None:
        """Claim and run until `stop`; then kill what runs and hand it back."""
        while not self._stopping:
            self.wake.clear()
            try:
                while await self._claim():
                    pass
            except StorageUnavailable as error:
                log.error("%s; claiming goes on when it does", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self.wake.wait()
        await asyncio.sleep(0)  # a task that never began could not hand anything back
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def stop(self) -> None:
        """Have `keep` come to its end."""
        self._stopping = True
        self.wake.set()

    async def _claim(self) -> bool:
        """Start what there is room for; returns whether there may be more."""
        limit = min(self.host.room, self.slots - len(self._running), CLAIM_AT_ONCE)
        if limit <= 0 or self._stopping or not self.has_memory():
            return False
        now = self.clock()
        claimed = await asyncio.wrap_future(
            self.store.claim(
                self.name,
                flows=self.catalog.specs.keys(),
                limit=limit,
                lease_expires_at=now + self.lease,
                now=now,
            )
        )
        for execution in claimed:
            self._start(execution)
        return len(claimed) == limit

    def _start(self, execution: Execution) -> None:
        held = Held(execution.id, execution.fence)
        task = asyncio.create_task(self._attempt(held, execution), name=f"run-{execution.id}")
        self._running[held] = task
        self.leases.hold(held, lambda: self._lose(held))
        task.add_done_callback(lambda _: self._ended(held))

    def _lose(self, held: Held) -> None:
        """Its lease is somebody else's: kill it and write nothing."""
        self._lost.add(held)
        if task := self._running.get(held):
            task.cancel()

    def _ended(self, held: Held) -> None:
        self._running.pop(held, None)
        self._lost.discard(held)
        self.leases.release(held)
        self.wake.set()

    async def _attempt(self, held: Held, execution: Execution) -> None:
        flow = self.catalog.specs[execution.flow]
        event: Event
        try:
            event = _event(flow, await self.host.run(flow, execution))
        except NotReady:
            event = HandedBack()
        except asyncio.CancelledError:
            if held in self._lost:
                raise
            await self._record(execution, HandedBack())
            raise
        except Exception:  # a defect of ours must not leave the execution without an end
            log.exception("Execution %s could not be run", execution.id)
            message = "The server failed while it ran this execution; its log says why"
            event = Raised(Failure(code=FailureCode.WORKER_LOST, message=message))
        await self._record(execution, event)

    async def _record(self, execution: Execution, event: Event) -> None:
        """Write it, however long the database is away; a lost lease ends the wait."""
        after = apply(execution, event, now=self.clock())
        while True:
            try:
                await asyncio.wrap_future(self.store.replace(execution, after))
            except StaleExecution:
                log.warning("Execution %s is somebody else's; its outcome is dropped", after.id)
            except StorageUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            else:
                log.info("Execution %s of %s is %s", after.id, after.flow, after.status)
            return


def _event(flow: FlowSpec, outcome: Outcome) -> Event:
    if isinstance(outcome, Failure):
        return Raised(outcome)
    if flow.shape_result is None:
        return Returned(outcome.output)
    try:
        return Returned(flow.shape_result(outcome.state))
    except Exception as error:  # noqa: BLE001  # the result model's validators are user code
        message = f"The final state does not fit the result model: {redact(str(error))}"
        return Raised(Failure(code=FailureCode.INVALID_OUTPUT, message=message))
