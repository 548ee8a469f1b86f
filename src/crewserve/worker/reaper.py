"""Ending what nobody holds any more: expired leases, and leases of processes that are gone."""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.ids import WorkerName
from crewserve.domain.status import Status
from crewserve.ports import Announce, Clock, ExecutionReader, ExecutionStore

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 3.0
"""What a dead host ran shall go on elsewhere within five seconds after its lease."""
BATCH: Final = 500


@dataclass(frozen=True, slots=True, eq=False)
class Reaper:
    """Runs beside every supervisor; two of them do no harm."""

    store: ExecutionStore
    reader: ExecutionReader
    is_gone: Callable[[WorkerName], bool]
    """Whether that process certainly does not run any more; False when nothing is known."""
    bury: Callable[[WorkerName], None]
    """Kill what a process that is gone left behind."""
    announce: Announce
    clock: Clock

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.reap()
            except (StorageUnavailable, OSError) as error:
                log.error("%s; the reaper tries again", error)
            await asyncio.sleep(EVERY_SECONDS)

    async def reap(self) -> None:
        """Once, until nothing is left to do."""
        lost = [owner for owner in await self.reader.owners() if self.is_gone(owner)]
        for owner in lost:
            await asyncio.to_thread(self.bury, owner)
        while await self._reap_batch(lost) == BATCH:
            pass

    async def _reap_batch(self, lost: Collection[WorkerName]) -> int:
        reaped = await asyncio.wrap_future(
            self.store.reap(lost=lost, limit=BATCH, now=self.clock())
        )
        for execution in reaped:
            about = {"execution_id": str(execution.id), "flow": execution.flow}
            log.warning(
                "Execution %s lost its worker and is %s",
                execution.id,
                execution.status,
                extra=about,
            )
        if again := [one for one in reaped if one.status is Status.PENDING]:
            self.announce(again)
        return len(reaped)
