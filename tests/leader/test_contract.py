"""The store of a follower keeps the promises of every store."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from crewserve.leader.calls import calls
from crewserve.ports import ExecutionStore
from crewserve.storage.memory import MemoryStore
from crewserve.testing.contracts import StoreContract
from crewserve.testing.stores import Store
from tests.support.leading import following, leading


class FollowersStore:
    """Writes by way of the leader, reads by itself."""

    def __init__(self, written: ExecutionStore, read: MemoryStore) -> None:
        self.written, self.read = written, read

    def __getattr__(self, name: str) -> Any:
        return getattr(self.written if name in calls() else self.read, name)


class TestFollowersStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        path, store = tmp_path / "socket", MemoryStore()
        async with leading(path, store):
            with following(path) as follower:
                yield cast("Store", FollowersStore(follower.store, store))
