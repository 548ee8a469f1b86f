"""What a process that follows has in place of a store and a host of flows, until it leads."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from crewserve.domain.errors import FieldError, NotReady, StorageUnavailable, ValueRefused
from crewserve.domain.execution import Execution
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import ExecutionId, WorkerName
from crewserve.leader.calls import Writes, calls
from crewserve.leader.link import Link
from crewserve.leader.performing import perform
from crewserve.leader.wire import to_json
from crewserve.ports import (
    ApiKeyReader,
    ApiKeyStore,
    AuditLog,
    ExecutionStore,
    Work,
    WorkerRegistry,
)


@dataclass(slots=True, eq=False)
class Following:
    """`Work` and `ExecutionStore` by way of the leader; afterwards, by what it is given."""

    link: Link
    _writes: Writes | None = None
    _work: Work | None = None

    @property
    def store(self) -> ExecutionStore:
        """Each of its methods is performed by the leader."""
        return cast(ExecutionStore, _LeadersStore(self))

    def workers(self, reading: object) -> WorkerRegistry:
        """*reading*, and drains are requested of the leader."""
        return cast(WorkerRegistry, _ReadHere(self, reading))

    def api_keys(self, reading: ApiKeyReader) -> ApiKeyStore:
        """*reading*, and the leader writes."""
        return cast(ApiKeyStore, _ReadHere(self, reading))

    def audit(self, reading: object) -> AuditLog:
        """The same."""
        return cast(AuditLog, _ReadHere(self, reading))

    @property
    def work(self) -> Work:
        return Work(
            checks=self,
            announce=self._announce,
            announce_cancel=self._announce_cancel,
            announce_drain=self._announce_drain,
            expect=self._expect,
        )

    def lead(self, writes: Writes) -> None:
        """Write through *writes* from now on, also what no leader has answered."""
        self._writes = writes
        self.link.lead(partial(perform, writes))

    def run_here(self, work: Work) -> None:
        """Executions run in this process from now on."""
        self._work = work

    def ask_to_write(self, name: str, *values: Any, **named: Any) -> "Future[Any]":
        if self._writes is not None:
            return self._writes.named(name)(*values, **named)
        return self._ask(name, *values, **named)

    def _ask(self, name: str, *values: Any, **named: Any) -> "Future[Any]":
        try:
            arguments = to_json(calls()[name].dump(*values, **named))
        except (TypeError, ValueError, RecursionError) as error:
            refused: Future[Any] = Future()
            refused.set_exception(ValueRefused(str(error)))
            return refused
        return self.link.ask(name, arguments)

    async def validate(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> Sequence[FieldError]:
        """See `ChecksInputs`."""
        if self._work is not None:
            return await self._work.checks.validate(flow, inputs)
        found: Sequence[FieldError] = await self._checked("validate", flow.name, inputs)
        return found

    async def unknown_fields(self, flow: FlowSpec, names: Collection[str]) -> Sequence[FieldError]:
        """See `ChecksInputs`."""
        if self._work is not None:
            return await self._work.checks.unknown_fields(flow, names)
        found: Sequence[FieldError] = await self._checked("unknown_fields", flow.name, names)
        return found

    async def check_ready(self) -> None:
        """See `ChecksInputs`."""
        if self._work is not None:
            await self._work.checks.check_ready()
        else:
            await self._checked("check_ready")

    async def _checked(self, name: str, *values: Any) -> Any:
        try:
            return await asyncio.wrap_future(self._ask(name, *values))
        except StorageUnavailable as error:
            reason = "The process that loads the flows does not answer"
            raise NotReady(reason, retry_after=timedelta(seconds=2)) from error

    def _announce(
        self, claimable: Sequence[Execution], recorded: "Future[Any] | None" = None
    ) -> None:
        """The leader hears of what it adds itself, and so does whoever shares its database."""
        if self._work is not None:
            self._work.announce(claimable, recorded)

    def _announce_cancel(self, execution_id: ExecutionId) -> None:
        """As above."""
        if self._work is not None:
            self._work.announce_cancel(execution_id)

    def _announce_drain(self, name: WorkerName) -> None:
        """As above."""
        if self._work is not None:
            self._work.announce_drain(name)

    def _expect(self, at: datetime) -> None:
        """As above."""
        if self._work is not None:
            self._work.expect(at)


@dataclass(frozen=True, slots=True)
class _LeadersStore:
    following: Following

    def __getattr__(self, name: str) -> Any:
        if name not in calls():
            raise AttributeError(name)
        return partial(self.following.ask_to_write, name)


@dataclass(frozen=True, slots=True)
class _ReadHere:
    """A port whose writes are performed by the leader."""

    following: Following
    reading: object

    def __getattr__(self, name: str) -> Any:
        if name in calls():
            return partial(self.following.ask_to_write, name)
        return getattr(self.reading, name)
