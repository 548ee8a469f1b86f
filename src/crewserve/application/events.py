"""What a caller can know of what happens in executions, whatever the transport."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from crewserve.application.live import Live, News
from crewserve.application.reading import Position, Reading, Shown
from crewserve.domain.errors import ExecutionNotFound
from crewserve.domain.event_log import ALL, Entry, Wanted
from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId
from crewserve.domain.realm import Realm
from crewserve.ports import EventReader, ExecutionReader

PAGE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Read the log, now and while it grows."""

    log: EventReader
    reader: ExecutionReader
    live: Live

    def within(self, realm: Realm) -> "Events":
        """The same, where nothing else exists."""
        return replace(self, log=self.log.log_within(realm), reader=self.reader.within(realm))

    async def page(
        self, execution_id: ExecutionId, *, after: int, limit: int, wanted: Wanted = ALL
    ) -> Sequence[Entry]:
        """In order; none for an unknown id."""
        return await self.log.events(execution_id, after=after, limit=limit, wanted=wanted)

    async def has_ended(self, execution: Execution, after: int, wanted: Wanted) -> bool:
        """Whether there is and will be nothing more to read."""
        if not execution.status.is_terminal:
            return False
        return not await self.page(execution.id, after=after, limit=1, wanted=wanted)

    async def follow(
        self, execution_id: ExecutionId, position: Position, wanted: Wanted = ALL
    ) -> AsyncGenerator[Sequence[Shown], None]:
        """All that happens after *position*, which moves on, until nothing more can.

        Gives nothing from time to time when nothing happens. Ends early when the server stops.
        """
        reading, over = Reading(position, wanted), False
        with self.live.reading(execution_id) as news:
            while not (reading.has_ended or self.live.is_over):
                page = await self.page(execution_id, after=position.sequence, limit=PAGE)
                yield reading.take(page)
                if over and not page:
                    return
                over = not page and await self._is_over(execution_id)
                if over or len(page) == PAGE:
                    continue
                async for entries in _heard(news, reading):
                    yield entries

    async def _is_over(self, execution_id: ExecutionId) -> bool:
        try:
            return (await self.reader.get(execution_id)).status.is_terminal
        except ExecutionNotFound:
            return True

    async def when_ended(self, execution_id: ExecutionId, *, within: timedelta) -> Execution:
        """The execution once it has ended, or as it is then. Raises: ExecutionNotFound."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within.total_seconds()
        with self.live.reading(execution_id) as news:
            while True:
                execution = await self.reader.get(execution_id)
                left = deadline - loop.time()
                if execution.status.is_terminal or left <= 0 or self.live.is_over:
                    return execution
                while left > 0 and await news.next(left) is not None:
                    left = deadline - loop.time()


async def _heard(news: News, reading: Reading) -> AsyncIterator[Sequence[Shown]]:
    """Until it must look into the log, or has seen the end."""
    while not reading.has_ended and (items := await news.next()) is not None:
        yield reading.take(items)
        if reading.has_gap:
            return
