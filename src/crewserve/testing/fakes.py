"""Stand-ins for the parts that need processes or time."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from crewserve.domain.errors import FieldError, NotReady
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import ExecutionId
from crewserve.ports import Finished, Held, Outcome, Run
from crewserve.testing.builders import NOW


@dataclass(slots=True)
class FrozenClock:
    """Stands still until it is told to go on."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self.now += by


@dataclass(slots=True, eq=False)
class FakeHost:
    """A `FlowHost` whose flows finish when the test says so; at once by default."""

    room: int = 100
    outcome: Outcome = field(default_factory=lambda: Finished({}, "done"))
    finish: asyncio.Event = field(default_factory=asyncio.Event)
    errors: Sequence[FieldError] = ()
    running: set[Held] = field(default_factory=set)
    killed: set[Held] = field(default_factory=set)
    stopped: list[Held] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    unready: str | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.finish.set()

    async def run(self, run: Run) -> Outcome:
        """See `FlowHost`."""
        held = Held(run.execution.id, run.execution.fence)
        self.runs.append(run)
        self.running.add(held)
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.killed.add(held)
            raise
        finally:
            self.running.discard(held)
        return self.outcome

    def stop(self, held: Held) -> None:
        """See `FlowHost`."""
        self.stopped.append(held)

    async def validate(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> Sequence[FieldError]:
        """See `FlowHost`."""
        return self.errors

    async def unknown_fields(self, flow: FlowSpec, names: Collection[str]) -> Sequence[FieldError]:
        """See `FlowHost`."""
        return self.errors

    async def check_ready(self) -> None:
        """See `FlowHost`."""
        if self.unready is not None:
            raise NotReady(self.unready, retry_after=timedelta(seconds=2))

    def live_until(self, boottime: float) -> None:
        """See `FlowHost`."""
        self.deadlines.append(boottime)

    async def close(self) -> None:
        """See `FlowHost`."""
        self.closed.set()


@dataclass(slots=True)
class FakeFiles:
    """`ExecutionFiles` that only remembers."""

    removed: list[ExecutionId] = field(default_factory=list)

    async def remove(self, execution_id: ExecutionId) -> None:
        """See `ExecutionFiles`."""
        self.removed.append(execution_id)


def waiting_host() -> FakeHost:
    """One whose flows do not finish before ``finish`` is set."""
    host = FakeHost()
    host.finish.clear()
    return host
