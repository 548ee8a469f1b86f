"""Writing what one attempt prints and logs."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from crewserve.application.live import Live
from crewserve.domain.errors import StaleExecution, StorageUnavailable, ValueRefused
from crewserve.domain.output import MAX_LINES, Line
from crewserve.ports import Held, OutputLog

log = logging.getLogger(__name__)

BATCH: Final = 500
"""Lines in one write, so that other writes come between."""

RETRY_SECONDS: Final = 1.0

OF_ATTEMPT: Final = 1_000_000
"""Numbers that each attempt has for its lines."""

MOST: Final = MAX_LINES + 100
"""The flow's process cuts them, and says so; but it is the flow's."""


@dataclass(slots=True, eq=False)
class OutputRecorder:
    """Numbers lines before they are written, so that writing them twice changes nothing."""

    held: Held
    log: OutputLog
    live: Live
    _noted: int = 0
    _pending: list[Line] = field(default_factory=list)
    _failed: list[Line] = field(default_factory=list)
    _is_lost: bool = False

    @property
    def has_news(self) -> bool:
        """Whether there is anything to be flushed."""
        return bool(self._pending)

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits for the database to come back."""
        return not self._failed

    def add(self, line: Line) -> None:
        if self._noted < MOST and not self._is_lost:
            self._noted += 1
            sequence = self.held.fence * OF_ATTEMPT + self._noted
            self._pending.append(replace(line, sequence=sequence))

    def flush(self) -> None:
        """Ask the log to write what was added."""
        lines, self._pending = self._pending, []
        self._write(lines)

    def drop(self) -> None:
        """The attempt is somebody else's."""
        self._is_lost = True
        self._pending.clear()
        self._failed.clear()

    def _write(self, lines: Sequence[Line]) -> None:
        loop = asyncio.get_running_loop()
        for begin in range(0, len(lines), BATCH):
            batch = lines[begin : begin + BATCH]
            settle = partial(self._settle, batch)
            self.log.append_lines(self.held, batch).add_done_callback(
                partial(loop.call_soon_threadsafe, settle)
            )

    def _settle(self, lines: Sequence[Line], written: "Future[None]") -> None:
        try:
            written.result()
        except StaleExecution:
            self.drop()
        except ValueRefused as refusal:
            log.warning("Lines of execution %s: %s", self.held.id, refusal)
        except StorageUnavailable:
            if not self._failed:
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry)
            self._failed += lines
        else:
            self.live.look_for_output(self.held.id)

    def _retry(self) -> None:
        lines, self._failed = self._failed, []
        if not self._is_lost:
            self._write(lines)
