"""Template processes are replaced while executions run, and nobody notices."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support import processes
from tests.support.diary import ends
from tests.support.servers import FLOWS, Server, crewserve_serve, running
from tests.support.waiting import eventually

COMMAND = crewserve_serve(f"{FLOWS}/trouble.py:Gated", f"{FLOWS}/durable.py:Linear")
ONCE = Counter({"one": 1, "two": 1, "three": 1})
SETTINGS = {"CREWSERVE_RECYCLE_EXECUTIONS": "3", "CREWSERVE_LEASE_SECONDS": "8"}


@dataclass
class Theatre:
    server: Server
    folder: Path

    def new_file(self) -> Path:
        return self.folder / uuid4().hex

    def templates(self) -> set[int]:
        return {
            pid
            for pid in self.server.processes()
            if processes.parent_of(pid) == self.server.pid
            and "crewserve.crew.template" in processes.command_of(pid)
        }

    def only_template(self) -> int:
        """When it is the only one again."""
        eventually(lambda: len(self.templates()) == 1, what="one template is left")
        return self.templates().pop()

    def begin(self, gate: Path) -> tuple[str, int]:
        """An execution that waits for *gate*, and its process."""
        execution = self.server.execute_soon("gated", gate=str(gate))  # one may just have thawed
        return execution, self.server.child_of(execution)

    def run_linear(self, count: int) -> None:
        """So many at a time, to their end, each step once."""
        diaries = [self.new_file() for _ in range(count)]
        accepted = [self.server.execute("linear", diary=str(it), pause=0.02) for it in diaries]
        self.server.wait_until("completed", *accepted)
        assert [len(self.server.get(one)["attempts"]) for one in accepted] == [1] * count
        assert [ends(diary) for diary in diaries] == [ONCE] * count

    def replaced(self) -> int:
        """How often another template has taken the place of the one before."""
        return self.server.log.count("Executions begin in a new template process now")

    def replace(self) -> None:
        before = self.replaced()
        self.run_linear(3)
        eventually(lambda: self.replaced() > before, what="executions begin in another template")


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    folder = tmp_path_factory.mktemp("recycling")
    with running(COMMAND, folder, variables=SETTINGS) as server:
        yield Theatre(server.wait_for_flows(), folder)
        server.stop()
        assert not server.processes()
        assert "Traceback" not in server.log


def test_all_complete_and_what_runs_long_outlives_the_retirement_of_its_template(
    theatre: Theatre,
) -> None:
    gate, first = theatre.new_file(), theatre.only_template()
    long, child = theatre.begin(gate)
    theatre.run_linear(30)
    eventually(theatre.replaced, what="executions begin in another template")
    assert processes.parent_of(child) == first
    gate.touch()
    ended = theatre.server.wait_for_end(long)
    assert (ended["status"], len(ended["attempts"])) == ("completed", 1)
    eventually(lambda: not processes.is_alive(first), what="the retired template has ended")


def test_what_a_retired_template_runs_dies_with_it_and_nothing_else_does(theatre: Theatre) -> None:
    gate, first = theatre.new_file(), theatre.only_template()
    old, child = theatre.begin(gate)
    theatre.replace()
    new, _ = theatre.begin(gate)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not processes.is_alive(child), what="the old one's process is dead")
    eventually(lambda: theatre.server.get(old)["attempt"] == 2, what="it is tried again")
    gate.touch()
    assert theatre.server.wait_for_end(old)["status"] == "completed"
    ended = theatre.server.wait_for_end(new)
    assert (ended["status"], len(ended["attempts"])) == ("completed", 1)


def test_a_retired_template_keeps_watch_over_the_lease(theatre: Theatre) -> None:
    gate, first = theatre.new_file(), theatre.only_template()
    execution, child = theatre.begin(gate)
    theatre.replace()
    assert processes.parent_of(child) == first
    os.kill(theatre.server.pid, signal.SIGSTOP)
    try:
        eventually(lambda: not processes.is_alive(child), what="the watchdog has killed it")
    finally:
        os.kill(theatre.server.pid, signal.SIGCONT)
    gate.touch()
    assert theatre.server.wait_for_end(execution)["status"] == "completed"
