"""What servers under test stand on: ``pytest --on celery-redis tests/acceptance``."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.brokers import BrokerServer
from tests.support import brokers, postgres

DATABASE: Final = "CREWSERVE_DATABASE_URL"

DEFAULT: Final = "local-sqlite"

PARTS: Final = 40
"""More than there are data folders in a run."""

KINDS: Final = (DEFAULT, "local-postgres", "celery-rabbitmq", "celery-redis")


@dataclass(frozen=True, slots=True)
class Ground:
    """Each data folder has a database of its own, and its own part of the broker."""

    server: str | None = None
    """URL of the database server; without one, SQLite."""
    broker: BrokerServer | None = None
    _databases: dict[Path, str] = field(default_factory=dict)

    def variables(self, data: Path) -> dict[str, str]:
        """What tells a server with this data folder where it stands."""
        if self.server is None:
            return {}
        if data not in self._databases:
            name = postgres.new_name()
            self._databases[data] = postgres.create_database(name, on=self.server)
        told = {DATABASE: self._databases[data]}
        if self.broker:
            part = list(self._databases).index(data)
            told["CREWSERVE_BROKER_URL"] = self.broker.url_of_part(part)
        return told

    def worker(self, command: Sequence[str]) -> tuple[list[str], dict[str, str]] | None:
        """What runs what the API *command* accepts, if that does not do so itself.

        A command, and its variables.
        """
        if self.broker is None:
            return None
        program = str(Path(sys.executable).with_name("crewserve"))
        if command[1] == "serve":
            return [program, "worker", *command[2:]], {}
        sources = str(Path(command[1]).parent / "src")
        return [program, "worker", "--app", "api.app:app"], {"PYTHONPATH": sources}

    def drop_databases(self) -> None:
        for url in self._databases.values():
            postgres.drop_database(url.rpartition("/")[2].partition("?")[0], on=self.server or "")


_chosen: list[Ground] = [Ground()]


def current() -> Ground:
    """Where the servers of this run stand."""
    return _chosen[-1]


@contextmanager
def standing_on(kind: str, postgres_server: str | None) -> Iterator[None]:
    """Until it ends, `current` is of this kind."""
    engine, _, store = kind.partition("-")
    with ExitStack() as stack:
        broker = None
        if engine == "celery":
            broker = stack.enter_context(brokers.private_broker(store, PARTS))
        ground = Ground(postgres_server, broker)
        stack.callback(ground.drop_databases)
        _chosen.append(ground)
        stack.callback(_chosen.pop)
        yield
