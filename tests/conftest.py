"""What all tests share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from deploy.brokers import KINDS, BrokerServer
from tests.support import brokers, grounds, postgres

settings.register_profile("crewserve", deadline=None, max_examples=60)
settings.load_profile("crewserve")


def pytest_addoption(parser: pytest.Parser) -> None:
    choices = grounds.KINDS
    told = "what the servers of the acceptance suite stand on"
    parser.addoption("--on", choices=choices, default=grounds.DEFAULT, help=told)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A URL of a server: one that answers already, else one that is started for these tests."""
    if url := postgres.running_server():
        yield url
        return
    with postgres.private_server() as server:
        yield server.url


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """A database of its own without tables."""
    name = postgres.new_name()
    yield postgres.create_database(name, on=postgres_server)
    postgres.drop_database(name, on=postgres_server)


@pytest.fixture
def latin_postgres_url(postgres_server: str) -> Iterator[str]:
    """One whose encoding lacks most characters."""
    name = postgres.new_name()
    yield postgres.create_database(name, on=postgres_server, encoding="LATIN1")
    postgres.drop_database(name, on=postgres_server)


@pytest.fixture(scope="session", params=sorted(KINDS))
def broker(request: pytest.FixtureRequest) -> Iterator[BrokerServer]:
    """A private one of each kind. Whoever kills it starts it again."""
    with brokers.private_broker(request.param) as found:
        yield found
