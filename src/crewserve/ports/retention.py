"""Forgetting what has ended long ago."""

from collections.abc import Collection, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId


class RetentionStore(Protocol):
    """Futures are those of `ExecutionStore`."""

    def alone(self) -> AbstractAsyncContextManager[bool]:
        """Whether nobody else who shares the database is within; until it is left, nobody will."""
        ...

    async def expired(
        self, *, ended_before: datetime | None, beyond: int | None, limit: int
    ) -> Sequence[Execution]:
        """The oldest of those that ended before that time, or that so many newer ones have."""
        ...

    def forget(self, ids: Collection[ExecutionId], *, most: int) -> Future[bool]:
        """Delete what belongs to these, of each kind so much; when nothing is left, they as well.

        Whether there is more to delete is the answer. What has not ended stays.
        """
        ...

    def reclaim(self, *, pages: int) -> Future[bool]:
        """Give so many unused pages of a file back; whether there are more is the answer."""
        ...
