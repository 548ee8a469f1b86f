"""What acceptance tests share: one provider, one server with the poem flow.

Starting a server takes some ten seconds of computing, so tests that do not break it share it. With
xdist, run ``--dist loadfile``: the tests of one file then meet in one process.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.provider import Provider, providing
from tests.support.servers import Server, run_api, running

HERE = Path(__file__).parent
SECONDS = 300
"""What a test may take on a machine that is busy with others; alone, none takes a tenth of it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(SECONDS))


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
