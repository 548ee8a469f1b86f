"""Renewing the leases of everything that really runs in this process."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.execution import Cancel
from crewserve.domain.ids import ExecutionId, WorkerName
from crewserve.ports import Clock, ExecutionStore, Held

log = logging.getLogger(__name__)

RENEWALS_PER_LEASE: Final = 4
RETRY_SECONDS: Final = 1.0
LIVE_SHARE: Final = 0.9
"""Of the lease, counted from before its renewal: what runs is dead before others may start it."""


class _Holder(NamedTuple):
    on_lost: Callable[[], None]
    on_cancel: Callable[[Cancel], None]


@dataclass(slots=True, eq=False)
class LeaseKeeper:
    """Holds leases until they are released; tells who has lost one, or shall stop."""

    store: ExecutionStore
    owner: WorkerName
    lease: timedelta
    live_until: Callable[[float], None]
    clock: Clock
    _held: dict[Held, _Holder] = field(default_factory=dict)
    in_doubt: bool = False
    """The last renewal failed: the watchdog may fire, so nothing new should begin."""
    _look: asyncio.Event = field(default_factory=asyncio.Event)

    def hold(
        self,
        held: Held,
        *,
        on_lost: Callable[[], None] = lambda: None,
        on_cancel: Callable[[Cancel], None] = lambda _: None,
    ) -> None:
        """From now on renew it.

        *on_lost* is called when it belongs to somebody else, *on_cancel* at each renewal while a
        cancel is requested.
        """
        self._held[held] = _Holder(on_lost, on_cancel)

    def look(self, execution_id: ExecutionId) -> None:
        """Renew at once if that execution is held here: a cancel was requested."""
        if any(held.id == execution_id for held in list(self._held)):
            self._look.set()

    def release(self, held: Held) -> None:
        """It ended, or is somebody else's."""
        self._held.pop(held, None)

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            self._look.clear()
            await self._renew()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._look.wait()

    def _pause(self) -> float:
        pause = self.lease.total_seconds() / RENEWALS_PER_LEASE
        return min(pause, RETRY_SECONDS) if self.in_doubt else pause

    async def _renew(self) -> None:
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        asked = dict(self._held)
        try:
            kept = await self._kept(list(asked))
        except StorageUnavailable:
            log.error("Leases could not be renewed; what runs is killed when they end")
            self.in_doubt = True
            return
        self.in_doubt = False
        self.live_until(began + LIVE_SHARE * self.lease.total_seconds())
        for held in asked.keys() - kept.keys():
            if self._held.pop(held, None):
                log.warning("Lost the lease of execution %s", held.id)
                asked[held].on_lost()
        for held, cancel in kept.items():
            if cancel is not None and held in self._held:
                asked[held].on_cancel(cancel)

    async def _kept(self, held: list[Held]) -> Mapping[Held, Cancel | None]:
        if not held:
            return {}
        now = self.clock()
        expiry = now + self.lease
        renewal = self.store.renew(self.owner, held, lease_expires_at=expiry, now=now)
        return await asyncio.wrap_future(renewal)
