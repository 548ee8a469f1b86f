"""Bodies that come too slowly."""

import asyncio
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from crewserve.http.body_limit import BodyLimit

SCOPE: Scope = {"type": "http", "headers": []}


async def read_twice(_: Scope, receive: Receive, __: Send) -> None:
    """An app that wants the body, and then to know that the client has gone."""
    while (await receive()).get("more_body"):
        pass
    await receive()


async def never(_: Message) -> None:
    raise AssertionError


def client(*messages: Any) -> Receive:
    """Sends these, then nothing until it has been waited for twice as long as a body may take."""
    left = iter(messages)

    async def receive() -> Message:
        for message in left:
            return dict(message)
        await asyncio.sleep(0.1)
        return {"type": "http.disconnect"}

    return receive


async def test_a_body_that_does_not_come_is_refused() -> None:
    limit = BodyLimit(read_twice, max_bytes=10, seconds=0.05)
    with pytest.raises(HTTPException, match="did not come within") as refusal:
        await limit(SCOPE, client({"type": "http.request", "more_body": True}), never)
    assert refusal.value.status_code == 408


async def test_waiting_for_a_client_to_go_takes_as_long_as_it_likes() -> None:
    limit = BodyLimit(read_twice, max_bytes=10, seconds=0.05)
    await limit(SCOPE, client({"type": "http.request", "body": b"{}"}), never)
