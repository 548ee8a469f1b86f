"""What CrewAI opens for every flow and few flows use: opened at its first use.

Every ``Flow()`` connects to LanceDB for a memory of its own, and every fork starts LanceDB's event
loop again. Together that is a third of what a short flow costs in a fresh process.
"""

from pathlib import Path
from typing import Any

from crewai.memory.storage.factory import set_memory_storage_factory
from crewai.memory.storage.lancedb_storage import LanceDBStorage
from lancedb import background_loop

from crewserve.crew.environment import storage_folder


def install() -> None:
    """To be called once, in the template process."""
    set_memory_storage_factory(_storage)
    background_loop.LOOP.__class__ = _LoopWhenUsed


def _storage(spec: str) -> Any:
    """None leaves the choice to CrewAI (crewai/memory/storage/factory.py)."""
    return _DeferredLanceDB() if spec == "lancedb" else None


class _DeferredLanceDB:
    """CrewAI's default storage of memories, in the folder that was set when it was asked for."""

    def __init__(self) -> None:
        folder = storage_folder()
        self._path = Path(folder) / "memory" if folder else None

    def __getattr__(self, name: str) -> Any:
        if not hasattr(LanceDBStorage, name):  # asking whether it has something opens nothing
            raise AttributeError(name)
        if "_opened" not in self.__dict__:
            self._opened = LanceDBStorage(self._path)
        return getattr(self._opened, name)


class _LoopWhenUsed(background_loop.BackgroundEventLoop):
    """LanceDB's loop, whose thread starts when something is to run on it.

    LanceDB calls ``_start`` in every forked process, where the thread of before is gone.
    """

    def _start(self) -> None:
        self.__dict__.pop("loop", None)

    def __getattr__(self, name: str) -> Any:
        if name != "loop":
            raise AttributeError(name)
        super()._start()  # type: ignore[no-untyped-call]
        return self.__dict__[name]
