"""A process that answers requests."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from crewserve.application.catalog import FlowCatalog
from crewserve.application.executions import Executions
from crewserve.application.flow_reports import FlowFollowing
from crewserve.application.hand_driven import HandDriven
from crewserve.application.queues import Queues
from crewserve.application.screening import Screening
from crewserve.application.workers import Workers
from crewserve.bootstrap.duties import keep
from crewserve.bootstrap.ground import Ground, lay_ground, new_id, now
from crewserve.bootstrap.supervision import open_leases, open_model, work_on_claims
from crewserve.crew.environment import QUIET
from crewserve.http.app import FlowsApi, build_app, close_routes
from crewserve.http.deps import ApiState, attach
from crewserve.observability.logging import configure_logging
from crewserve.ports import Announce, AnnounceDrain, ChecksInputs
from crewserve.settings import Settings, environment, export
from crewserve.storage.files import LocalFiles
from crewserve.worker.leases import LeaseKeeper

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
        async with AsyncExitStack() as stack:
            ground = await lay_ground(stack, chosen, catalog)
            engine = await _open_engine(ground)
            executions = _executions(ground, engine)
            workers = Workers(
                registry=ground.workers, announce_drain=engine.announce_drain, clock=now
            )
            tracebacks = chosen.api_host in LOOPBACK
            queues = Queues(store=ground.store, reader=ground.reader, catalog=catalog, clock=now)
            urls = app.execute_urls
            attach(app, ApiState(executions, queues, catalog, urls, tracebacks, workers))
            bind_hand_driven(_hand_driven(ground, engine.leases))
            stack.callback(bind_hand_driven, None)
            yield

    app = build_app(lifespan=lifespan, max_body_bytes=chosen.max_body_bytes)
    return app


def quiet_crewai() -> None:
    """Prepare the API process for hand-written routers: `.env` read, no telemetry."""
    export({**environment(), **QUIET})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Engine:
    announce: Announce
    announce_drain: AnnounceDrain
    leases: LeaseKeeper
    checks: ChecksInputs


async def _open_engine(ground: Ground) -> _Engine:
    if url := ground.broker_url:
        return await _hand_to_workers(ground, url)
    work = await work_on_claims(ground, on_drained=lambda: None)
    return _Engine(
        announce=work.announce,
        announce_drain=work.announce_drain,
        leases=work.leases,
        checks=work.host,
    )


async def _hand_to_workers(ground: Ground, url: str) -> _Engine:
    """Run nothing here, so load no flows either."""
    from crewserve.bootstrap.brokered import broker_of, open_publisher  # noqa: PLC0415  # extra

    announce = open_publisher(ground, broker_of(ground, url))
    following = FlowFollowing(ground.catalog, ground.reports)
    await following.look()
    keep(ground.stack, "flow reports", following.keep())
    if "crewai" in sys.modules:  # hand-written routers run flows here all the same
        await open_model(ground)
    leases = await open_leases(ground, announce)
    return _Engine(
        announce=announce,
        announce_drain=lambda _: None,  # the database tells
        leases=leases,
        checks=Screening(ground.catalog),
    )


def _executions(ground: Ground, engine: _Engine) -> Executions:
    return Executions(
        store=ground.store,
        reader=ground.reader,
        catalog=ground.catalog,
        host=engine.checks,
        files=LocalFiles(ground.folder("executions")),
        announce=engine.announce,
        announce_cancel=engine.leases.look,
        expect=ground.timer.expect,
        new_id=new_id,
        clock=now,
    )


def _hand_driven(ground: Ground, leases: LeaseKeeper) -> HandDriven:
    return HandDriven(
        store=ground.store,
        owner=ground.name,
        lease=ground.settings.lease,
        hold=leases.hold,
        release=leases.release,
        new_id=new_id,
        clock=now,
    )
