"""API processes and workers that know each other through PostgreSQL and a broker only."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.brokers import KINDS, BrokerServer, private_broker
from tests.support.servers import FLOWS, Server, crewserve_serve, running, working

TROUBLE = f"{FLOWS}/trouble.py"
TARGETS = (f"{TROUBLE}:Sleeping", f"{TROUBLE}:Gated", f"{FLOWS}/shapes.py:Routed")


@pytest.fixture(scope="module", params=sorted(KINDS))
def broker(request: pytest.FixtureRequest) -> Iterator[BrokerServer]:
    with private_broker(request.param) as found:
        yield found


@dataclass
class Cluster:
    api: Server
    worker: Server


@pytest.fixture
def cluster(tmp_path: Path, broker: BrokerServer, empty_postgres_url: str) -> Iterator[Cluster]:
    settings = {
        "CREWSERVE_DATABASE_URL": empty_postgres_url,
        "CREWSERVE_BROKER_URL": broker.url,
        "CREWSERVE_REDIS_VISIBILITY_SECONDS": "5",
    }
    with (
        running(crewserve_serve(*TARGETS), tmp_path / "api", variables=settings) as api,
        working(tmp_path / "worker", *TARGETS, variables=settings) as worker,
    ):
        yield Cluster(api, worker)


def test_what_an_api_accepts_is_run_by_a_worker(cluster: Cluster) -> None:
    completed = cluster.api.run("routed")
    assert completed["status"] == "completed"
    assert cluster.api.template() is None
    assert cluster.worker.template() is not None
