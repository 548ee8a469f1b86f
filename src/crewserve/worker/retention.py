"""Forgetting executions that ended long ago, a little at a time."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.execution import Execution
from crewserve.ports import Clock, ExecutionFiles
from crewserve.ports.retention import RetentionStore
from crewserve.worker.archive import REMEMBERED, Archive

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 60.0
BATCH: Final = REMEMBERED
"""Executions that are archived, and then forgotten, before others are."""

AT_ONCE: Final = 500
"""Events, lines or steps that one write deletes."""

PAGES: Final = 250
"""Of the file that one write gives back: a megabyte."""

REST: Final = 4
"""Times as long as a write took nothing more is deleted, so that others come between."""

LEAST_REST_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What is kept of what has ended; None: all of it."""

    age: timedelta | None = None
    count: int | None = None

    def __bool__(self) -> bool:
        return self.age is not None or self.count is not None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Retention:
    """May run in any number of processes: one of them at a time does something."""

    keeping: Keeping
    store: RetentionStore
    files: ExecutionFiles
    archive: Archive | None
    clock: Clock

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with self.store.alone() as is_alone:
                    if is_alone:
                        await self.sweep()
            except (StorageUnavailable, OSError) as error:
                log.error("%s; what is too old is forgotten later", error)
            await asyncio.sleep(EVERY_SECONDS)

    async def sweep(self) -> int:
        """Once, until nothing is left to do; answers with how many were forgotten."""
        forgotten = 0
        while expired := await self._expired():
            await self._forget(expired)
            forgotten += len(expired)
        if forgotten:
            log.info("Forgot %d executions that ended long ago", forgotten)
            await self._reclaim()
        return forgotten

    async def _expired(self) -> Sequence[Execution]:
        age = self.keeping.age
        return await self.store.expired(
            ended_before=None if age is None else self.clock() - age,
            beyond=self.keeping.count,
            limit=BATCH,
        )

    async def _forget(self, expired: Sequence[Execution]) -> None:
        if self.archive is not None:
            await self.archive.keep(expired, self.clock())
        ids = [execution.id for execution in expired]
        is_more = True
        while is_more:
            began = time.monotonic()
            is_more = await asyncio.wrap_future(self.store.forget(ids, most=AT_ONCE))
            await _rest(since=began)
        for execution_id in ids:
            await self.files.remove(execution_id)

    async def _reclaim(self) -> None:
        is_more = True
        while is_more:
            began = time.monotonic()
            is_more = await asyncio.wrap_future(self.store.reclaim(pages=PAGES))
            await _rest(since=began)


async def _rest(*, since: float) -> None:
    await asyncio.sleep(max(REST * (time.monotonic() - since), LEAST_REST_SECONDS))
