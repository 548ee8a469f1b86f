"""What knowing who asks costs, beside a server that is open: `python -m benchmarks.gate`."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from benchmarks.load import Connection, connected, get, post, seconds_to_end, submit
from benchmarks.measures import NOOP
from benchmarks.servers import CREWSERVE, Subject, provider, running
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


async def _one_round(port: int, request: bytes) -> list[float]:
    """Microseconds of each answer, until the time is over."""
    times: list[float] = []

    async def client(connection: Connection, until: float) -> None:
        while (sent := time.perf_counter()) < until:
            (await connection.send(request)).json()
            times.append((time.perf_counter() - sent) * 1e6)

    async with connected(port, CLIENTS) as connections:
        until = time.perf_counter() + SECONDS
        await asyncio.gather(*(client(connection, until) for connection in connections))
    return times


async def _measure(folder: Path) -> Mapping[str, Mapping[str, list[float]]]:
    """By request and subject: the median of each round. Subjects take turns, so that all of them
    meet the same weather."""
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(provider(folder))
        served = {}
        for number, (name, variables) in enumerate(SUBJECTS.items()):
            own = folder / str(number)
            own.mkdir()
            key = await asyncio.to_thread(_key, own / "data")
            subject: Subject = replace(CREWSERVE, name=name, environment=variables)
            server = await stack.enter_async_context(running(subject, own, model))
            requests = await _requests(server.port, None if name == OPEN else key)
            served[name] = (server.port, requests)
        found: dict[str, dict[str, list[float]]] = {}
        for _ in range(ROUNDS):
            for what in ("status", "list", "submit"):
                for name, (port, requests) in served.items():
                    times = await _one_round(port, requests[what])
                    found.setdefault(what, {}).setdefault(name, []).append(statistics.median(times))
        return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_measure(Path(folder)))
    for what, by_name in found.items():
        for name, medians in by_name.items():
            ratios = [mine / free for mine, free in zip(medians, by_name[OPEN], strict=True)]
            took, ratio = statistics.median(medians), statistics.median(ratios)
            print(f"{what:8} {name:28} {took:6.0f} us  {ratio:5.2f}")


if __name__ == "__main__":
    main()
