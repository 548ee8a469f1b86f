"""What waits in the queues, and whether anybody may claim it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from crewserve.application.catalog import FlowCatalog
from crewserve.domain.errors import QueueNotFound
from crewserve.domain.flow_control import QueueState
from crewserve.domain.realm import Realm
from crewserve.ports import Clock, ExecutionReader, ExecutionStore

BATCH: Final = 500
"""So many are let in at a time, so that other writes come between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """Those of the served flows, and those that have something in them."""

    store: ExecutionStore
    reader: ExecutionReader
    catalog: FlowCatalog
    clock: Clock

    def within(self, realm: Realm) -> "Queues":
        """The same, where nothing else exists."""
        return replace(self, reader=self.reader.within(realm), catalog=self.catalog.within(realm))

    async def all(self) -> Sequence[QueueState]:
        """By name."""
        found = {state.name: state for state in await self.reader.queues()}
        empty = {name: QueueState(name=name) for name in self.catalog.queues()}
        return [state for _, state in sorted({**empty, **found}.items())]

    async def pause(self, name: str) -> QueueState:
        """What runs goes on; nothing else begins. Raises: QueueNotFound, StorageUnavailable."""
        queue = (await self._find(name)).name
        await asyncio.wrap_future(self.store.pause(queue, now=self.clock()))
        return await self._find(queue)

    async def resume(self, name: str) -> QueueState:
        """Raises: QueueNotFound, StorageUnavailable; then a part of it may be let in already."""
        queue = (await self._find(name)).name
        while await asyncio.wrap_future(self.store.resume(queue, limit=BATCH)):
            pass
        return await self._find(queue)

    async def _find(self, name: str) -> QueueState:
        known = await self.all()
        for state in known:
            if state.name == name:
                return state
        raise QueueNotFound(name, [state.name for state in known])
