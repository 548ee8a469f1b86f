"""What executions used, in a dict."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId
from crewserve.domain.usage import NOTHING, Spender, Spent, Usage


class MemoryUsage:
    """Part of a store that has transactions."""

    _rows: dict[ExecutionId, Execution]
    _usage: dict[ExecutionId, dict[Spender, Usage]]

    async def usage(self, execution_id: ExecutionId) -> Sequence[Spent]:
        found = self._usage.get(execution_id, {}) if self._has(execution_id) else {}
        return [Spent(*one) for one in sorted(found.items())]

    def _has(self, execution_id: ExecutionId) -> bool:
        """Whether it exists for those who read here."""
        raise NotImplementedError

    def _add_usage(self, execution_id: ExecutionId, found: Mapping[Spender, Usage]) -> None:
        known = self._usage.setdefault(execution_id, {})
        for by, usage in found.items():
            known[by] = known.get(by, NOTHING) + usage
        if found:
            total = sum(known.values(), NOTHING)
            self._rows[execution_id] = replace(self._rows[execution_id], usage=total)
