"""One template process, with all that lives and ends with it."""

import asyncio
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from crewserve.crew.pool import Pool, Turnover
from crewserve.crew.processes import children, kill_strays, resident_bytes
from crewserve.crew.template_link import TemplateLink
from crewserve.crew.validator import Validator
from crewserve.crew.waiting import to_its_end
from crewserve.ports import Census

log = logging.getLogger(__name__)

TIDY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifespan:
    """When a template process shall be replaced. None: for this reason never."""

    executions: int | None = None
    growth_bytes: int | None = None
    """Of its resident memory, since it was ready."""


@dataclass(slots=True, eq=False, kw_only=True)
class Generation:
    """Serves until its template ends, or until it is retired and nobody uses it any more."""

    number: int
    """The first one of its host is 1."""
    owner: str
    template: TemplateLink
    pool: Pool
    validator: Validator
    lifespan: Lifespan
    worn: asyncio.Event = field(default_factory=asyncio.Event)
    """Another one should take its place."""
    has_ended: bool = False
    """Nothing can begin in it any more."""
    _executions: int = 0
    _users: int = 0
    _retired: bool = False
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _first_bytes: int = 0

    @property
    def resident_bytes(self) -> int:
        return resident_bytes(self.template.process.pid)

    @contextmanager
    def used(self) -> Iterator[None]:
        """While this lasts, only a crash ends it."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._end_if_unused()

    def count_execution(self) -> None:
        """Another one begins in it."""
        self._executions += 1
        if self._executions == self.lifespan.executions:
            self.worn.set()

    def retire(self) -> None:
        """Another one has taken its place: let what runs in it end."""
        self._retired = True
        self.pool.retire()
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        if self._retired and self._users == 0:
            self._over.set()

    async def serve(self) -> bool:
        """Returns when nothing runs any more that one of its flows had started.

        False: it ended by itself.
        """
        self._first_bytes = self.resident_bytes
        try:
            async with asyncio.TaskGroup() as group:
                duties = [
                    group.create_task(self._tidy(), name="pool-tidy"),
                    group.create_task(self.validator.keep_running(), name="validator"),
                    group.create_task(self.template.watch(), name="template-watcher"),
                ]
                ends = [
                    group.create_task(self.template.listen(), name="template-listener"),
                    group.create_task(self._over.wait(), name="template-retired"),
                ]
                await self.pool.refill()
                await asyncio.wait(ends, return_when="FIRST_COMPLETED")
                for task in (*duties, *ends):
                    task.cancel()
        finally:
            self.has_ended = True
            self.pool.close()
            await to_its_end(self._end())
        return self._over.is_set()

    async def _end(self) -> None:
        await self.template.close()
        await asyncio.to_thread(kill_strays, self.owner, self.number)
        self.template.bury_all()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            self.pool.dismiss_idle()
            limit = self.lifespan.growth_bytes
            if limit is not None and self.resident_bytes - self._first_bytes > limit:
                self.worn.set()
            try:
                await self.pool.refill()  # in case that a fork failed
            except OSError as error:
                log.error("No process can be prepared: %s", error)


def census(generations: Collection[Generation], busy: int, turnover: Turnover) -> Census:
    """Reads a small file of the kernel's for each process."""
    pids = [pid for one in generations for pid in children(one.template.process.pid)]
    return Census(
        busy=busy,
        idle=sum(one.pool.room for one in generations),
        forked=turnover.forked,
        exited=turnover.exited,
        template_bytes=sum(one.resident_bytes for one in generations),
        largest_child_bytes=max(map(resident_bytes, pids), default=0),
    )
