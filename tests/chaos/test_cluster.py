"""A cluster loses a worker's host, its broker and an API's host while it has work to do.

``CREWSERVE_CHAOS_EXECUTIONS`` sets how much work there is at least (default 60),
``CREWSERVE_CHAOS_SEED`` repeats a run. What it measured is logged.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest

from deploy.brokers import KINDS
from deploy.cluster import Cluster, Plan
from tests.support import brokers
from tests.support.durable import STEPS, TARGETS, check_execution
from tests.support.servers import TERMINAL, environment
from tests.support.waiting import eventually

log = logging.getLogger(__name__)

EXECUTIONS: Final = int(os.environ.get("CREWSERVE_CHAOS_EXECUTIONS", "60"))
SEED: Final = int(os.environ.get("CREWSERVE_CHAOS_SEED", random.randrange(10**6)))
LEASE: Final = 10.0
AFTER_IT: Final = 5.0
"""Seconds in which others look for leases that are over, and begin what they find."""

BACKLOG: Final = 4
"""Executions that wait, so that there is work when something dies."""

BROKER_AWAY: Final = 10.0

pytestmark = pytest.mark.timeout(400 + EXECUTIONS)


@dataclass
class Theatre:
    cluster: Cluster
    folder: Path
    dice: random.Random
    client: httpx.Client
    started: dict[str, tuple[str, Path]] = field(default_factory=dict)
    """Each execution's flow and diary, by its id."""

    def keep_busy(self, over: threading.Event) -> None:
        """Until it is over, and all is submitted."""
        while not over.is_set() or len(self.started) < EXECUTIONS:
            eventually(self.has_little_to_do, what="some of the work is done")
            self.submit()

    def has_little_to_do(self) -> bool:
        try:
            pending = self.get(f"?status=pending&limit={BACKLOG}")["executions"]
        except (httpx.TransportError, httpx.HTTPStatusError):
            return False
        return len(pending) < BACKLOG

    def submit(self) -> None:
        """As a careful client does: with a key, and at another API when one does not answer."""
        path = self.dice.choice(sorted(STEPS))
        diary = self.folder / uuid4().hex
        options = {"max_attempts": "50", "backoff_seconds": "0"}
        inputs = {"diary": str(diary), "pause": self.dice.uniform(0, 1)}
        headers = {"Idempotency-Key": f'"{uuid4()}"'}

        def accepted() -> str | None:
            url = f"{self.dice.choice(self.cluster.apis).url}/api/v1/{path}/execute"
            try:
                answer = self.client.post(url, params=options, json=inputs, headers=headers)
            except httpx.TransportError:
                return None
            if answer.status_code in (409, 503):
                return None
            return str(answer.raise_for_status().json()["execution_id"])

        self.started[eventually(accepted, what="it is accepted")] = (path, diary)

    def get(self, path: str) -> dict[str, Any]:
        api = next(api for api in self.cluster.apis if api.runs)
        answer = self.client.get(f"{api.url}/api/v1/executions{path}")
        return dict(answer.raise_for_status().json())

    def everything(self) -> list[dict[str, Any]]:
        """All pages."""
        found, cursor = [], ""
        while True:
            page = self.get(f"?limit=1000{cursor}")
            found += page["executions"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    def running_on(self, host: str, at_least: int = 4) -> list[str] | None:
        """What a worker of that host name holds, when it is enough."""
        page = self.get("?status=running&limit=1000")
        found = [one["execution_id"] for one in page["executions"]]
        held = [one for one in found if (self.get(f"/{one}")["worker"] or "").startswith(host)]
        return held if len(held) >= at_least else None

    def began_again(self, execution: str) -> datetime | None:
        """When the attempt after the lost one began, once it has."""
        attempts = iter(self.get(f"/{execution}")["attempts"])
        if not any(one["outcome"] == "lost" for one in attempts):
            return None
        later = next(attempts, None)
        return datetime.fromisoformat(later["started_at"]) if later else None

    def ended(self) -> bool:
        return all(found["status"] in TERMINAL for found in self.everything())


@pytest.fixture(params=sorted(KINDS))
def theatre(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Theatre]:
    """Two API hosts and two worker hosts, told apart by their names as machines are."""
    settings = {
        "CREWSERVE_LEASE_SECONDS": str(LEASE),
        "MODEL": "openai/none",
        "CREWSERVE_SLOTS": "8",
    }
    plan = Plan(
        broker=request.param,
        flows=TARGETS,
        settings=settings,
        environment=environment(uuid4().hex, tmp_path, {}),
        own_host_names=True,
    )
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(Cluster(plan))
        except FileNotFoundError as error:
            brokers.give_up(str(error))
        client = stack.enter_context(httpx.Client(timeout=30))
        yield Theatre(cluster, tmp_path, random.Random(SEED), client)


def test_a_cluster_that_loses_hosts_and_its_broker_loses_no_work(theatre: Theatre) -> None:
    over = threading.Event()
    with ThreadPoolExecutor(1) as submitting:
        work = submitting.submit(theatre.keep_busy, over)
        try:
            delays = lose_a_worker(theatre)
            lose_the_broker(theatre)
            lose_an_api(theatre)
        finally:
            over.set()
        work.result()
    eventually(theatre.ended, within=60 + EXECUTIONS, what="all have ended")
    found = theatre.everything()
    assert sorted(one["execution_id"] for one in found) == sorted(theatre.started)
    for one in found:
        steps = theatre.get(f"/{one['execution_id']}/steps")["steps"]
        path, diary = theatre.started[one["execution_id"]]
        check_execution(theatre.get(f"/{one['execution_id']}"), steps, path, diary)
    told = (len(found), SEED, len(delays), min(delays), max(delays))
    log.info("%d executions, seed %d; %d went on elsewhere after %.1f to %.1f s", *told)
    assert max(delays) < LEASE + AFTER_IT


def lose_a_worker(theatre: Theatre) -> list[float]:
    """Nobody can know that it is dead before its leases are over.

    Returns the seconds until each execution that it ran went on elsewhere.
    """
    worker = theatre.cluster.workers[0]
    held = eventually(lambda: theatre.running_on(worker.name), what="the worker has work")
    killed = datetime.now(UTC)
    worker.kill()
    lost = [one for one in held if theatre.get(f"/{one}")["status"] == "running"]
    again = [eventually(partial(theatre.began_again, one), what="it goes on") for one in lost]
    worker.start()
    return [(began - killed).total_seconds() for began in again]


def lose_the_broker(theatre: Theatre) -> None:
    broker = theatre.cluster.broker
    assert broker is not None
    broker.kill()
    time.sleep(BROKER_AWAY)
    broker.start()


def lose_an_api(theatre: Theatre) -> None:
    """Callers go to the other one."""
    api = theatre.cluster.apis[0]
    known = len(theatre.started)
    api.kill()
    eventually(lambda: len(theatre.started) > known + 5, what="work is accepted")
    api.restart()
