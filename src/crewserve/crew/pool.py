"""Which children are free, and when to ask for more."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from crewserve.crew.child_link import ChildLink
from crewserve.crew.template_link import TemplateLink
from crewserve.domain.ids import FlowName, Tenant
from crewserve.domain.realm import DEFAULT_TENANT

IDLE_SECONDS: Final = 30.0
"""A process that could be reused but was not needed for so long is ended."""

REFILL_SECONDS: Final = 0.03
REPLACE_SECONDS: Final = 0.5


@dataclass(slots=True, eq=False)
class Turnover:
    """How many children there ever were."""

    forked: int = 0
    exited: int = 0


@dataclass(slots=True, eq=False)
class Pool:
    """Fresh children that wait for work, and used ones that may take more of the same flow."""

    template: TemplateLink
    spares: int
    """Fresh children to keep ready; as many may be starting at the same time."""
    on_room: Callable[[], None]
    fresh: deque[ChildLink] = field(default_factory=deque)
    used: dict[tuple[Tenant, FlowName], list[ChildLink]] = field(default_factory=dict)
    turnover: Turnover = field(default_factory=Turnover)
    _starting: "set[asyncio.Task[None]]" = field(default_factory=set)
    _refilling: bool = False
    _refills: "set[asyncio.Task[None]]" = field(default_factory=set)

    @property
    def room(self) -> int:
        return len(self.fresh) + sum(len(idle) for idle in self.used.values())

    async def acquire(self, flow: FlowName, tenant: Tenant = DEFAULT_TENANT) -> ChildLink:
        """A child for one run of *flow*: one that *tenant* used before if possible, else fresh."""
        idle = self.used.get((tenant, flow))
        if idle and (child := self._current(idle.pop)):
            return child
        if child := self._current(self.fresh.popleft):
            self._refill_soon()
            return child
        return await self._fork()

    def _current(self, take: Callable[[], ChildLink]) -> ChildLink | None:
        """The next one that sees the machine as it is now; those before it end."""
        with suppress(IndexError):
            while self.template.is_outdated(child := take()):
                child.close()
            return child
        return None

    def release(self, child: ChildLink, flow: FlowName, tenant: Tenant = DEFAULT_TENANT) -> None:
        """It may run *flow* once more, for *tenant* only."""
        if self.is_closed:
            child.close()
            return
        child.idle_since = asyncio.get_running_loop().time()
        self.used.setdefault((tenant, flow), []).append(child)
        self.on_room()

    def _refill_soon(self) -> None:
        """Give the run that begins now the processor first, while others wait for the next."""
        if len(self.fresh) >= self.spares // 2:
            asyncio.get_running_loop().call_later(REFILL_SECONDS, self._start_refill)
        else:
            self._start_refill()

    @property
    def is_closed(self) -> bool:
        return self.spares == 0

    def close(self) -> None:
        """Ask for no more children."""
        self.spares = 0

    def retire(self) -> None:
        """The same, and let those that are idle end. What needs one after all gets a new one."""
        self.close()
        for idle in (self.fresh, *self.used.values()):
            for child in idle:
                child.close()
            idle.clear()

    def _start_refill(self) -> None:
        task = asyncio.create_task(self.refill(), name="pool-refill")
        self._refills.add(task)
        task.add_done_callback(self._refills.discard)

    async def refill(self) -> None:
        """Ask for fresh children.

        While others are being reused they come one by one: a fork costs more than a short flow.
        """
        if self._refilling:
            return
        self._refilling = True
        try:
            while self._wants_more():
                child = await self._fork()
                if self.is_closed:
                    child.close()
                    return
                self.fresh.append(child)
                self.on_room()
        finally:
            self._refilling = False

    def _wants_more(self) -> bool:
        limit = 1 if any(self.used.values()) else self.spares
        return len(self.fresh) < self.spares and len(self._starting) < limit

    async def _fork(self) -> ChildLink:
        child = await self.template.fork()
        self.turnover.forked += 1
        greeting = asyncio.create_task(self._greet(child), name=f"child-{child.number}")
        self._starting.add(greeting)
        return child

    async def _greet(self, child: ChildLink) -> None:
        lives = await child.hello()
        self._starting = {task for task in self._starting if task is not asyncio.current_task()}
        if lives:  # else `forget` replaces it
            await self.refill()

    def forget(self, child: ChildLink) -> None:
        """It has ended. One that ended before it was used is replaced, but not in haste."""
        self.turnover.exited += 1
        if child in self.fresh:
            asyncio.get_running_loop().call_later(REPLACE_SECONDS, self._start_refill)
        for idle in (self.fresh, *self.used.values()):
            if child in idle:
                idle.remove(child)

    def dismiss_idle(self) -> None:
        """End used children that nobody needed lately."""
        oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
        for idle in self.used.values():
            for child in [child for child in idle if child.idle_since < oldest]:
                idle.remove(child)
                child.close()
