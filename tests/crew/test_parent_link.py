"""A child's end of the line, against a host that answers by hand."""

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from crewserve.crew.parent_link import ParentLink


@pytest.fixture
def ends() -> Iterator[tuple[ParentLink, socket.socket]]:
    ours, theirs = socket.socketpair()
    link = ParentLink(theirs)
    link.start()
    with ours, theirs:
        yield link, ours
        ours.shutdown(socket.SHUT_RDWR)
        assert link.next_request(5) is None


def a_step(position: int) -> dict[str, Any]:
    return {"position": position, "result": None, "state": None, "final": False}


def tell(host: socket.socket, message: dict[str, Any]) -> None:
    host.sendall(json.dumps(message).encode() + b"\n")


async def test_a_step_whose_record_was_cancelled_does_no_harm(
    ends: tuple[ParentLink, socket.socket],
) -> None:
    """A listener that lost a race is cancelled while it waits for the commit."""
    link, host = ends
    lost = asyncio.wrap_future(link.record(a_step(1)))
    lost.cancel()
    await asyncio.wait([lost])
    tell(host, {"kept": 1})
    tell(host, {"kept": 1})
    later = asyncio.wrap_future(link.record(a_step(2)))
    tell(host, {"kept": 2})
    await asyncio.wait_for(later, 5)


async def test_a_stop_that_comes_before_the_run_begins_is_heard(
    ends: tuple[ParentLink, socket.socket],
) -> None:
    link, host = ends
    tell(host, {"run": "one"})
    tell(host, {"stop": True})
    assert await asyncio.to_thread(link.next_request, 5) == {"run": "one"}
    await asyncio.wait_for(asyncio.wrap_future(link.begin_run()), 5)


async def test_what_happened_is_sent_before_the_step_that_ended(
    ends: tuple[ParentLink, socket.socket],
) -> None:
    link, host = ends
    link.note({"type": "a"})
    link.note({"type": "b"})
    link.record({**a_step(1), "final": True})
    happened: list[str] = []
    host.settimeout(5)
    with host.makefile("rb") as sent:
        while "events" in (line := json.loads(sent.readline())):
            happened += [one["type"] for one in line["events"]]
    assert (happened, line["step"]["position"]) == (["a", "b"], 1)


async def test_what_happens_is_sent_without_being_asked(
    ends: tuple[ParentLink, socket.socket],
) -> None:
    link, host = ends
    link.note({"type": "a"})
    host.settimeout(5)
    with host.makefile("rb") as sent:
        assert json.loads(sent.readline()) == {"events": [{"type": "a"}]}
