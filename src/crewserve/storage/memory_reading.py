"""The reading side of a store in dicts."""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import Self

from crewserve.domain.errors import ExecutionNotFound, StepNotRecorded
from crewserve.domain.execution import Execution, is_in
from crewserve.domain.flow_control import QueueState
from crewserve.domain.idempotency import IdempotencyKey, KeyedStart
from crewserve.domain.ids import ExecutionId
from crewserve.domain.query import Bar, Count, ExecutionFilter, ExecutionQuery, Grouping
from crewserve.domain.realm import Realm
from crewserve.domain.step import Attempt, Step
from crewserve.domain.usage import Spender, Usage
from crewserve.ports import Held
from crewserve.storage import memory_search
from crewserve.storage.memory_lanes import MemoryLanes


class MemoryReading:
    """`ExecutionReader`, as part of a store whose dicts stay the same objects."""

    _rows: dict[ExecutionId, Execution]
    _usage: dict[ExecutionId, dict[Spender, Usage]]
    _steps: dict[ExecutionId, dict[int, tuple[int, Step]]]
    _attempts: dict[Held, Attempt]
    _keys: dict[tuple[str, str], KeyedStart]
    _lanes: MemoryLanes
    _realm: Realm | None = None

    def within(self, realm: Realm) -> Self:
        scoped = copy(self)
        scoped._realm = realm  # noqa: SLF001  # its own
        return scoped

    def log_within(self, realm: Realm) -> Self:
        return self.within(realm)

    def _rows_of(self, found: ExecutionFilter) -> Iterable[Execution]:
        """Those that asked its model, if it names one."""
        if found.model is None:
            return self._rows.values()
        return [row for row in self._rows.values() if self._has_asked(row, found.model)]

    def _has_asked(self, row: Execution, model: str) -> bool:
        return any(spender.model == model for spender in self._usage.get(row.id, {}))

    def _has(self, execution_id: ExecutionId) -> bool:
        row = self._rows.get(execution_id)
        return row is not None and is_in(row, self._realm)

    def _find(self, execution_id: ExecutionId, realm: Realm | None = None) -> Execution:
        row = self._rows.get(execution_id)
        if row is None or not is_in(row, realm):
            raise ExecutionNotFound(execution_id)
        return row

    async def get(self, execution_id: ExecutionId) -> Execution:
        return self._find(execution_id, self._realm)

    async def page(self, query: ExecutionQuery) -> Sequence[Execution]:
        return memory_search.page(self._rows_of(query), replace(query, realm=self._realm))

    async def count(self, found: ExecutionFilter, by: Sequence[Grouping]) -> Sequence[Count]:
        return memory_search.count(self._rows_of(found), replace(found, realm=self._realm), by)

    async def bars(self, found: ExecutionFilter, interval: timedelta) -> Sequence[Bar]:
        mine = replace(found, realm=self._realm)
        return memory_search.bars(self._rows_of(found), mine, interval)

    async def steps(self, execution_id: ExecutionId) -> Sequence[Step]:
        found = self._steps.get(execution_id, {}) if self._has(execution_id) else {}
        return [step for _, (_, step) in sorted(found.items())]

    async def step_page(
        self, execution_id: ExecutionId, *, after: int, limit: int
    ) -> Sequence[Step]:
        found = [step for step in await self.steps(execution_id) if step.position > after]
        return [replace(step, state=None) for step in found[:limit]]

    async def step(self, execution_id: ExecutionId, position: int) -> Step:
        for step in await self.steps(execution_id):
            if step.position == position:
                return step
        raise StepNotRecorded(execution_id, position)

    async def attempts(self, execution_id: ExecutionId) -> Sequence[Attempt]:
        is_mine = self._has(execution_id)
        found = [one for held, one in self._attempts.items() if is_mine and held.id == execution_id]
        return sorted(found, key=lambda attempt: attempt.fence)

    async def started_with(self, key: IdempotencyKey) -> KeyedStart | None:
        return self._keys.get((key.scope, key.value))

    async def queues(self) -> Sequence[QueueState]:
        return self._lanes.queues(self._realm)

    async def position(self, execution_id: ExecutionId, *, limit: int) -> int | None:
        return self._lanes.position(execution_id, limit) if self._has(execution_id) else None
