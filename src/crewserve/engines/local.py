"""The local engine: the supervisor is in this process, so telling it is setting an event."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from crewserve.domain.execution import Execution


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Wakes the supervisor of this process."""

    wake: asyncio.Event

    def announce(
        self, claimable: Sequence[Execution], recorded: "Future[Any] | None" = None
    ) -> None:
        """See `Announce`. To be called on the event loop.

        Also when they are not *recorded* yet: the claim waits in the same queue behind them, and
        often shares their commit.
        """
        self.wake.set()
