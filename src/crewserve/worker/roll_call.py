"""Noting which workers are lost: nobody else can say it for them."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.ids import WorkerName
from crewserve.domain.worker import HEARTBEAT
from crewserve.ports import Clock, WorkerRegistry

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class RollCall:
    """May be called by any number of processes."""

    registry: WorkerRegistry
    is_gone: Callable[[WorkerName], bool]
    """Whether that process certainly does not run any more; False when nothing is known."""
    clock: Clock

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.call()
            except StorageUnavailable as error:
                log.error("%s; workers that are lost are noted later", error)
            await asyncio.sleep(HEARTBEAT.total_seconds())

    async def call(self) -> None:
        """Once."""
        gone = [name for name in await self.registry.present() if self.is_gone(name)]
        await asyncio.wrap_future(self.registry.call_roll(gone=gone, now=self.clock()))
