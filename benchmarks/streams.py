"""How quick streams of events are, and what readers cost: `python -m benchmarks.streams`.

A real server, and readers on plain sockets in this process; both share the machine.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.processes import cpu_seconds, resident_mib
from benchmarks.servers import ROOT

FLOW: Final = "benchmarks.flows.telling_flow:TellingFlow"
PATH: Final = "/api/v1/telling-flow/execute"
EXECUTIONS: Final = 10
EVENTS: Final = 20
PAUSE: Final = 0.5
LIMIT: Final = 2**20


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser("python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--readers", type=int, default=1000)
    readers = parser.parse_args().readers
    place = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with place as folder, _served(Path(folder)) as server:
        asyncio.run(_measure(server, readers))


@dataclass(slots=True)
class _Server:
    port: int
    pid: int


async def _measure(server: _Server, readers: int) -> None:
    print("| | p50 | p99 |\n|---|--:|--:|")
    starts = [await _started(server) for _ in range(100)]
    for name in ("execution_accepted", "flow_started"):
        print(_row(f"Submit to `{name}`, ms, idle, n = 100", [one[name] for one in starts]))
    late = [moment async for moment in _token_latencies(server)]
    print(_row(f"Token to reader, ms, n = {len(late):,}", late))
    await _crowd(server, readers)


def _row(name: str, seconds: list[float]) -> str:
    milliseconds = sorted(1000 * one for one in seconds)
    p99 = milliseconds[int(0.99 * (len(milliseconds) - 1))]
    return f"| {name} | {statistics.median(milliseconds):.1f} | {p99:.1f} |"


async def _started(server: _Server) -> dict[str, float]:
    """Seconds from the request to the first event of each type."""
    began, found = time.perf_counter(), dict[str, float]()
    async with _stream(server, "POST", PATH, {}) as (_, events):
        async for event in events:
            found.setdefault(event["type"], time.perf_counter() - began)
    return found


async def _token_latencies(server: _Server) -> AsyncIterator[float]:
    body = {"tokens": 500, "pause": 0.01}
    async with _stream(server, "POST", PATH, body) as (_, events):
        async for event in events:
            for made in event["content"].split():
                yield time.time() - float(made)


@dataclass(slots=True)
class _Reader:
    seen: list[int] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    async def read(self, events: AsyncIterator[dict[str, Any]]) -> None:
        async for event in events:
            self.seen.append(event["seq"])
            if event["type"] == "told":
                self.late.append(time.time() - event["data"]["made"])


async def _crowd(server: _Server, count: int) -> None:
    """*count* readers of ten executions that tell two events a second each."""
    before, found = resident_mib(server.pid), [_Reader() for _ in range(count)]
    body = {"events": EVENTS, "pause": PAUSE}
    ids = [await _submit(server, body) for _ in range(EXECUTIONS)]
    cpu, began = cpu_seconds(server.pid), time.perf_counter()

    async def follow(number: int) -> None:
        path = f"/api/v1/executions/{ids[number % EXECUTIONS]}/events"
        async with _stream(server, "GET", path, None) as (_, events):
            await found[number].read(events)

    reading = [asyncio.create_task(follow(number)) for number in range(count)]
    await asyncio.sleep(EVENTS * PAUSE / 2)
    memory = (resident_mib(server.pid) - before) / count
    await asyncio.gather(*reading)
    seconds, used = time.perf_counter() - began, cpu_seconds(server.pid) - cpu
    expected = list(range(1, max(len(one.seen) for one in found) + 1))
    lost = sum(one.seen != expected for one in found)
    sent = sum(len(one.seen) for one in found)
    print(_row(f"Event to each of {count:,} readers, ms", [x for one in found for x in one.late]))
    print(f"| Memory of the API process for each reader, KiB | {1024 * memory:.1f} | |")
    print(f"| Its processor time for an event sent, µs | {1e6 * used / sent:.0f} | |")
    print(f"| Events sent/s | {sent / seconds:,.0f} | |")
    print(f"| Readers that missed or doubled an event | {lost} | |")


async def _submit(server: _Server, body: dict[str, Any]) -> str:
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"http://127.0.0.1:{server.port}{PATH}", json=body)
        return str(answer.raise_for_status().json()["execution_id"])


@asynccontextmanager
async def _stream(
    server: _Server, method: str, path: str, body: dict[str, Any] | None
) -> AsyncIterator[tuple[str, AsyncIterator[dict[str, Any]]]]:
    """The answer's head, and its events as they come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=LIMIT)
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Accept: text/event-stream\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    writer.write(head.encode() + content)
    try:
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        if " 200 " not in answer.partition("\r\n")[0]:
            raise SystemExit(f"error: {answer}")
        yield answer, _events(reader)
    finally:
        writer.close()


async def _events(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    async for line in reader:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


@contextmanager
def _served(folder: Path) -> Iterator[_Server]:
    command = [str(Path(sys.executable).with_name("crewserve")), "serve", FLOW, "--port", "0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "CREWSERVE_DATA_DIR": str(folder / "data")},
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline().split()[1].rpartition(b":")[2])
        _wait_for_flows(f"http://127.0.0.1:{port}/api/v1/flows")
        yield _Server(port, process.pid)
    finally:
        process.terminate()
        process.wait()


def _wait_for_flows(url: str) -> None:
    while True:
        flows = httpx.get(url).json()["flows"]
        if all(flow["status"] == "ready" for flow in flows):
            return
        time.sleep(0.1)


if __name__ == "__main__":
    main()
