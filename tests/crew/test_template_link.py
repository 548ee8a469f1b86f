"""A template that does not answer is killed; one that does is left alone."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from crewserve.crew import template_link, wire
from crewserve.crew.template_link import TemplateLink
from tests.support import forking

SECONDS = 20


@pytest.fixture
async def link(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TemplateLink]:
    """To a template process without CrewAI that is ready."""
    monkeypatch.setattr(template_link, "PING_SECONDS", 0.1)
    monkeypatch.setattr(template_link, "CLOSE_SECONDS", 0.5)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(0)
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *forking.command(theirs), **forking.options(theirs, uuid4().hex)
        )
    found = TemplateLink(process, ours, {}, lambda _: None)
    async with asyncio.timeout(SECONDS):
        assert "ready" in await found._receive()
    yield found
    await found.close()


def freeze(link: TemplateLink) -> None:
    os.kill(link.process.pid, signal.SIGSTOP)


async def test_one_that_answers_is_left_alone(link: TemplateLink) -> None:
    listening = asyncio.create_task(link.listen())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * template_link.PATIENCE * template_link.PING_SECONDS):
            await link.watch()
    assert link.process.returncode is None
    listening.cancel()
    await asyncio.wait([listening])


async def test_one_that_is_frozen_for_good_is_killed(link: TemplateLink) -> None:
    freeze(link)
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(link.watch(), link.listen())
    assert await link.process.wait() == -signal.SIGKILL


async def test_its_children_are_told_dead_when_nothing_is_left_of_them(link: TemplateLink) -> None:
    child = await link.fork()
    child.writer.write(wire.encode({}))
    freeze(link)
    link.kill()
    async with asyncio.timeout(SECONDS):
        await link.listen()
    assert not child.exited.done()
    link.bury_all()
    assert child.exited.result() is None
    late = await link.fork()
    assert late.exited.result() is None


async def test_closing_does_not_wait_for_one_that_is_frozen(link: TemplateLink) -> None:
    freeze(link)
    async with asyncio.timeout(SECONDS):
        await link.close()
    assert link.process.returncode == -signal.SIGKILL
