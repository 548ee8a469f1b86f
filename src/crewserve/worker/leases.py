"""Renewing the leases of everything that really runs in this process."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
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


def boottime() -> float:
    """Seconds that also pass while the machine sleeps or this process is frozen."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Holder(NamedTuple):
    deadline: float
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
    _failed: bool = False
    """The last renewal did."""
    _told: float = inf
    """What the watchdog knows: `live_until`."""
    _look: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def in_doubt(self) -> bool:
        """The watchdog may fire or has fired, so nothing new should begin."""
        return self._failed or boottime() >= self._told

    def deadline(self) -> float:
        """When that must be dead whose lease is asked for now, in `boottime`."""
        return boottime() + LIVE_SHARE * self.lease.total_seconds()

    def hold(
        self,
        held: Held,
        *,
        deadline: float = inf,
        on_lost: Callable[[], None] = lambda: None,
        on_cancel: Callable[[Cancel], None] = lambda _: None,
    ) -> None:
        """From now on renew it.

        *deadline* is that of its claim, if the watchdog shall keep it. *on_lost* is called when it
        belongs to somebody else, *on_cancel* at each renewal while a cancel is requested.
        """
        self._held[held] = _Holder(deadline, on_lost, on_cancel)
        if deadline < self._told:  # a renewal that began after its claim did not include it
            self._tell(deadline)

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
        return min(pause, RETRY_SECONDS) if self._failed else pause

    async def _renew(self) -> None:
        deadline, asked = self.deadline(), dict(self._held)
        try:
            kept = await self._kept(list(asked))
        except StorageUnavailable:
            log.error("Leases could not be renewed; what runs is killed when they end")
            self._failed = True
            return
        self._failed = False
        for held in asked.keys() - kept.keys():
            if self._held.pop(held, None):
                about = {"execution_id": str(held.id)}
                log.warning("Lost the lease of execution %s", held.id, extra=about)
                asked[held].on_lost()
        for held, cancel in kept.items():
            if holder := self._held.get(held):
                self._held[held] = holder._replace(deadline=deadline)
                if cancel is not None:
                    holder.on_cancel(cancel)
        self._tell(min([deadline, *(one.deadline for one in list(self._held.values()))]))

    def _tell(self, deadline: float) -> None:
        self._told = deadline
        self.live_until(deadline)

    async def _kept(self, held: list[Held]) -> Mapping[Held, Cancel | None]:
        if not held:
            return {}
        now = self.clock()
        expiry = now + self.lease
        renewal = self.store.renew(self.owner, held, lease_expires_at=expiry, now=now)
        return await asyncio.wrap_future(renewal)
