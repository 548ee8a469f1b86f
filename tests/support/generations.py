"""Template processes without CrewAI, as parts of a host."""

import asyncio
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from uuid import uuid4

from crewserve.crew.generation import Generation, Lifespan
from crewserve.crew.host import HostPlan
from crewserve.crew.pool import Pool
from crewserve.crew.template_link import TemplateLink
from crewserve.crew.validator import Validator
from crewserve.domain.flow import FlowSpec
from tests.support import forking

SECONDS = 20


@dataclass(eq=False)
class SilentValidator:
    """Is never asked."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep_running(self) -> None:
        await asyncio.Event().wait()


def a_plan(folder: Path, *flows: FlowSpec) -> HostPlan:
    """Of a host whose files are all in *folder*."""
    return HostPlan(
        flows=lambda: flows,
        paths=[],
        executions=folder,
        storage=folder,
        log_file=folder / "log",
        environment={},
        spares=2,
        with_content=False,
    )


async def a_generation(lifespan: Lifespan) -> Generation:
    owner = uuid4().hex
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(0)
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *forking.command(theirs), **forking.options(theirs, owner)
        )
    template = TemplateLink(process, ours, {})
    async with asyncio.timeout(SECONDS):
        assert "ready" in await template._receive()
    return Generation(
        number=1,
        owner=owner,
        template=template,
        pool=Pool(template, 2, on_room=lambda: None),
        validator=cast("Validator", SilentValidator()),
        lifespan=lifespan,
    )
