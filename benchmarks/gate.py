"""What knowing who asks costs, beside a server that is open: `python -m benchmarks.gate`."""

import asyncio
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from benchmarks.load import Connection, connected, get, post, seconds_to_end, submit
from benchmarks.measures import NOOP
from benchmarks.processes import cpu_seconds
from benchmarks.servers import CREWSERVE, Running, Subject, provider, running
from crewserve.application.api_keys import ApiKeys, Grant
from crewserve.bootstrap import with_api_keys
from crewserve.settings import Settings

ROUNDS: Final = 15
SECONDS: Final = 0.5
CLIENTS: Final = 2

LIMITS: Final = "CREWSERVE_RATE_LIMITS"
PLENTY: Final = "1000000/second"

OPEN: Final = "open"
SUBJECTS: Final[Mapping[str, Mapping[str, str]]] = {
    OPEN: {},
    "with a key": {LIMITS: "none"},
    "with a key and four limits": {
        LIMITS: ",".join(f"{one}={PLENTY}" for one in ("address", "tenant", "key", "key:start"))
    },
}
"""A key that is shown is checked and limited, also on loopback."""

REQUESTS: Final = ("status", "list", "submit")

Requests = Mapping[str, bytes]


def _key(data: Path) -> str:
    """One for the server that will have its data there."""
    grant = Grant(name="benchmark", scopes=frozenset({"admin"}), lifetime=timedelta(days=1))

    async def create(keys: ApiKeys) -> str:
        return (await keys.create(grant)).token

    return with_api_keys(Settings(data_dir=data), create)


def _with_key(request: bytes, key: str | None) -> bytes:
    if key is None:
        return request
    return request.replace(b"\r\n\r\n", f"\r\nAuthorization: Bearer {key}\r\n\r\n".encode(), 1)


async def _requests(port: int, key: str | None) -> Requests:
    """The hot ones; the status is that of an execution that has ended."""
    submitted = await submit(port, NOOP, {}, count=1, clients=1)
    await seconds_to_end(port, NOOP, submitted)
    async with connected(port, 1) as (connection,):  # so that nothing that is submitted runs
        (await connection.send(post("/api/v1/queues/noop_flow/pause", {}))).json()
    return {
        "status": _with_key(get(f"{NOOP}/execution/{submitted.ids[0]}"), key),
        "list": _with_key(get("/api/v1/executions?limit=1"), key),
        "submit": _with_key(post(f"{NOOP}/execute", {}), key),
    }


async def _one_round(port: int, request: bytes) -> int:
    """How often it was answered until the time was over."""
    answered = 0

    async def client(connection: Connection, until: float) -> None:
        nonlocal answered
        while time.perf_counter() < until:
            (await connection.send(request)).json()
            answered += 1

    async with connected(port, CLIENTS) as connections:
        until = time.perf_counter() + SECONDS
        await asyncio.gather(*(client(connection, until) for connection in connections))
    return answered


@dataclass(slots=True)
class Cost:
    """What the server's process took, whatever else the machine did."""

    seconds: float = 0.0
    requests: int = 0

    @property
    def microseconds(self) -> float:
        return self.seconds * 1e6 / self.requests


Costs = dict[str, dict[str, Cost]]
"""By request and subject."""


async def _measure(folder: Path) -> Costs:
    """Subjects take turns, so that all of them meet the same weather."""
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(provider(folder))
        served: dict[str, tuple[Running, Requests]] = {}
        for number, (name, variables) in enumerate(SUBJECTS.items()):
            own = folder / str(number)
            own.mkdir()
            key = await asyncio.to_thread(_key, own / "data")
            subject: Subject = replace(CREWSERVE, name=name, environment=variables)
            server = await stack.enter_async_context(running(subject, own, model))
            served[name] = (server, await _requests(server.port, None if name == OPEN else key))
        costs: Costs = {what: {name: Cost() for name in SUBJECTS} for what in REQUESTS}
        for _ in range(ROUNDS):
            for what, by_name in costs.items():
                for name, (server, requests) in served.items():
                    before = cpu_seconds(server.pid)
                    by_name[name].requests += await _one_round(server.port, requests[what])
                    by_name[name].seconds += cpu_seconds(server.pid) - before
        return costs


def main() -> None:
    """Prints processor time for each request, and its ratio to the open server's."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        costs = asyncio.run(_measure(Path(folder)))
    for what, by_name in costs.items():
        for name, cost in by_name.items():
            ratio = cost.microseconds / by_name[OPEN].microseconds
            print(f"{what:8} {name:28} {cost.microseconds:6.0f} us  {ratio:5.2f}  {cost.requests}")


if __name__ == "__main__":
    main()
