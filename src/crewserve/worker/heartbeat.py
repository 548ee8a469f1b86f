"""Telling everybody that this worker lives, and hearing whether it shall drain."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.ids import WorkerName
from crewserve.domain.worker import HEARTBEAT, Worker
from crewserve.ports import Clock, WorkerRegistry

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Heartbeat:
    """The registry tells with each beat what was asked of this worker."""

    name: WorkerName
    registry: WorkerRegistry
    portrait: Callable[[], Worker]
    """This worker, as it is now."""
    on_drain: Callable[[bool], None]
    """Called when a drain was requested, or taken back."""
    clock: Clock
    _draining: bool = False
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def look(self, name: WorkerName) -> None:
        """Ask at once, if *name* is this worker: something was requested of it."""
        if name == self.name:
            self._wake.set()

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._beat()
            except StorageUnavailable as error:
                log.error("%s; this worker is seen again when it can be", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT.total_seconds()):
                    await self._wake.wait()

    async def _beat(self) -> None:
        draining = await asyncio.wrap_future(self.registry.beat(self.portrait()))
        if draining != self._draining:
            self._draining = draining
            log.info("A drain was %s", "requested" if draining else "taken back")
            self.on_drain(draining)

    def retire(self) -> None:
        """Let everybody see that it drains, because its process is going to end.

        Nobody waits for that: if it cannot be told now, others will find it out.
        """
        self.registry.request_drain(self.name, self.clock())

    def leave(self) -> None:
        """The same, when it has ended. To be called when `keep` has."""
        self.registry.leave(self.name, now=self.clock())
