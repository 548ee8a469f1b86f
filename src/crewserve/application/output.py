"""What a caller can know of what executions print and log, whatever the transport."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from crewserve.application.live import Live
from crewserve.domain.errors import ExecutionNotFound
from crewserve.domain.ids import ExecutionId
from crewserve.domain.output import ALL_LINES, Line, WantedLines
from crewserve.domain.realm import Realm
from crewserve.ports import ExecutionReader, OutputReader

PAGE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Read the lines, now and while they come."""

    log: OutputReader
    reader: ExecutionReader
    live: Live

    def within(self, realm: Realm) -> "Output":
        """The same, where nothing else exists."""
        return replace(self, log=self.log.output_within(realm), reader=self.reader.within(realm))

    async def page(
        self, execution_id: ExecutionId, *, after: int, limit: int, wanted: WantedLines = ALL_LINES
    ) -> Sequence[Line]:
        """In order; none for an unknown id."""
        return await self.log.lines(execution_id, after=after, limit=limit, wanted=wanted)

    async def all(
        self, execution_id: ExecutionId, after: int, wanted: WantedLines
    ) -> AsyncGenerator[Sequence[Line], None]:
        """Those that are there, page by page."""
        while page := await self.page(execution_id, after=after, limit=PAGE, wanted=wanted):
            after = page[-1].sequence
            yield page

    async def follow(
        self, execution_id: ExecutionId, after: int, wanted: WantedLines
    ) -> AsyncGenerator[Sequence[Line], None]:
        """All that come after that number, until no more can.

        Gives nothing from time to time when nothing comes. Ends early when the server stops.
        """
        over = False
        with self.live.awaiting_output(execution_id) as news:
            while not self.live.is_over:
                page = await self.page(execution_id, after=after, limit=PAGE, wanted=wanted)
                if over and not page:
                    return
                yield page
                if page:
                    after = page[-1].sequence
                    continue
                over = await self._is_over(execution_id)
                if not over:
                    await news.next()

    async def _is_over(self, execution_id: ExecutionId) -> bool:
        try:
            return (await self.reader.get(execution_id)).status.is_terminal
        except ExecutionNotFound:
            return True
