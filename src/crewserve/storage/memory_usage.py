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
        return [Spent(*one) for one in sorted(self._usage.get(execution_id, {}).items())]

    def _add_usage(self, execution_id: ExecutionId, found: Mapping[Spender, Usage]) -> None:
        known = self._usage.setdefault(execution_id, {})
        for by, usage in found.items():
            known[by] = known.get(by, NOTHING) + usage
        if found:
            total = sum(known.values(), NOTHING)
            self._rows[execution_id] = replace(self._rows[execution_id], usage=total)
