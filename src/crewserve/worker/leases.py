"""Renewing the leases of everything that really runs in this process."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.ids import WorkerName
from crewserve.ports import Clock, ExecutionStore, Held

log = logging.getLogger(__name__)

RENEWALS_PER_LEASE: Final = 4
LIVE_SHARE: Final = 0.9
"""Of the lease, counted from before its renewal: what runs is dead before others may start it."""


@dataclass(slots=True, eq=False)
class LeaseKeeper:
    """Holds leases until they are released, and tells who has lost one."""

    store: ExecutionStore
    owner: WorkerName
    lease: timedelta
    live_until: Callable[[float], None]
    clock: Clock
    _held: dict[Held, Callable[[], None]] = field(default_factory=dict)

    def hold(self, held: Held, on_lost: Callable[[], None]) -> None:
        """From now on renew it; call *on_lost* when it belongs to somebody else."""
        self._held[held] = on_lost

    def release(self, held: Held) -> None:
        """It ended, or is somebody else's."""
        self._held.pop(held, None)

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            await self._renew()
            await asyncio.sleep(self.lease.total_seconds() / RENEWALS_PER_LEASE)

    async def _renew(self) -> None:
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        asked = dict(self._held)
        try:
            kept = await self._kept(list(asked))
        except StorageUnavailable:
            log.error("Leases could not be renewed; what runs is killed when they end")
            return
        self.live_until(began + LIVE_SHARE * self.lease.total_seconds())
        for held in asked.keys() - kept:
            if self._held.pop(held, None):
                log.warning("Lost the lease of execution %s", held.id)
                asked[held]()

    async def _kept(self, held: list[Held]) -> set[Held]:
        if not held:
            return set()
        now = self.clock()
        expiry = now + self.lease
        renewal = self.store.renew(self.owner, held, lease_expires_at=expiry, now=now)
        kept: Mapping[Held, bool] = await asyncio.wrap_future(renewal)
        return set(kept)
