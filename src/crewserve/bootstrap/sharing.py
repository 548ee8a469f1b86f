"""Several API processes on one host: one leads, and runs the executions of all."""

import asyncio
import logging
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

from crewserve.application.health import Check
from crewserve.bootstrap.duties import keep
from crewserve.bootstrap.ground import TOLD, UNTOLD, Ground, WritingGround, open_writer
from crewserve.bootstrap.supervision import (
    ignore,
    listen,
    open_model_for_hand_driven,
    work_on_claims,
)
from crewserve.domain.flow import FlowDescription
from crewserve.domain.ids import FlowName
from crewserve.leader.calls import Writes
from crewserve.leader.election import Election
from crewserve.leader.following import Following
from crewserve.leader.link import Link
from crewserve.leader.server import Server
from crewserve.ports import ApiKeyStore, AuditLog, ExecutionStore, Work, WorkerRegistry
from crewserve.storage.api_keys import SqlApiKeyReader
from crewserve.storage.audit import SqlAuditReader
from crewserve.storage.workers import ReadWorkers

log = logging.getLogger(__name__)


class Site(NamedTuple):
    """Where requests are taken, and how what they ask for is done."""

    ground: Ground
    store: ExecutionStore
    workers: WorkerRegistry
    api_keys: ApiKeyStore
    audit: AuditLog
    work: Work
    checks: Mapping[str, Check]
    """Whether its parts are ready, by their names."""


async def share_host(ground: Ground) -> Site:
    """Lead, or follow the process that does until it ends."""
    election = Election(_place(ground, "lock"))
    ground.stack.callback(election.close)
    if not election.win_at_once():
        return await _follow(ground, election)
    writing = open_writer(ground)
    server = _open_server(writing)
    return _site(writing, writing, await _work(writing, server))


async def _follow(ground: Ground, election: Election) -> Site:
    """On PostgreSQL everybody writes, and the database tells the leader of it."""
    loop = asyncio.get_running_loop()

    def on_described(descriptions: Mapping[FlowName, FlowDescription]) -> None:
        loop.call_soon_threadsafe(ground.catalog.describe, descriptions)

    link = Link(_place(ground, "socket"), on_described)
    link.start()
    ground.stack.callback(link.close)
    await open_model_for_hand_driven(ground)
    following = Following(link)
    writing = open_writer(ground) if ground.database_url else None
    hearing = await ground.stack.enter_async_context(AsyncExitStack())
    succession = _succeed(writing or ground, election, following, hearing)
    keep(ground.stack, "succession", succession)
    if writing:
        listen(replace(writing, stack=hearing), lambda: None, ignore)
        work = replace(following.work, expect=writing.timer.expect)
        return _site(ground, writing, work)
    ground.live.wait_at_most(UNTOLD)
    return _site(ground, _leaders(ground, following), following.work)


class Writing(Protocol):
    """Who writes what requests ask for."""

    @property
    def store(self) -> ExecutionStore: ...
    @property
    def workers(self) -> WorkerRegistry: ...
    @property
    def api_keys(self) -> ApiKeyStore: ...
    @property
    def audit(self) -> AuditLog: ...


class _Leaders(NamedTuple):
    store: ExecutionStore
    workers: WorkerRegistry
    api_keys: ApiKeyStore
    audit: AuditLog


def _leaders(ground: Ground, following: Following) -> _Leaders:
    reader = ground.reader
    workers = following.workers(ReadWorkers(reader, ground.database.writing.dialect))
    api_keys, audit = SqlApiKeyReader(reader), SqlAuditReader(reader)
    return _Leaders(following.store, workers, following.api_keys(api_keys), following.audit(audit))


def _site(ground: Ground, writing: Writing, work: Work) -> Site:
    checks = {"store": ground.reader.check, "flows": work.checks.check_ready}
    return Site(
        ground, writing.store, writing.workers, writing.api_keys, writing.audit, work, checks
    )


async def _succeed(
    ground: Ground, election: Election, following: Following, hearing: AsyncExitStack
) -> None:
    """Lead as soon as nobody else does, until cancelled. A leader hears for itself."""
    await election.win()
    log.info("The process that led has ended; this one leads now")
    async with AsyncExitStack() as stack:
        ground = replace(ground, stack=stack)
        writing = ground if isinstance(ground, WritingGround) else open_writer(ground)
        ground.live.wait_at_most(TOLD)
        following.lead(Writes(writing.store, writing.workers, writing.api_keys, writing.audit))
        server = _open_server(writing)
        following.run_here(await _work(writing, server))
        await hearing.aclose()
        await asyncio.Event().wait()


def _open_server(ground: WritingGround) -> Server:
    writes = Writes(ground.store, ground.workers, ground.api_keys, ground.audit)
    server = Server(_place(ground, "socket"), writes, ground.catalog.find)
    keep(ground.stack, "leader", server.keep())
    return server


async def _work(ground: WritingGround, server: Server) -> Work:
    server.work = await work_on_claims(ground, on_described=server.describe)
    return server.work


def _place(ground: Ground, kind: str) -> Path:
    """Other hosts may share the data folder, but no lock or socket reaches from one to another."""
    return ground.folder(f"leader-{socket.gethostname()}.{kind}")
