"""What is measured: each function puts a server under one kind of load and returns figures."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from benchmarks import processes
from benchmarks.load import (
    MeasurementFailed,
    connected,
    ended,
    get,
    hammer,
    percentile,
    post,
    probed,
    seconds_to_end,
    submit,
)
from benchmarks.servers import Running

Figures = dict[str, float]
Measure = Callable[[Running], Awaitable[Figures]]

CLIENTS: Final = 50
NOOP: Final = "/api/v1/noop-flow"
CREW: Final = "/api/v1/crew-flow"
WARM_UP: Final = 100
SETTLE_SECONDS: Final = 1.0


async def _warm_up(server: Running, url: str) -> None:
    """What happens once in a process's life is not measured."""
    submitted = await submit(server.port, url, {}, count=WARM_UP, clients=CLIENTS)
    await seconds_to_end(server.port, url, submitted)
    await asyncio.sleep(SETTLE_SECONDS)


async def burst(server: Running) -> Figures:
    """1,000 no-op executions: how fast they are accepted, and how fast they end."""
    await _warm_up(server, NOOP)
    submitted = await submit(server.port, NOOP, {}, count=1000, clients=CLIENTS)
    seconds = await seconds_to_end(server.port, NOOP, submitted)
    return {
        "accepted_per_second": 1000 / submitted.seconds,
        "submit_p50_ms": percentile(submitted.latencies_ms, 0.50),
        "submit_p99_ms": percentile(submitted.latencies_ms, 0.99),
        "noop_per_second": 1000 / seconds,
    }


async def reuse(server: Running) -> Figures:
    """The same where processes may be kept."""
    url = server.subject.reuse_url
    if url is None:
        return {}
    await _warm_up(server, url)
    submitted = await submit(server.port, url, {}, count=1000, clients=CLIENTS)
    seconds = await seconds_to_end(server.port, url, submitted)
    return {"noop_reuse_per_second": 1000 / seconds}


async def crew(server: Running) -> Figures:
    """200 executions of a crew with one agent, whose model answers at once."""
    await _warm_up(server, CREW)
    submitted = await submit(server.port, CREW, {}, count=200, clients=CLIENTS)
    return {"crew_per_second": 200 / await seconds_to_end(server.port, CREW, submitted)}


async def blocking(server: Running) -> Figures:
    """200 executions that sleep 2 s in a synchronous step, while /health is asked all the time."""
    await _warm_up(server, NOOP)
    async with probed(server.port, get("/health"), every=0.01) as latencies:
        submitted = await submit(server.port, NOOP, {"seconds": 2}, count=200, clients=CLIENTS)
        seconds = await seconds_to_end(server.port, NOOP, submitted)
    return {
        "blocking_seconds": seconds,
        "blocking_health_p99_ms": percentile(latencies, 0.99),
        "blocking_health_max_ms": max(latencies),
    }


async def polls(server: Running) -> Figures:
    """The status of one finished execution, from 8 connections."""
    await _warm_up(server, NOOP)
    submitted = await submit(server.port, NOOP, {}, count=1, clients=1)
    await seconds_to_end(server.port, NOOP, submitted)
    await asyncio.sleep(SETTLE_SECONDS)
    request = get(f"{NOOP}/execution/{submitted.ids[0]}")
    latencies = await hammer(server.port, request, clients=8, seconds=5.0)
    return {
        "polls_per_second": len(latencies) / 5.0,
        "poll_p50_ms": percentile(latencies, 0.50),
        "poll_p99_ms": percentile(latencies, 0.99),
    }


async def first_step(server: Running) -> Figures:
    """One execution at a time on an idle server: from sending to the flow's first line."""
    await _warm_up(server, NOOP)
    delays = await start_delays(server.port, 50)
    return {"first_step_p50_ms": percentile(delays, 0.5), "first_step_max_ms": max(delays)}


async def start_delays(port: int, count: int) -> list[float]:
    """In ms, of no-op executions that have the server to themselves."""
    delays = []
    request = post(f"{NOOP}/execute", {})
    async with connected(port, 1) as (connection,):
        for _ in range(count):
            sent = time.time_ns()
            execution_id = (await connection.send(request)).json()["execution_id"]
            await asyncio.sleep(0.15)
            execution = await ended(connection, NOOP, execution_id)
            delays.append((execution["result"]["begun_ns"] - sent) / 1e6)
    return delays


async def cold(server: Running) -> Figures:
    """A server that just started, and one execution in it."""
    figures = {
        "cold_health_seconds": server.seconds_to_health,
        "cold_ready_seconds": server.seconds_to_ready,
        "api_mib": processes.resident_mib(server.pid),
        "api_has_crewai": float(processes.has_crewai(server.pid)),
    }
    submitted = await submit(server.port, NOOP, {"seconds": 1}, count=1, clients=1)
    if server.subject.loads_later:
        await asyncio.sleep(0.5)
        child = processes.working_in(submitted.ids[0])
        if child is None:
            raise MeasurementFailed("No process works in the folder of the execution")
        figures["child_private_mib"] = processes.private_mib(child)
    await seconds_to_end(server.port, NOOP, submitted)
    return figures


MEASURES: Final[Mapping[str, Measure]] = {
    "cold": cold,
    "burst": burst,
    "reuse": reuse,
    "crew": crew,
    "blocking": blocking,
    "polls": polls,
    "first-step": first_step,
}
"""`cold` comes first: it is about a server that nobody used yet."""
