"""What executions print and log, in a dict."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Self, TypeVar

from crewserve.domain.ids import ExecutionId
from crewserve.domain.output import ALL_LINES, Line, WantedLines
from crewserve.domain.realm import Realm
from crewserve.ports import Held

T = TypeVar("T")


class MemoryOutput:
    """`OutputLog`, as part of a store that knows who holds what and has transactions."""

    _lines: dict[ExecutionId, dict[int, Line]]

    def within(self, realm: Realm) -> Self:
        raise NotImplementedError

    def _has(self, execution_id: ExecutionId) -> bool:
        raise NotImplementedError

    def _check_held(self, held: Held) -> None:
        """Raises: StaleExecution."""
        raise NotImplementedError

    def _transaction(self, run: Callable[[], T]) -> Future[T]:
        raise NotImplementedError

    def output_within(self, realm: Realm) -> Self:
        return self.within(realm)

    def append_lines(self, held: Held, lines: Sequence[Line]) -> Future[None]:
        def run() -> None:
            self._check_held(held)
            written = self._lines.setdefault(held.id, {})
            for line in lines:
                written.setdefault(line.sequence, line)

        return self._transaction(run)

    async def lines(
        self, execution_id: ExecutionId, *, after: int, limit: int, wanted: WantedLines = ALL_LINES
    ) -> Sequence[Line]:
        is_here = self._has(execution_id)
        written = sorted(self._lines.get(execution_id, {}).items()) if is_here else []
        found = [line for number, line in written if number > after and wanted.includes(line)]
        return found[:limit]
