"""Each execution's own folder on this machine."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from crewserve.domain.ids import ExecutionId


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """`ExecutionFiles` below *root*."""

    root: Path

    async def remove(self, execution_id: ExecutionId) -> None:
        """See `ExecutionFiles`."""
        await asyncio.to_thread(shutil.rmtree, self.root / str(execution_id), ignore_errors=True)
