"""What executions used, in a dict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId
from crewserve.domain.query import ExecutionFilter
from crewserve.domain.realm import Realm
from crewserve.domain.usage import NOTHING, Spender, Spent, Usage, UsageGroup, UsageGrouping
from crewserve.storage import memory_search


class MemoryUsage:
    """Part of a store that has transactions."""

    _rows: dict[ExecutionId, Execution]
    _usage: dict[ExecutionId, dict[Spender, Usage]]
    _realm: Realm | None = None

    async def usage(self, execution_id: ExecutionId) -> Sequence[Spent]:
        found = self._usage.get(execution_id, {}) if self._has(execution_id) else {}
        return [Spent(*one) for one in sorted(found.items())]

    def _has(self, execution_id: ExecutionId) -> bool:
        """Whether it exists for those who read here."""
        raise NotImplementedError

    async def usage_by(
        self, found: ExecutionFilter, by: Sequence[UsageGrouping], limit: int
    ) -> Sequence[UsageGroup]:
        groups: dict[tuple[str, ...], tuple[set[ExecutionId], Usage]] = {}
        mine = replace(found, realm=self._realm)
        for row in self._rows_of(found):
            for spender, usage in self._usage.get(row.id, {}).items():
                if memory_search.matches(row, mine) and found.model in (None, spender.model):
                    of = tuple(_value(row, spender, one) for one in by)
                    ids, known = groups.get(of, (set(), NOTHING))
                    groups[of] = (ids | {row.id}, known + usage)
        if not by:
            groups = groups or {(): (set(), NOTHING)}
        found_groups = [UsageGroup(of, len(ids), usage) for of, (ids, usage) in groups.items()]
        return sorted(found_groups, key=lambda one: _rank(one, by))[:limit]

    def _rows_of(self, found: ExecutionFilter) -> Iterable[Execution]:
        raise NotImplementedError

    def _add_usage(self, execution_id: ExecutionId, found: Mapping[Spender, Usage]) -> None:
        known = self._usage.setdefault(execution_id, {})
        for by, usage in found.items():
            known[by] = known.get(by, NOTHING) + usage
        if found:
            total = sum(known.values(), NOTHING)
            self._rows[execution_id] = replace(self._rows[execution_id], usage=total)


def _value(row: Execution, spender: Spender, grouping: UsageGrouping) -> str:
    match grouping:
        case UsageGrouping.FLOW:
            return row.flow
        case UsageGrouping.DAY:
            return row.created_at.date().isoformat()
        case UsageGrouping.MODEL:
            return spender.model
        case UsageGrouping.AGENT:
            return spender.agent


def _rank(group: UsageGroup, by: Sequence[UsageGrouping]) -> tuple[Any, ...]:
    """The newest day first, then what has an unknown cost, then the costliest."""
    days = [value for value, one in zip(group.of, by, strict=True) if one is UsageGrouping.DAY]
    cost = group.usage.cost
    newest = [-date.fromisoformat(day).toordinal() for day in days]
    return (*newest, cost is not None, -(cost or 0), group.of)
