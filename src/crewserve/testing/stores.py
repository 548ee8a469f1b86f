"""What the contracts of stores are written with."""

import asyncio
from collections.abc import Awaitable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from crewserve.domain.execution import Execution
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.domain.query import Place
from crewserve.ports import (
    ApiKeyStore,
    AuditLog,
    EventLog,
    ExecutionReader,
    ExecutionStore,
    FlowReports,
    Held,
    OutputLog,
    WorkerRegistry,
)
from crewserve.ports.retention import RetentionStore
from crewserve.testing.builders import NOW, an_execution

T = TypeVar("T")

POEM = FlowName("poem_flow")
OTHER = FlowName("other_flow")
ANN = WorkerName("ann:1:0:00")
BOB = WorkerName("bob:1:0:00")
LEASE = timedelta(seconds=30)
LATER = NOW + LEASE + timedelta(seconds=1)


class Store(
    ExecutionStore,
    ExecutionReader,
    EventLog,
    OutputLog,
    RetentionStore,
    FlowReports,
    WorkerRegistry,
    ApiKeyStore,
    AuditLog,
    Protocol,
):
    """All sides of one database."""


def done(future: Future[T]) -> Awaitable[T]:
    """Wait for the commit."""
    return asyncio.wrap_future(future)


async def claim(store: Store, owner: WorkerName = ANN, **changes: Any) -> list[Execution]:
    """Claim the oldest one of the poem flow, unless *changes* say otherwise."""
    options: dict[str, Any] = {"flows": [POEM], "limit": 1, "now": NOW}
    options = {**options, "lease_expires_at": NOW + LEASE, **changes}
    return await done(store.claim(owner, **options))


async def add_running(store: Store, **changes: Any) -> Execution:
    """An execution that ANN has just claimed."""
    await done(store.add(an_execution(**changes)))
    [running] = await claim(store)
    return running


def held_by(execution: Execution) -> Held:
    """Its latest attempt."""
    return Held(execution.id, execution.fence)


def place_of(execution: Execution) -> Place:
    """For the page after it."""
    return Place((execution.usage and execution.usage.cost) or 0, execution.id)
