"""Announcing again what may not have been heard: the backstop of engines that deliver messages."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from crewserve.domain.errors import StorageUnavailable
from crewserve.ports import Announce, Clock, ExecutionStore

log = logging.getLogger(__name__)

PAUSES: Final = tuple(timedelta(seconds=seconds) for seconds in (60, 120, 240, 480, 600))
"""For each execution, ever longer: one that waits in a long queue needs no further message."""

BATCH: Final = 500


@dataclass(slots=True, eq=False)
class Sweeper:
    """May run in any number of processes: each announcement is made by one of them."""

    store: ExecutionStore
    announce: Announce
    clock: Clock
    _lost_since: datetime | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._sweep()
            except StorageUnavailable as error:
                log.error("%s; the sweeper tries again", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSES[0].total_seconds()):
                    await self._wake.wait()

    def make_up_for(self, lost_since: datetime) -> None:
        """Announce at once whatever was not announced after that moment."""
        self._lost_since = min(lost_since, self._lost_since or lost_since)
        self._wake.set()

    async def _sweep(self) -> None:
        lost_since, now = self._lost_since, self.clock()
        pauses: Sequence[timedelta] = PAUSES
        if lost_since is not None:
            pauses = (timedelta(), now - lost_since)
        while await self._sweep_batch(pauses, now) == BATCH:
            pass
        if self._lost_since == lost_since:
            self._lost_since = None

    async def _sweep_batch(self, pauses: Sequence[timedelta], now: datetime) -> int:
        found = await asyncio.wrap_future(self.store.dispatch(pauses=pauses, limit=BATCH, now=now))
        if found:
            log.info("Announcing %d pending executions again", len(found))
            self.announce(found)
        return len(found)
