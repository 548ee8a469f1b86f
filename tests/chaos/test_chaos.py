"""Kill anything at any time: every accepted execution ends truthfully, no finished step runs again.

``CREWSERVE_CHAOS_ROUNDS`` sets the number of rounds for each database (default 6),
``CREWSERVE_CHAOS_SEED`` repeats a run. Every round logs what it did.
"""

import logging
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.postgres import PostgresServer
from tests.support import postgres, processes
from tests.support.durable import STEPS, TARGETS, check_execution
from tests.support.servers import TERMINAL, Server, crewserve_serve, running
from tests.support.waiting import eventually

log = logging.getLogger(__name__)

COMMAND = crewserve_serve(*TARGETS)
LEASE: Final = 2.0
AT_A_TIME: Final = 6
ROUNDS: Final = int(os.environ.get("CREWSERVE_CHAOS_ROUNDS", "6"))
SEED: Final = int(os.environ.get("CREWSERVE_CHAOS_SEED", random.randrange(10**6)))

pytestmark = pytest.mark.timeout(120 + 60 * ROUNDS)


@dataclass
class Theatre:
    """A server that is killed and started again, on one data folder."""

    folder: Path
    database: PostgresServer | None
    stack: ExitStack
    dice: random.Random
    seen: dict[tuple[str, int], tuple[Any, ...]] = field(default_factory=dict)
    """Every recorded step that was seen, by execution and position."""
    _running: ExitStack = field(default_factory=ExitStack)
    _server: Server | None = None

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    def start(self) -> None:
        variables = {"CREWSERVE_LEASE_SECONDS": str(LEASE), "CREWSERVE_DRAIN_SECONDS": "0"}
        if self.database is not None:
            variables["CREWSERVE_DATABASE_URL"] = self.database.url
        self._running = self.stack.enter_context(ExitStack())
        self._server = self._running.enter_context(
            running(COMMAND, self.folder, variables=variables)
        )

    def restart(self) -> None:
        self._running.close()
        self.start()
        self.server.wait_for_flows()

    def submit(self) -> dict[str, tuple[str, Path]]:
        """Each execution's flow and diary, by its id."""
        accepted = {}
        for _ in range(AT_A_TIME):
            path = self.dice.choice(sorted(STEPS))
            diary = self.folder / f"{self.dice.getrandbits(64):x}"
            options = {"max_attempts": "50", "backoff_seconds": "0"}
            inputs = {"diary": str(diary), "pause": self.dice.uniform(0, 0.3)}
            accepted[self.server.execute_soon(path, options, **inputs)] = (path, diary)
        return accepted

    def kill_server(self) -> None:
        self.server.kill()
        self.restart()

    def stop_server(self) -> None:
        self.server.stop()
        self.restart()

    def freeze_server(self) -> None:
        self._freeze(self.server.pid)

    def kill_template(self) -> None:
        self._kill(self.server.template())

    def freeze_template(self) -> None:
        if template := self.server.template():
            self._freeze(template)

    def kill_child(self) -> None:
        self._kill(self._child())

    def freeze_child(self) -> None:
        if child := self._child():
            self._freeze(child)

    def crash_database(self) -> None:
        assert self.database is not None
        self.database.stop_immediate()
        time.sleep(self.dice.uniform(0, LEASE))
        self.database.start()

    def _child(self) -> int | None:
        working = [
            pid
            for pid in self.server.processes()
            if (folder := processes.folder_of(pid)) and folder.name == "files"
        ]
        return self.dice.choice(sorted(working)) if working else None

    def _kill(self, pid: int | None) -> None:
        if pid is not None and processes.is_alive(pid):
            os.kill(pid, signal.SIGKILL)

    def _freeze(self, pid: int) -> None:
        """For longer than the lease, or shorter."""
        try:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self.dice.uniform(0, 2 * LEASE))
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # it was killed meanwhile, as it should be

    def acts(self) -> list[Callable[[], None]]:
        acts = [self.kill_server, self.stop_server, self.freeze_server, self.kill_template]
        acts += [self.freeze_template, self.kill_child, self.kill_child, self.freeze_child]
        return [*acts, self.crash_database] if self.database else acts


@pytest.fixture(params=["sqlite", "postgresql"])
def theatre(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Theatre]:
    with ExitStack() as stack:
        on_postgres = request.param == "postgresql"
        database = stack.enter_context(postgres.private_server()) if on_postgres else None
        found = Theatre(tmp_path, database, stack, random.Random(SEED))
        found.start()
        found.server.wait_for_flows()
        yield found


def test_nothing_is_lost_or_done_twice(theatre: Theatre) -> None:
    everything: set[str] = set()
    for number in range(ROUNDS):
        accepted = theatre.submit()
        everything |= accepted.keys()
        all_ended(theatre, accepted)
        delay, act = theatre.dice.uniform(0, 1.2), theatre.dice.choice(theatre.acts())
        time.sleep(delay)
        all_ended(theatre, accepted)  # what is recorded just before
        began = time.monotonic()
        act()
        eventually(partial(all_ended, theatre, accepted), within=60, what="all have ended")
        took = time.monotonic() - began
        told = (SEED, number, act.__name__, delay, took)
        log.info("seed %d round %d: %s after %.2f s, ended in %.1f s", *told)
        for execution, (path, diary) in accepted.items():
            found, recorded = theatre.server.get(execution), steps_of(theatre.server, execution)
            check_execution(found, recorded, path, diary)
    assert {found["execution_id"] for found in theatre.server.all()} == everything


def all_ended(theatre: Theatre, accepted: dict[str, tuple[str, Path]]) -> bool:
    """Meanwhile, what has once been recorded must stay as it is."""
    found = {one["execution_id"]: one["status"] for one in theatre.server.all()}
    for execution in accepted:
        for step in steps_of(theatre.server, execution):
            told = (step["name"], step["call"], step["attempt"], step["ended_at"])
            assert theatre.seen.setdefault((execution, step["position"]), told) == told
    return all(found[execution] in TERMINAL for execution in accepted)


def steps_of(server: Server, execution: str) -> list[dict[str, Any]]:
    answer = server.client.get(f"/api/v1/executions/{execution}/steps")
    return list(answer.raise_for_status().json()["steps"])
