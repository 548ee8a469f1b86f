"""A process that answers requests."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI

from crewserve.application.catalog import FlowCatalog
from crewserve.application.events import Events
from crewserve.application.executions import Executions
from crewserve.application.flow_reports import FlowFollowing
from crewserve.application.hand_driven import HandDriven
from crewserve.application.health import Check, Readiness
from crewserve.application.output import Output
from crewserve.application.queues import Queues
from crewserve.application.screening import Screening
from crewserve.application.workers import Workers
from crewserve.bootstrap.access import LOOPBACK, auditing, open_access
from crewserve.bootstrap.duties import before_signals, keep
from crewserve.bootstrap.ground import (
    Ground,
    WritingGround,
    lay_ground,
    new_id,
    now,
    open_writer,
)
from crewserve.bootstrap.logs import set_up_logging
from crewserve.bootstrap.measuring import count_answers, share_metrics
from crewserve.bootstrap.sharing import Site, share_host
from crewserve.bootstrap.supervision import (
    ignore,
    listen,
    open_leases,
    open_model_for_hand_driven,
    open_reaper,
)
from crewserve.crew.environment import QUIET
from crewserve.domain.ids import FlowName
from crewserve.http.answering import log_answer
from crewserve.http.app import FlowsApi, Reach, build_app, close_routes
from crewserve.http.deps import ApiState, attach
from crewserve.http.gate import asking
from crewserve.observability.metrics import Metrics
from crewserve.ports import ExecutionStore, Work
from crewserve.settings import Settings, environment, export
from crewserve.storage.event_log import ReadEvents
from crewserve.storage.files import LocalFiles
from crewserve.storage.output import ReadOutput

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
    chosen, metrics = settings or Settings(), Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        set_up_logging(chosen)
        close_routes(app)
        catalog = FlowCatalog(app.flows)
        app.input_schemas = catalog.state_schemas
        async with AsyncExitStack() as stack:
            site = await _open(stack, chosen, catalog, metrics)
            ground, store = site.ground, site.store
            before_signals(ground.live.close)
            state = _state(site, catalog, app.execute_urls)
            attach(app, state)
            bind_hand_driven(_hand_driven(ground, store))
            stack.callback(bind_hand_driven, None)
            yield

    app = build_app(
        lifespan=lifespan,
        max_body_bytes=chosen.max_body_bytes,
        observers=[count_answers(metrics), *([log_answer] if chosen.access_log else [])],
        reach=Reach(hosts=chosen.allowed_hosts, origins=chosen.cors_origins),
    )
    return app


def quiet_crewai() -> None:
    """Prepare the API process for hand-written routers: `.env` read, no telemetry."""
    export({**environment(), **QUIET})


async def _open(
    stack: AsyncExitStack, settings: Settings, catalog: FlowCatalog, metrics: Metrics
) -> Site:
    ground = await lay_ground(stack, settings, catalog, metrics)
    if not ground.broker_url:
        return await share_host(ground)
    writing = open_writer(ground)
    work, check_broker = await _hand_to_workers(writing, ground.broker_url)
    checks = {"store": ground.reader.check, "broker": check_broker}
    return Site(
        ground, writing.store, writing.workers, writing.api_keys, writing.audit, work, checks
    )


async def _hand_to_workers(ground: WritingGround, url: str) -> tuple[Work, Check]:
    """Run nothing here, so load no flows either."""
    from crewserve.bootstrap.brokered import (  # noqa: PLC0415  # extra
        broker_of,
        check_broker,
        open_publisher,
    )

    announce = open_publisher(ground, broker_of(ground, url))
    following = FlowFollowing(ground.catalog, ground.reports)
    await following.look()
    keep(ground.stack, "flow reports", following.keep())
    await open_model_for_hand_driven(ground)
    await open_reaper(ground, announce)
    listen(ground, lambda: None, ignore)
    checks = Screening(ground.catalog)
    work = Work(checks=checks, announce=announce, expect=ground.timer.expect)
    return work, partial(check_broker, ground, url)


def _state(site: Site, catalog: FlowCatalog, urls: Mapping[FlowName, str]) -> ApiState:
    reader, work = site.ground.reader, site.work
    audit = auditing(site.audit)
    access, api_keys = open_access(site.ground, site.api_keys, audit)
    queues = Queues(store=site.store, reader=reader, catalog=catalog, clock=now)
    return ApiState(
        executions=_executions(site.ground, site.store, work),
        queues=queues,
        events=Events(log=ReadEvents(reader), reader=reader, live=site.ground.live),
        output=Output(log=ReadOutput(reader), reader=reader, live=site.ground.live),
        catalog=catalog,
        execute_urls=urls,
        tracebacks=site.ground.settings.api_host in LOOPBACK,
        workers=Workers(registry=site.workers, announce_drain=work.announce_drain, clock=now),
        readiness=Readiness(site.checks),
        access=access,
        api_keys=api_keys,
        metrics=share_metrics(site.ground, queues).text,
        audit=audit,
    )


def _executions(ground: Ground, store: ExecutionStore, work: Work) -> Executions:
    return Executions(
        store=store,
        reader=ground.reader,
        catalog=ground.catalog,
        host=work.checks,
        files=LocalFiles(ground.folder("executions")),
        announce=work.announce,
        announce_cancel=work.announce_cancel,
        expect=work.expect,
        new_id=new_id,
        clock=now,
    )


def _hand_driven(ground: Ground, store: ExecutionStore) -> HandDriven:
    leases = open_leases(ground, store)
    return HandDriven(
        store=store,
        owner=ground.name,
        lease=ground.settings.lease,
        hold=leases.hold,
        release=leases.release,
        asking=asking.get,
        new_id=new_id,
        clock=now,
    )
