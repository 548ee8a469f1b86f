"""Which workers there are, in a dict."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from crewserve.domain.errors import WorkerNotFound, WorkerStopped
from crewserve.domain.ids import WorkerName
from crewserve.domain.worker import (
    FORGOTTEN_AFTER,
    PRESENT,
    SILENT_AFTER,
    Worker,
    WorkerQuery,
    WorkerState,
)

T = TypeVar("T")


class MemoryWorkers:
    """`WorkerRegistry`, as part of a store that counts leases and has transactions."""

    _workers: dict[WorkerName, Worker]

    def _leases_of(self, name: WorkerName) -> int:
        raise NotImplementedError

    def _transaction(self, run: Callable[[], T]) -> Future[T]:
        raise NotImplementedError

    def beat(self, worker: Worker) -> Future[bool]:
        def run() -> bool:
            known = self._workers.get(worker.name, worker)
            since = known.drain_requested_at
            state = WorkerState.ACTIVE if since is None else WorkerState.DRAINING
            self._workers[worker.name] = replace(worker, drain_requested_at=since, state=state)
            return since is not None

        return self._transaction(run)

    def request_drain(self, name: WorkerName, since: datetime | None) -> Future[None]:
        def run() -> None:
            found = self._find_worker(name)
            if found.state is WorkerState.STOPPED:
                raise WorkerStopped(name)
            state = found.state
            if state in PRESENT:
                state = WorkerState.ACTIVE if since is None else WorkerState.DRAINING
            self._workers[name] = replace(found, drain_requested_at=since, state=state)

        return self._transaction(run)

    def leave(self, name: WorkerName, *, now: datetime) -> Future[None]:
        def run() -> None:
            if found := self._workers.get(name):
                self._workers[name] = replace(found, state=WorkerState.STOPPED, heartbeat_at=now)

        return self._transaction(run)

    def call_roll(self, *, gone: Collection[WorkerName], now: datetime) -> Future[None]:
        def run() -> None:
            for name, one in list(self._workers.items()):
                silent = one.heartbeat_at < now - SILENT_AFTER
                if one.state in PRESENT and (silent or name in gone):
                    self._workers[name] = replace(one, state=WorkerState.LOST)
                elif one.state not in PRESENT and one.heartbeat_at < now - FORGOTTEN_AFTER:
                    del self._workers[name]

        return self._transaction(run)

    async def present(self) -> Collection[WorkerName]:
        return [one.name for one in self._workers.values() if one.state in PRESENT]

    async def workers(self, query: WorkerQuery) -> Sequence[Worker]:
        found = [
            await self.worker(name)
            for name, one in sorted(self._workers.items())
            if (not query.states or one.state in query.states)
            and (query.flow is None or query.flow in one.flows)
            and (query.after is None or name > query.after)
        ]
        return found[: query.limit]

    async def worker(self, name: WorkerName) -> Worker:
        return replace(self._find_worker(name), running=self._leases_of(name))

    def _find_worker(self, name: WorkerName) -> Worker:
        if name not in self._workers:
            raise WorkerNotFound(name)
        return self._workers[name]
