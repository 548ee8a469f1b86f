"""The local engine: the supervisor is in this process, so telling it is setting an event."""

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Wakes the supervisor of this process."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def announce(self) -> None:
        """See `Announce`. To be called on the event loop."""
        self.wake.set()
