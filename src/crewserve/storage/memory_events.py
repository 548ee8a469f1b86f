"""What happened in each execution, in a dict."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

from crewserve.domain.event_log import ALL, Entry, Wanted, spent
from crewserve.domain.ids import ExecutionId
from crewserve.domain.usage import Spender, Usage
from crewserve.ports import Held
from crewserve.storage.types import encode_json

T = TypeVar("T")


class MemoryEvents:
    """`EventLog`, as part of a store that knows who holds what and has transactions."""

    _entries: dict[ExecutionId, list[Entry]]

    def _has(self, execution_id: ExecutionId) -> bool:
        """Whether it exists for those who read here."""
        raise NotImplementedError

    def _check_held(self, held: Held) -> None:
        """Raises: StaleExecution."""
        raise NotImplementedError

    def _transaction(self, run: Callable[[], T]) -> Future[T]:
        raise NotImplementedError

    def _add_usage(self, execution_id: ExecutionId, found: Mapping[Spender, Usage]) -> None:
        raise NotImplementedError

    def append(
        self,
        held: Held,
        entries: Sequence[Entry],
        *,
        again: bool = False,
        numbered: bool = True,
    ) -> Future[int | None]:
        def run() -> int | None:
            self._check_held(held)
            encode_json([entry.data for entry in entries])
            known = {entry.id for entry in self._entries[held.id]} if again else ()
            new = [entry for entry in entries if entry.id is None or entry.id not in known]
            self._log(held.id, *new)
            self._add_usage(held.id, spent(new))
            return len(self._entries[held.id]) if numbered else None

        return self._transaction(run)

    async def events(
        self, execution_id: ExecutionId, *, after: int, limit: int, wanted: Wanted = ALL
    ) -> Sequence[Entry]:
        found = self._entries.get(execution_id, [])[after:] if self._has(execution_id) else []
        return [entry for entry in found if wanted.includes(entry)][:limit]

    def _log(self, execution_id: ExecutionId, *entries: Entry) -> None:
        written = self._entries.setdefault(execution_id, [])
        for entry in entries:
            written.append(replace(entry, sequence=len(written) + 1, used=None))
