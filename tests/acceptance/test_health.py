"""Health of real servers, whatever dies."""

import os
import signal
from pathlib import Path

import httpx
import pytest

from deploy.brokers import BrokerServer
from tests.support import postgres
from tests.support.processes import command_of, parent_of
from tests.support.servers import FLOWS, Server, crewserve_serve, running
from tests.support.waiting import eventually

pytestmark = pytest.mark.own_ground
QUICK = f"{FLOWS}/shapes.py:SeveralStarts"


def reasons(server: Server) -> dict[str, str] | None:
    """Empty when it is ready; None when it does not answer."""
    try:
        answer = server.client.get("/health/ready", headers={"Connection": "close"})
    except httpx.TransportError:
        return None
    if answer.is_success:
        return {}
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert answer.elapsed.total_seconds() < 10
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


def wait_until_ready(server: Server) -> None:
    eventually(lambda: reasons(server) == {}, what="it is ready")


def test_each_process_is_ready_again_after_the_template_was_killed(tmp_path: Path) -> None:
    with running(crewserve_serve(QUICK, "--workers", "2"), tmp_path) as server:
        wait_until_ready(server)
        os.kill(template_of(server), signal.SIGKILL)
        eventually(lambda: (reasons(server) or {}).get("flows"), what="it is not ready")
        wait_until_ready(server)


def template_of(server: Server) -> int:
    """Its children are copies of it, with the same command line."""
    templates = {pid for pid in server.processes() if "crewserve.crew.template" in command_of(pid)}
    return next(pid for pid in templates if parent_of(pid) not in templates)


def test_a_database_that_is_gone_is_told_quickly(tmp_path: Path) -> None:
    with postgres.private_server() as database:
        variables = {"CREWSERVE_DATABASE_URL": database.url}
        with running(crewserve_serve(QUICK), tmp_path, variables=variables) as server:
            wait_until_ready(server)
            database.stop_immediate()
            eventually(lambda: (reasons(server) or {}).get("store"), what="it is told")
            assert server.client.get("/health/live").is_success
            database.start()
            wait_until_ready(server)


def test_an_api_beside_celery_needs_its_broker_and_loads_no_flow(
    tmp_path: Path, broker: BrokerServer, empty_postgres_url: str
) -> None:
    variables = {
        "CREWSERVE_DATABASE_URL": empty_postgres_url,
        "CREWSERVE_BROKER_URL": broker.url_of_part(0),
    }
    with running(crewserve_serve(QUICK), tmp_path, variables=variables) as server:
        wait_until_ready(server)
        broker.kill()
        eventually(lambda: (reasons(server) or {}).get("broker"), what="it is told")
        broker.start()
        wait_until_ready(server)
