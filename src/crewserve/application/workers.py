"""What an operator can do with workers, whatever the transport."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from crewserve.domain.ids import WorkerName
from crewserve.domain.worker import Worker, WorkerQuery
from crewserve.ports import AnnounceDrain, Clock, WorkerRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """List, show, drain."""

    registry: WorkerRegistry
    announce_drain: AnnounceDrain
    clock: Clock

    async def page(self, query: WorkerQuery) -> Sequence[Worker]:
        """By name."""
        return await self.registry.workers(query)

    async def get(self, name: WorkerName) -> Worker:
        """Raises: WorkerNotFound."""
        return await self.registry.worker(name)

    async def drain(self, name: WorkerName) -> Worker:
        """Have it take nothing more, and let all that it runs come to its end.

        Raises: WorkerNotFound, WorkerStopped, StorageUnavailable.
        """
        await asyncio.wrap_future(self.registry.request_drain(name, self.clock()))
        self.announce_drain(name)
        return await self.registry.worker(name)

    async def resume(self, name: WorkerName) -> Worker:
        """Take a drain back. Raises: WorkerNotFound, WorkerStopped, StorageUnavailable."""
        await asyncio.wrap_future(self.registry.request_drain(name, None))
        self.announce_drain(name)
        return await self.registry.worker(name)
