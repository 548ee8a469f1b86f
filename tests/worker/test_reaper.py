import os
import subprocess
import sys
from pathlib import Path

import pytest

from crewserve.domain.execution import Execution
from crewserve.domain.ids import WorkerName
from crewserve.domain.status import Status
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import NOW, an_execution
from crewserve.testing.fakes import FrozenClock
from crewserve.worker.identity import is_gone, new_name
from crewserve.worker.reaper import Reaper

GONE = WorkerName("gone:1:0:00")


async def reap(store: MemoryStore) -> tuple[list[WorkerName], int]:
    buried: list[WorkerName] = []
    announced: list[Execution] = []
    await Reaper(
        store=store,
        reader=store,
        is_gone=lambda name: name == GONE,
        bury=buried.append,
        announce=lambda claimable, recorded=None: announced.extend(claimable),
        clock=FrozenClock(),
    ).reap()
    return buried, len(announced)


def held_by(owner: WorkerName, **changes: object) -> dict[str, object]:
    return {"lease_owner": owner, "lease_expires_at": NOW, **changes}


async def test_what_a_dead_process_held_is_ended_at_once_and_its_strays_are_buried() -> None:
    store = MemoryStore()
    dead = an_execution(Status.RUNNING, **held_by(GONE))
    alive = an_execution(Status.RUNNING, **held_by(WorkerName("alive:1:0:00")))
    for execution in (dead, alive):
        store.add(execution).result()
    assert await reap(store) == ([GONE], 0)
    assert (await store.get(dead.id)).status is Status.FAILED
    assert (await store.get(alive.id)).status is Status.RUNNING


async def test_what_may_be_tried_again_is_announced() -> None:
    store = MemoryStore()
    store.add(an_execution(Status.RUNNING, **held_by(GONE, max_attempts=2))).result()
    assert await reap(store) == ([GONE], 1)


def test_this_process_is_not_gone() -> None:
    assert not is_gone(new_name())


def test_a_process_that_ended_is_gone() -> None:
    code = "from crewserve.worker.identity import new_name; print(new_name())"
    name = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert is_gone(WorkerName(name.stdout.strip()))


def test_a_later_process_with_the_same_pid_is_another() -> None:
    host, pid, _, token = new_name().rsplit(":", 3)
    assert pid == str(os.getpid())
    assert is_gone(WorkerName(f"{host}:{pid}:12345@another-boot:{token}"))


def test_nothing_is_known_of_processes_on_other_hosts() -> None:
    assert not is_gone(WorkerName("elsewhere:1:0:00"))


def test_a_process_is_not_gone_because_nobody_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    name = new_name()

    def fail(_: Path) -> str:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "read_text", fail)
    assert not is_gone(name)
