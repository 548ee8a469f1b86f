"""Whether everything that requests need is there."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from crewserve.domain.errors import CrewserveError, ServerNotReady

Check = Callable[[], Awaitable[None]]
"""Raises one of our errors, which says why its part is not ready."""

BOUND_SECONDS: Final = 2.0
"""What a part gets to answer. It is not asked again before it has."""

KEPT_SECONDS: Final = 1.0
"""How long an answer serves everybody who asks."""


@dataclass(slots=True, eq=False)
class Readiness:
    """Asks each part at most once a second, and never a part that still owes an answer."""

    checks: Mapping[str, Check]
    _asked: "dict[str, asyncio.Task[str | None]]" = field(default_factory=dict)
    _reasons: Mapping[str, str | None] = field(default_factory=dict)
    _known_until: float = 0.0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def parts(self) -> Mapping[str, str | None]:
        """By name, why each part is not ready; None when it is."""
        async with self._turn:
            if time.monotonic() >= self._known_until:
                self._reasons = await self._ask()
                self._known_until = time.monotonic() + KEPT_SECONDS
        return self._reasons

    async def check(self) -> list[str]:
        """The names of all parts. Raises: ServerNotReady."""
        reasons = await self.parts()
        if wrong := {name: reason for name, reason in reasons.items() if reason is not None}:
            raise ServerNotReady(wrong)
        return list(reasons)

    async def _ask(self) -> Mapping[str, str | None]:
        for name, check in self.checks.items():
            if name not in self._asked:
                self._asked[name] = asyncio.create_task(_reason(check), name=f"check-{name}")
        await asyncio.wait(self._asked.values(), timeout=BOUND_SECONDS)
        return {name: self._answer(name) for name in self.checks}

    def _answer(self, name: str) -> str | None:
        if not self._asked[name].done():
            return f"It has not answered for {BOUND_SECONDS:g} s"
        return self._asked.pop(name).result()


async def _reason(check: Check) -> str | None:
    try:
        await check()
    except CrewserveError as error:
        return str(error)
    return None
