"""Executions that a broker delivered here, from delivery to acknowledgement."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId
from crewserve.domain.status import Status
from crewserve.ports import Clock

log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 5.0
"""How long a delivery waits for room here before it goes back, to a host that may have some."""

Attempt = asyncio.Task[Execution | None]
"""What came of it; None when that is for somebody else to write."""


@dataclass(slots=True, eq=False)
class Deliveries:
    """Offers what was delivered to the supervisor, and tells what became of it."""

    wake: asyncio.Event
    """Tells the supervisor that something was delivered."""
    clock: Clock
    _waiting: dict[ExecutionId, "asyncio.Future[Attempt | bool]"] = field(default_factory=dict)
    """The answer is an attempt, or already what `deliver` returns."""
    _closed: bool = False

    async def deliver(self, execution_id: ExecutionId) -> bool:
        """Have it run, and wait until nothing of it runs here any more.

        True: its message has done its work, which is also so when somebody else runs it, or
        nobody may. False: it shall be delivered again, here or elsewhere.
        """
        if self._closed:
            return False
        if execution_id in self._waiting:
            return True  # delivered twice
        answer = self._waiting[execution_id] = asyncio.get_running_loop().create_future()
        self.wake.set()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                attempt = await answer
        except TimeoutError:
            self._waiting.pop(execution_id, None)
            return False
        if isinstance(attempt, bool):
            if attempt:
                log.info("Execution %s was delivered, but it cannot be begun now", execution_id)
            return attempt
        written = await asyncio.shield(attempt)
        return written is None or not is_due(written, self.clock)

    def oldest(self, limit: int) -> list[ExecutionId]:
        """Those that have waited longest."""
        return list(islice(self._waiting, limit))

    def settle(
        self, offered: Collection[ExecutionId], begun: Mapping[ExecutionId, Attempt]
    ) -> None:
        """Those of *offered* that have not begun cannot be claimed: their messages are old."""
        for execution_id in offered:
            answer = self._waiting.pop(execution_id, None)
            if answer is not None and not answer.done():
                answer.set_result(begun.get(execution_id, True))

    def open(self) -> None:
        """Take what is delivered again, after `close`."""
        self._closed = False

    def close(self) -> None:
        """Give back what waits, and whatever comes before `open`."""
        self._closed = True
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(False)
        self._waiting.clear()


def is_due(execution: Execution, clock: Clock) -> bool:
    """Whether its next attempt may begin now."""
    return execution.status is Status.PENDING and execution.available_at <= clock()
