"""What Prometheus is shown."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.flow_control import QueueState
from crewserve.observability.metrics import queue_families
from crewserve.observability.shelf import Shelf
from crewserve.ports import Clock

KEPT_SECONDS: Final = 5.0
"""How long an answer of the database serves all who ask."""

PUT_SECONDS: Final = 5.0
"""How much later another process may know what is counted here."""


@dataclass(slots=True, eq=False, kw_only=True)
class Exposition:
    """What the processes of this host count, and what waits in the queues of all hosts."""

    registry: CollectorRegistry
    shelf: Shelf
    queues: Callable[[], Awaitable[Sequence[QueueState]]]
    known_queues: Callable[[], Collection[str]]
    clock: Clock
    _waiting: Sequence[QueueState] | None = None
    """None: the database does not answer. Then nothing is said of queues."""
    _known_until: float = 0.0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def text(self) -> bytes:
        """In the text format."""
        async with self._turn:
            await self._look()
            await self._put()
        waiting: Iterable[Metric] = ()
        if self._waiting is not None:
            waiting = queue_families(self._waiting, self.known_queues(), self.clock())
        return await asyncio.to_thread(self._written, waiting)

    def _written(self, waiting: Iterable[Metric]) -> bytes:
        return generate_latest(_Shown([*self.shelf.add_up(), *waiting]))

    async def keep(self) -> None:
        """Tell the other processes what is counted here, until cancelled."""
        self.shelf.clear()
        while True:
            async with self._turn:
                await self._put()
            await asyncio.sleep(PUT_SECONDS)

    async def _put(self) -> None:
        """One after the other, so that what is put is never older than what was."""
        counted = list(self.registry.collect())
        await asyncio.to_thread(self.shelf.put, counted)

    async def _look(self) -> None:
        if time.monotonic() < self._known_until:
            return
        try:
            self._waiting = await self.queues()
        except StorageUnavailable:
            self._waiting = None
        self._known_until = time.monotonic() + KEPT_SECONDS


@dataclass(frozen=True, slots=True)
class _Shown(Collector):
    families: Iterable[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


class OnLoop(Collector):
    """Shows a registry to threads, although it may only be read on the event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._loop = asyncio.get_running_loop()

    def collect(self) -> Iterable[Metric]:
        return asyncio.run_coroutine_threadsafe(self._collect(), self._loop).result(KEPT_SECONDS)

    async def _collect(self) -> Iterable[Metric]:
        return list(self._registry.collect())
