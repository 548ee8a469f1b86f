"""The load generator: raw HTTP/1.1, so that it takes little of the machine it measures."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

POLL_SECONDS: Final = 0.05
"""Between two questions after an execution that has not ended."""

PATIENCE_SECONDS: Final = 300.0


class MeasurementFailed(Exception):
    """A server did not do what was asked, so its figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        """Raises MeasurementFailed when it is not a success."""
        if self.status >= 300:
            raise MeasurementFailed(f"HTTP {self.status}: {self.body[:300]!r}")
        return json.loads(self.body)


@dataclass(slots=True)
class Connection:
    """Kept alive; one request at a time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, request: bytes) -> Answer:
        """Raises: MeasurementFailed."""
        try:
            self.writer.write(request)
            return await self._receive()
        except (OSError, asyncio.IncompleteReadError) as error:
            raise MeasurementFailed("The server closed a connection without an answer") from error

    async def _receive(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        _, found, rest = head.partition(b"\r\ncontent-length:")
        if not found:
            raise MeasurementFailed("The answer has no Content-Length")
        length = int(rest.partition(b"\r\n")[0])
        return Answer(int(head[9:12]), await self.reader.readexactly(length))


@asynccontextmanager
async def connected(port: int, count: int) -> AsyncIterator[list[Connection]]:
    """*count* open connections."""
    connections: list[Connection] = []
    try:
        for _ in range(count):
            connections.append(Connection(*await asyncio.open_connection("127.0.0.1", port)))  # noqa: PERF401  # what is open must be closed when the next one fails
        yield connections
    finally:
        for connection in connections:
            connection.writer.close()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, payload: object) -> bytes:
    body = json.dumps(payload)
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@dataclass(frozen=True, slots=True)
class Submitted:
    """What came of many submissions."""

    ids: list[str]
    latencies_ms: list[float]
    began: float
    """Unix time before the first."""
    seconds: float
    """Until the last answer."""


async def submit(port: int, url: str, payload: object, *, count: int, clients: int) -> Submitted:
    """Start *count* executions as fast as *clients* connections can."""
    request = post(f"{url}/execute", payload)
    ids: list[str] = []
    latencies: list[float] = []
    left = iter(range(count))

    async def client(connection: Connection) -> None:
        for _ in left:
            sent = time.perf_counter()
            answer = await connection.send(request)
            latencies.append((time.perf_counter() - sent) * 1000)
            ids.append(answer.json()["execution_id"])

    async with connected(port, clients) as connections:
        began, before = time.time(), time.perf_counter()
        await asyncio.gather(*(client(connection) for connection in connections))
        return Submitted(ids, latencies, began, time.perf_counter() - before)


async def ended(connection: Connection, url: str, execution_id: str) -> Any:
    """The execution when it has completed. Raises MeasurementFailed if it fails."""
    request = get(f"{url}/execution/{execution_id}")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        execution = (await connection.send(request)).json()
        if execution["status"] == "completed":
            return execution
        if execution["status"] not in {"pending", "running"}:
            raise MeasurementFailed(f"An execution is {execution['status']}: {execution['error']}")
        await asyncio.sleep(POLL_SECONDS)
    raise MeasurementFailed(f"An execution did not end within {PATIENCE_SECONDS:.0f} s")


async def seconds_to_end(port: int, url: str, submitted: Submitted) -> float:
    """From the first submission to the last completion, by the times that the server notes.

    One connection asks after one execution at a time, so that both servers are asked equally and
    little.
    """
    last = 0.0
    async with connected(port, 1) as (connection,):
        for execution_id in submitted.ids:
            execution = await ended(connection, url, execution_id)
            completed = datetime.fromisoformat(execution["completed_at"])
            last = max(last, completed.timestamp())
    return last - submitted.began


async def hammer(port: int, request: bytes, *, clients: int, seconds: float) -> list[float]:
    """Latencies in ms of *request*, repeated on each connection until the time is over."""
    latencies: list[float] = []

    async def client(connection: Connection, until: float) -> None:
        while (sent := time.perf_counter()) < until:
            (await connection.send(request)).json()
            latencies.append((time.perf_counter() - sent) * 1000)

    async with connected(port, clients) as connections:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(client(connection, until) for connection in connections))
    return latencies


@asynccontextmanager
async def probed(port: int, request: bytes, *, every: float) -> AsyncIterator[list[float]]:
    """Send *request* again and again meanwhile; gives the latencies in ms."""
    latencies: list[float] = []

    async def probe(connection: Connection) -> None:
        while True:
            sent = time.perf_counter()
            await connection.send(request)
            latencies.append((time.perf_counter() - sent) * 1000)
            await asyncio.sleep(every)

    async with connected(port, 1) as (connection,), asyncio.TaskGroup() as group:
        probing = group.create_task(probe(connection))
        yield latencies
        probing.cancel()
