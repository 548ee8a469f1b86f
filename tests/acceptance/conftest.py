"""What acceptance tests share: one provider, one server with the poem flow.

Starting a server takes some ten seconds of computing, so tests that do not break it share it. With
xdist, run ``--dist loadfile``: the tests of one file then meet in one process.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import grounds
from tests.support.provider import Provider, providing
from tests.support.servers import Server, run_api, running

HERE = Path(__file__).parent
SECONDS = 300
"""What a test may take on a machine that is busy with others; alone, none takes a tenth of it."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What chooses its ground itself is the same on any other, so it runs once."""
    ground = config.getoption("--on")
    unfit = {"checks_inputs"} if ground.startswith("celery") else set()
    unfit |= {"own_ground"} if ground != grounds.DEFAULT else set()
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(SECONDS))
    left_out = [item for item in items if any(mark.name in unfit for mark in item.iter_markers())]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def ground(request: pytest.FixtureRequest) -> Iterator[None]:
    """What all servers of these tests stand on."""
    kind = request.config.getoption("--on")
    database = None if kind == grounds.DEFAULT else request.getfixturevalue("postgres_server")
    with grounds.standing_on(kind, database):
        yield


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    with providing() as found:
        yield found


@pytest.fixture(scope="session")
def poem_server(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Server]:
    """The specification's server, as `run_api.py` starts it."""
    folder = tmp_path_factory.mktemp("poem")
    with running(run_api(), folder, variables=provider.variables) as server:
        yield server.wait_for_flows()
