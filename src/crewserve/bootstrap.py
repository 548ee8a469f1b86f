"""The one place where parts are chosen and joined."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from uuid_utils.compat import uuid7

from crewserve.application.catalog import FlowCatalog
from crewserve.application.executions import Executions
from crewserve.application.hand_driven import HandDriven
from crewserve.crew.embedded_model import EmbeddedModel
from crewserve.crew.environment import QUIET, template_environment
from crewserve.crew.host import ForkingHost, HostPlan
from crewserve.crew.processes import OWNER, kill_strays
from crewserve.domain.ids import ExecutionId, WorkerName
from crewserve.engines.local import LocalEngine
from crewserve.http.app import FlowsApi, build_app, close_routes, include_flow
from crewserve.http.deps import ApiState, attach
from crewserve.observability.logging import configure_logging
from crewserve.ports import ExecutionReader, ExecutionStore
from crewserve.settings import Settings, environment, export
from crewserve.storage.database import Database, open_database
from crewserve.storage.files import LocalFiles
from crewserve.storage.sql_store import SqlStore
from crewserve.storage.writer import Writer
from crewserve.worker import processors
from crewserve.worker.identity import is_gone, new_name
from crewserve.worker.leases import LeaseKeeper
from crewserve.worker.memory import has_memory
from crewserve.worker.reaper import Reaper
from crewserve.worker.supervisor import Supervisor

log = logging.getLogger(__name__)

__all__ = ["create_app", "include_flow", "quiet_crewai"]

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

BindHandDriven = Callable[[HandDriven | None], None]


def create_app(
    *,
    bind_hand_driven: BindHandDriven = lambda _: None,
    settings: Settings | None = None,
) -> FlowsApi:
    """An app whose flows are those of the `flow_router`s that are included before it starts.

    *settings* come from the environment by default. *bind_hand_driven* is told what hand-written
    routers work with, and None when the server stops.
    """
    chosen = settings or Settings()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        configure_logging()
        close_routes(app)
        catalog = FlowCatalog(app.flows)
        app.input_schemas = catalog.state_schemas
        async with Server(chosen, catalog, new_name()).running() as parts:
            tracebacks = chosen.api_host in LOOPBACK
            attach(app, ApiState(parts.executions, catalog, app.execute_urls, tracebacks))
            bind_hand_driven(parts.hand_driven)
            try:
                yield
            finally:
                bind_hand_driven(None)

    app = build_app(lifespan=lifespan, max_body_bytes=chosen.max_body_bytes)
    return app


def prepare_storage(settings: Settings) -> None:
    """Make the data folder and bring the database up to date, before anything else starts.

    Raises: DatabaseUnusable, or whatever else makes that impossible.
    """
    _folder(settings, "").mkdir(parents=True, exist_ok=True)
    database = _database(settings)
    try:
        database.migrate()
    finally:
        database.close()


def quiet_crewai() -> None:
    """Prepare the API process for hand-written routers: `.env` read, no telemetry."""
    export({**environment(), **QUIET})


@dataclass(frozen=True, slots=True)
class Parts:
    """What the outer layers work with while the server runs."""

    executions: Executions
    hand_driven: HandDriven


@dataclass(frozen=True, slots=True)
class Server:
    """Everything behind one app."""

    settings: Settings
    catalog: FlowCatalog
    name: WorkerName
    engine: LocalEngine = field(default_factory=LocalEngine)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Parts]:
        """Start all parts; stop them in the reverse order."""
        async with AsyncExitStack() as stack:
            store, reader = await self._open_storage(stack)
            host = await self._open_host(stack)
            leases = LeaseKeeper(store, self.name, self.settings.lease, host.live_until, _now)
            await self._start_duties(stack, store, reader, host, leases)
            yield Parts(
                executions=self._executions(store, reader, host, leases),
                hand_driven=self._hand_driven(store, leases),
            )

    async def _open_storage(self, stack: AsyncExitStack) -> tuple[ExecutionStore, ExecutionReader]:
        database = _database(self.settings)
        stack.callback(database.close)
        await asyncio.to_thread(database.migrate)
        writer, reader = Writer(database.writing), database.reader()
        stack.callback(reader.close)
        writer.start()
        stack.callback(writer.close)
        return SqlStore(writer, database.writing.dialect), reader

    async def _open_host(self, stack: AsyncExitStack) -> ForkingHost:
        storage = self._folder("storage")
        marks = {OWNER: self.name, **await self._model(stack)}
        plan = HostPlan(
            flows=self.catalog.specs.values,
            paths=_import_paths(),
            executions=self._folder("executions"),
            storage=storage,
            log_file=self._folder("template.log"),
            environment=template_environment(environment(), storage=str(storage), extra=marks),
            spares=2 * (os.cpu_count() or 1),
        )
        host = ForkingHost(plan, self.engine.announce, self.catalog.describe)
        stack.push_async_callback(host.close)
        await host.start()
        return host

    async def _model(self, stack: AsyncExitStack) -> Mapping[str, str]:
        """The variables that tell flows which model to use."""
        if chosen := self.settings.chosen_model():
            log.info("Flows use the model %s", chosen)
            return {"MODEL": chosen}
        if missing := EmbeddedModel.missing():
            log.warning("No model is configured. %s", missing)
            return {}
        model = EmbeddedModel(log=self._folder("model.log"))
        stack.push_async_callback(model.close)
        variables = await model.open()
        log.info("Flows use the embedded model; set GEMINI_API_KEY or MODEL for a better one")
        if "crewai" in sys.modules:  # a hand-written router runs flows in this process
            export(variables)
        return variables

    async def _start_duties(
        self,
        stack: AsyncExitStack,
        store: ExecutionStore,
        reader: ExecutionReader,
        host: ForkingHost,
        leases: LeaseKeeper,
    ) -> None:
        reaper = Reaper(store, reader, is_gone, kill_strays, self.engine.announce, _now)
        supervisor = Supervisor(
            name=self.name,
            store=store,
            reader=reader,
            host=host,
            catalog=self.catalog,
            leases=leases,
            wake=self.engine.wake,
            slots=self.settings.slots,
            has_memory=has_memory,
            is_busy=processors.are_busy,
            lease=self.settings.lease,
            drain=self.settings.drain,
            clock=_now,
        )
        await reaper.reap()
        duties = {"leases": leases.keep(), "reaper": reaper.keep(), **self._listening(leases)}
        for name, duty in duties.items():
            stack.push_async_callback(_end, _begin(name, duty))
        supervising = _begin("supervisor", supervisor.keep())
        stack.push_async_callback(_drained, supervisor, supervising)

    def _listening(self, leases: LeaseKeeper) -> Mapping[str, Coroutine[Any, Any, None]]:
        """To other hosts, where there may be any."""
        if not (url := _database_url(self.settings)):
            return {}
        from crewserve.storage.listener import PostgresListener  # noqa: PLC0415  # needs an extra

        return {"listener": PostgresListener(url, self.engine.announce, leases.look).keep()}

    def _executions(
        self,
        store: ExecutionStore,
        reader: ExecutionReader,
        host: ForkingHost,
        leases: LeaseKeeper,
    ) -> Executions:
        return Executions(
            store=store,
            reader=reader,
            catalog=self.catalog,
            host=host,
            files=LocalFiles(self._folder("executions")),
            announce=self.engine.announce,
            announce_cancel=leases.look,
            new_id=_new_id,
            clock=_now,
        )

    def _hand_driven(self, store: ExecutionStore, leases: LeaseKeeper) -> HandDriven:
        return HandDriven(
            store=store,
            owner=self.name,
            lease=self.settings.lease,
            hold=leases.hold,
            release=leases.release,
            new_id=_new_id,
            clock=_now,
        )

    def _folder(self, name: str) -> Path:
        return _folder(self.settings, name)


def _begin(name: str, duty: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Run *duty* until the server stops.

    A duty that fails takes the server with it: one that looks alive but claims or renews nothing
    is worse than none.
    """
    task = asyncio.create_task(duty, name=name)
    task.add_done_callback(_stop_server_on_failure)
    return task


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


async def _drained(supervisor: Supervisor, supervising: "asyncio.Task[None]") -> None:
    """Let it finish what runs; a second signal ends the wait."""
    loop = asyncio.get_running_loop()
    supervisor.stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.hurry)
    await asyncio.wait([supervising])


def _stop_server_on_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()):
        log.critical("The %s failed; the server stops", task.get_name(), exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


def _database(settings: Settings) -> Database:
    return open_database(_database_url(settings), _folder(settings, "crewserve.db"))


def _database_url(settings: Settings) -> str | None:
    return settings.database_url.get_secret_value() if settings.database_url else None


def _folder(settings: Settings, name: str) -> Path:
    return settings.data_dir.resolve() / name


def _import_paths() -> list[str]:
    return [path for path in sys.path if Path(path or ".").is_dir()]


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> ExecutionId:
    """uuid-utils makes UUIDv7, which Python's own library has from 3.14 on."""
    return ExecutionId(uuid7())
