"""Forgetting what has ended long ago, in a dict."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar

from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId

T = TypeVar("T")


class MemoryRetention:
    """`RetentionStore`, as part of a store that has transactions."""

    _rows: dict[ExecutionId, Execution]

    def _remove(self, execution_id: ExecutionId) -> None:
        raise NotImplementedError

    def _transaction(self, run: Callable[[], T]) -> Future[T]:
        raise NotImplementedError

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        yield True

    async def expired(
        self, *, ended_before: datetime | None, beyond: int | None, limit: int
    ) -> Sequence[Execution]:
        ended = sorted(
            (row for row in self._rows.values() if row.completed_at), key=lambda row: row.id
        )
        extra = 0 if beyond is None else max(0, len(ended) - beyond)
        return [
            row
            for place, row in enumerate(ended)
            if place < extra
            or (ended_before and row.completed_at and row.completed_at < ended_before)
        ][:limit]

    def forget(
        self, ids: Collection[ExecutionId], *, most: int
    ) -> Future[bool]:  # nothing blocks here
        def run() -> bool:
            for execution_id in ids:
                if execution_id in self._rows and self._rows[execution_id].status.is_terminal:
                    self._remove(execution_id)
            return False

        return self._transaction(run)

    def reclaim(self, *, pages: int) -> Future[bool]:  # there is no file
        return self._transaction(lambda: False)
