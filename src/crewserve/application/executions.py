"""What a caller can do with executions, whatever the transport."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crewserve.application.catalog import FlowCatalog
from crewserve.domain.errors import ExecutionNotFound, FieldError, InvalidInputs
from crewserve.domain.execution import Execution
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import ExecutionId, FlowName
from crewserve.domain.status import Status
from crewserve.ports import (
    Announce,
    Clock,
    ExecutionFiles,
    ExecutionQuery,
    ExecutionReader,
    ExecutionStore,
    FlowHost,
    NewId,
)

RESERVED_INPUT = FieldError(
    field="id",
    message="'id' is reserved: it would make the flow read the state of another execution",
    type="reserved",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Executions:
    """Submit, read, list and delete."""

    store: ExecutionStore
    reader: ExecutionReader
    catalog: FlowCatalog
    host: FlowHost
    files: ExecutionFiles
    announce: Announce
    new_id: NewId
    clock: Clock

    async def submit(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> Execution:
        """Check and record durably. When it returns, the execution survives a crash.

        The supervisor is told when the write is asked for: its claim waits in the same queue behind
        it, and often shares the commit.

        Raises: FlowUnavailable, InvalidInputs, NotReady, StorageUnavailable.
        """
        self.catalog.check_available(flow)
        await self._check(flow, inputs)
        now = self.clock()
        execution = Execution(
            id=self.new_id(),
            flow=flow.name,
            status=Status.PENDING,
            inputs=inputs,
            created_at=now,
            available_at=now,
        )
        added = self.store.add(execution)
        self.announce()
        await asyncio.wrap_future(added)
        return execution

    async def _check(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> None:
        """Inputs that a request model accepted are not checked again."""
        if "id" in inputs:
            raise InvalidInputs([RESERVED_INPUT])
        if flow.input_schema is None:
            errors = await self.host.validate(flow, inputs)
            if errors:
                raise InvalidInputs(errors)

    async def get(self, execution_id: ExecutionId, *, flow: FlowName | None = None) -> Execution:
        """Raises: ExecutionNotFound, also when it is of another flow than *flow*."""
        execution = await self.reader.get(execution_id)
        if flow is not None and execution.flow != flow:
            raise ExecutionNotFound(execution_id)
        return execution

    async def page(self, query: ExecutionQuery) -> Sequence[Execution]:
        """Newest first."""
        return await self.reader.page(query)

    async def delete(self, execution_id: ExecutionId) -> None:
        """Forget an execution and its files for ever.

        Raises: ExecutionNotFound, ExecutionActive.
        """
        await asyncio.wrap_future(self.store.delete(execution_id))
        await self.files.remove(execution_id)
