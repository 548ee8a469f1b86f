"""Letting executions in when their time has come: delayed starts and next attempts."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from crewserve.domain.errors import StorageUnavailable
from crewserve.ports import Clock, ExecutionStore

log = logging.getLogger(__name__)

EVERY: Final = timedelta(seconds=5)
"""What other processes expect is only found by looking."""

EVERYWHERE: Final = timedelta(minutes=1)
"""How often all that is held is looked at, for what an undone transaction left behind."""

PAUSE: Final = timedelta(milliseconds=10)
"""Another process may be about to let in what is due."""

BATCH: Final = 200


@dataclass(slots=True, eq=False)
class Timer:
    """May run in any number of processes: each execution is let in by one of them."""

    store: ExecutionStore
    clock: Clock
    _next: datetime | None = None
    """When it looks again; None while it looks."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _looked_everywhere: datetime | None = None

    def expect(self, at: datetime) -> None:
        """It is recorded that something becomes due then."""
        if self._next is None or at < self._next:
            self._wake.set()

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            self._next = None
            self._next = await self._look()
            pause = max(PAUSE, self._next - self.clock())
            with suppress(TimeoutError):
                async with asyncio.timeout(pause.total_seconds()):
                    await self._wake.wait()

    async def _look(self) -> datetime:
        """When to look again."""
        now, last = self.clock(), self._looked_everywhere
        everywhere = last is None or now - last >= EVERYWHERE
        try:
            due = await asyncio.wrap_future(
                self.store.let_in(limit=BATCH, now=now, everywhere=everywhere)
            )
        except StorageUnavailable as error:
            log.error("%s; the timer tries again", error)
            due = None
        else:
            self._looked_everywhere = now if everywhere else last
        return min(due or now + EVERY, now + EVERY)
