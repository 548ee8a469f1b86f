"""Looking at the machine seldom, however often it is asked how it is."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Glance:
    """What *look* said last, for *seconds*: a look costs as much as a claim."""

    look: Callable[[], bool]
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _seen: bool = False
    _until: float = float("-inf")

    def __call__(self) -> bool:
        """Look again only when the last look is old."""
        if (now := self.clock()) >= self._until:
            self._seen = self.look()
            self._until = now + self.seconds
        return self._seen
