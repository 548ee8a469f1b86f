"""Reading streams of events as clients do."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.servers import Server

Event = dict[str, Any]
PATIENCE = httpx.Timeout(120)


def read(lines: Iterator[str]) -> Iterator[tuple[str, Event]]:
    """Ids and bodies of server-sent events."""
    id_ = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "id":
            id_ = value
        elif name == "data":
            yield id_, json.loads(value)


@contextmanager
def streaming(
    server: Server, execution: str, last: str = "", **query: str
) -> Iterator[Iterator[tuple[str, Event]]]:
    """What happens in *execution* after *last*, as it comes; nothing when nothing is left."""
    url = f"{server.url}/api/v1/executions/{execution}/events"
    headers = {"Last-Event-ID": last} if last else {}
    with httpx.stream("GET", url, params=query, headers=headers, timeout=PATIENCE) as answer:
        answer.raise_for_status()
        yield read(answer.iter_lines())


def streamed(server: Server, execution: str, last: str = "", **query: str) -> list[Event]:
    """All of it, until the stream ends."""
    with streaming(server, execution, last, **query) as events:
        return [event for _, event in events]


def logged(server: Server, execution: str) -> list[Event]:
    """The log, page by page."""
    url, found = f"/api/v1/executions/{execution}/events?format=json", list[Event]()
    while url:
        answer = server.client.get(url).raise_for_status()
        found += answer.json()["events"]
        url = answer.links.get("next", {}).get("url", "")
    return found


def numbers(events: list[Event]) -> list[int]:
    """Of those that are in the log."""
    return [event["seq"] for event in events if event["seq"] is not None]


def text_of(events: list[Event]) -> str:
    """What models wrote, as a reader puts it together."""
    return "".join(event["content"] for event in events)


@contextmanager
def deaf_reader(server: Server, execution: str) -> Iterator[socket.socket]:
    """Asks for the stream and reads nothing of it."""
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = f"GET /api/v1/executions/{execution}/events?format=ndjson HTTP/1.1\r\n"
        headers = "Host: localhost\r\nConnection: close\r\n"
        connection.sendall(f"{request}{headers}\r\n".encode())
        yield connection
