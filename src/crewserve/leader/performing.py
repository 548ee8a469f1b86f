"""Doing what a follower asks of the store, once, although it may have asked a leader before.

That one has ended, or lost the connection, and nobody knows whether its commit came first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from crewserve.domain.errors import ExecutionNotFound, StorageUnavailable
from crewserve.domain.execution import Event, Execution, is_in
from crewserve.domain.flow_control import NO_CONTROL, FlowControl
from crewserve.domain.idempotency import IdempotencyKey
from crewserve.domain.ids import ExecutionId
from crewserve.domain.realm import Realm
from crewserve.domain.step import Step
from crewserve.leader.calls import Checks, Writes
from crewserve.ports import ExecutionStore

SAME_TWICE: Final = frozenset(
    {
        *{"current", "renew", "record", "pause", "resume", "request_drain"},
        *{"add_api_key", "end_api_key", "note_uses", "add_audit_entry"},
    }
)
"""What may simply be done again."""


async def perform(writes: Writes, name: str, arguments: Mapping[str, Any], *, again: bool) -> Any:
    """Raises: StorageUnavailable, when it can only be done once and was asked for before.

    Also for what is no write: a process that has just begun to lead cannot check inputs yet.
    """
    if name in vars(Checks):
        raise StorageUnavailable
    if not again or name in SAME_TWICE:
        return await asyncio.wrap_future(writes.named(name)(**arguments))
    if name not in _AGAIN:
        raise StorageUnavailable
    return await _AGAIN[name](writes.store, **arguments)


async def _add(
    store: ExecutionStore,
    execution: Execution,
    steps: Sequence[Step] = (),
    key: IdempotencyKey | None = None,
    control: FlowControl = NO_CONTROL,
) -> Sequence[ExecutionId]:
    """Nobody else has its id, so one that is there was added by the first try.

    What made way for it ran in the process that has ended, so nobody need be told.
    """
    try:
        await asyncio.wrap_future(store.current(execution.id))
    except ExecutionNotFound:
        return await asyncio.wrap_future(store.add(execution, steps, key, control))
    return []


async def _change(
    store: ExecutionStore,
    execution_id: ExecutionId,
    event: Event,
    *,
    now: datetime,
    fence: int | None = None,
    realm: Realm | None = None,
) -> Execution:
    found = await asyncio.wrap_future(store.current(execution_id))
    if is_in(found, realm) and _changed_at(found, now):
        return found
    changing = store.change(execution_id, event, now=now, fence=fence, realm=realm)
    return await asyncio.wrap_future(changing)


def _changed_at(execution: Execution, now: datetime) -> bool:
    """Each change that a follower asks for leaves its time, to the microsecond."""
    asked = execution.cancel and execution.cancel.requested_at
    return now in (execution.started_at, execution.completed_at, asked)


async def _delete(
    store: ExecutionStore, execution_id: ExecutionId, *, realm: Realm | None = None
) -> None:
    with suppress(ExecutionNotFound):
        await asyncio.wrap_future(store.delete(execution_id, realm=realm))


_AGAIN: Final[Mapping[str, Callable[..., Awaitable[Any]]]] = {
    "add": _add,
    "change": _change,
    "delete": _delete,
}
