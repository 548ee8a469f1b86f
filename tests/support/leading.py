"""A leader and its followers, all in the process of the test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from crewserve.application.catalog import FlowCatalog
from crewserve.domain.execution import Execution
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.leader.calls import Writes
from crewserve.leader.following import Following
from crewserve.leader.link import Link
from crewserve.leader.server import Server
from crewserve.ports import Work
from crewserve.testing.fakes import FakeHost

POEM = FlowSpec(name=FlowName("poem_flow"), ref="m:PoemFlow")


@dataclass
class Leader:
    """Notes what it announces."""

    server: Server
    host: FakeHost = field(default_factory=FakeHost)
    announced: list[ExecutionId] = field(default_factory=list)
    cancels: list[ExecutionId] = field(default_factory=list)
    drains: list[WorkerName] = field(default_factory=list)
    expected: list[datetime] = field(default_factory=list)

    def announce(
        self, claimable: Sequence[Execution], recorded: "Future[Any] | None" = None
    ) -> None:
        self.announced += [execution.id for execution in claimable]

    def work(self) -> Work:
        return Work(
            checks=self.host,
            announce=self.announce,
            announce_cancel=self.cancels.append,
            announce_drain=self.drains.append,
            expect=self.expected.append,
        )


@asynccontextmanager
async def leading(path: Path, store: Any) -> AsyncIterator[Leader]:
    """Until the end of the block; then every connection breaks, as when it is killed.

    *store* has all sides of a database.
    """
    server = Server(path, Writes(store, store, store, store), FlowCatalog({POEM.name: POEM}).find)
    leader = Leader(server)
    server.work = leader.work()
    serving = asyncio.create_task(server.keep())
    try:
        yield leader
    finally:
        serving.cancel()
        await asyncio.wait([serving])


@contextmanager
def following(
    path: Path, on_described: Callable[[Any], object] = lambda _: None
) -> Iterator[Following]:
    link = Link(path, on_described)
    link.start()
    try:
        yield Following(link)
    finally:
        link.close()
