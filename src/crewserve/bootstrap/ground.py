"""What every kind of process stands on: settings, storage, a name, a clock."""

import asyncio
import logging
from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from uuid_utils.compat import uuid7

from crewserve.application.catalog import FlowCatalog
from crewserve.application.live import Live
from crewserve.bootstrap.duties import keep
from crewserve.bootstrap.metered import MeteredStore
from crewserve.crew.processes import hide
from crewserve.domain.ids import AuditId, ExecutionId, FlowName, WorkerName
from crewserve.observability.metrics import Metrics
from crewserve.ports import (
    ApiKeyStore,
    AuditLog,
    EventLog,
    ExecutionStore,
    FlowReports,
    OutputLog,
    WorkerRegistry,
)
from crewserve.ports.retention import RetentionStore
from crewserve.settings import Settings
from crewserve.storage.api_keys import SqlApiKeys
from crewserve.storage.audit import SqlAudit
from crewserve.storage.database import Database, open_database
from crewserve.storage.event_log import SqlEventLog
from crewserve.storage.flow_reports import SqlFlowReports
from crewserve.storage.output import SqlOutput
from crewserve.storage.retention import SqlRetention
from crewserve.storage.sql_reader import SqlReader
from crewserve.storage.workers import SqlWorkers
from crewserve.storage.writer import Writer
from crewserve.worker.identity import new_name
from crewserve.worker.timer import Timer

log = logging.getLogger(__name__)

TOLD: Final = timedelta(seconds=15)
"""Readers are told of everything. That they look unasked is only the backstop."""

UNTOLD: Final = timedelta(milliseconds=150)
"""Readers beside another process that writes to SQLite look unasked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Parts that are built on it add to its stack how they stop."""

    settings: Settings
    catalog: FlowCatalog
    stack: AsyncExitStack
    name: WorkerName
    database: Database
    reader: SqlReader
    live: Live
    metrics: Metrics

    @property
    def flows(self) -> Collection[FlowName]:
        """Those that this process may run."""
        return self.catalog.of_queues(self.settings.queues)

    @property
    def database_url(self) -> str | None:
        return database_url(self.settings)

    @property
    def broker_url(self) -> str | None:
        url = self.settings.broker_url
        return url.get_secret_value() if url else None

    def folder(self, name: str) -> Path:
        """In the data folder."""
        return folder(self.settings, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingGround(Ground):
    """Of a process that writes to the database itself."""

    store: ExecutionStore
    reports: FlowReports
    workers: WorkerRegistry
    api_keys: ApiKeyStore
    audit: AuditLog
    events: EventLog
    output: OutputLog
    retention: RetentionStore
    timer: Timer


async def lay_ground(
    stack: AsyncExitStack, settings: Settings, catalog: FlowCatalog, metrics: Metrics
) -> Ground:
    """Open the storage, up to date, to be read."""
    if settings.sandbox:
        hide()
    _check_queues(settings, catalog)
    metrics.tell_apart(catalog.specs)
    database = _database(settings)
    stack.callback(database.close)
    await asyncio.to_thread(database.migrate)
    reader = database.reader()
    stack.callback(reader.close)
    return Ground(
        settings=settings,
        catalog=catalog,
        stack=stack,
        name=new_name(),
        database=database,
        reader=reader,
        live=Live(TOLD),
        metrics=metrics,
    )


def open_writer(ground: Ground) -> WritingGround:
    """Open the storage to be written as well."""
    writer, dialect = Writer(ground.database.writing), ground.database.writing.dialect
    writer.start()
    ground.stack.callback(writer.close)
    store = MeteredStore(writer, dialect, ground.live.look, ground.metrics)
    timer = Timer(store, now)
    keep(ground.stack, "timer", timer.keep())
    return WritingGround(
        settings=ground.settings,
        catalog=ground.catalog,
        stack=ground.stack,
        name=ground.name,
        database=ground.database,
        reader=ground.reader,
        live=ground.live,
        metrics=ground.metrics,
        store=store,
        reports=SqlFlowReports(writer, ground.reader, dialect),
        workers=SqlWorkers(writer, ground.reader, dialect),
        api_keys=SqlApiKeys(writer, ground.reader, dialect),
        audit=SqlAudit(writer, ground.reader, dialect),
        events=SqlEventLog(writer, ground.reader, dialect),
        output=SqlOutput(writer, ground.reader, dialect),
        retention=SqlRetention(writer, ground.reader, ground.database.reading),
        timer=timer,
    )


def _check_queues(settings: Settings, catalog: FlowCatalog) -> None:
    known = catalog.queues()
    if unknown := set(settings.queues) - set(known):
        names, there = ", ".join(sorted(unknown)), ", ".join(sorted(known))
        log.warning(
            "CREWSERVE_QUEUES names %s, which no flow here has; there are: %s", names, there
        )


def prepare_storage(settings: Settings) -> None:
    """Make the data folder and bring the database up to date, before anything else starts.

    Raises: DatabaseUnusable, or whatever else makes that impossible.
    """
    folder(settings, "").mkdir(parents=True, exist_ok=True)
    database = _database(settings)
    try:
        database.migrate()
    finally:
        database.close()


def _database(settings: Settings) -> Database:
    return open_database(database_url(settings), folder(settings, "crewserve.db"))


def database_url(settings: Settings) -> str | None:
    return settings.database_url.get_secret_value() if settings.database_url else None


def folder(settings: Settings, name: str) -> Path:
    return settings.data_dir.resolve() / name


def now() -> datetime:
    return datetime.now(UTC)


def new_audit_id() -> AuditId:
    return AuditId(uuid7())


def new_id() -> ExecutionId:
    """uuid-utils makes UUIDv7, which Python's own library has from 3.14 on."""
    return ExecutionId(uuid7())
