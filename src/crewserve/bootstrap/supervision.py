"""Running executions in children of this process."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from crewserve.application.flow_reports import FlowReporting
from crewserve.bootstrap.duties import begin, keep
from crewserve.bootstrap.ground import Ground, WritingGround, now
from crewserve.bootstrap.presence import be_seen, call_roll
from crewserve.bootstrap.retention import open_retention
from crewserve.bootstrap.sandbox import confinement_of
from crewserve.crew.embedded_model import MODEL as EMBEDDED
from crewserve.crew.embedded_model import EmbeddedModel
from crewserve.crew.environment import private_parts, template_environment
from crewserve.crew.generation import Lifespan
from crewserve.crew.host import ForkingHost, HostPlan
from crewserve.crew.processes import OWNER, kill_strays
from crewserve.domain.flow import FlowDescription
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.domain.pricing import FREE
from crewserve.engines.local import LocalEngine
from crewserve.ports import Announce, Described, ExecutionStore, Work
from crewserve.settings import environment, export
from crewserve.worker import memory, processors
from crewserve.worker.deliveries import Deliveries
from crewserve.worker.glance import Glance
from crewserve.worker.heartbeat import Heartbeat
from crewserve.worker.identity import is_gone
from crewserve.worker.leases import LeaseKeeper
from crewserve.worker.reaper import Reaper
from crewserve.worker.recorder import Recorder
from crewserve.worker.supervisor import Supervisor

log = logging.getLogger(__name__)


def ignore(_: object) -> None:
    """For those who need not be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """How executions come to a supervisor."""

    wake: asyncio.Event
    announce: Announce
    deliveries: Deliveries | None = None
    on_drain: Callable[[bool], None] = ignore
    """Called when a drain was requested, or taken back."""
    on_drained: Callable[[], None] = lambda: None
    """Called when nothing runs any more; perhaps again and again."""


async def work_on_claims(
    ground: WritingGround,
    on_drained: Callable[[], None] = lambda: None,
    on_described: Described = ignore,
) -> Work:
    """The database is the queue, and several hosts may share it."""
    wake = asyncio.Event()
    announce, loop = LocalEngine(wake).announce, asyncio.get_running_loop()
    ground.store.on_let_in(lambda let_in: loop.call_soon_threadsafe(announce, let_in))
    host = await open_host(ground, wake.set, on_described)
    await open_reaper(ground, announce)
    leases = open_leases(ground, ground.store, host.live_until)
    intake = Intake(wake=wake, announce=announce, on_drained=on_drained)
    heartbeat = supervise(ground, host, leases, intake)
    return Work(
        checks=host,
        announce=announce,
        announce_cancel=leases.look,
        announce_drain=heartbeat.look,
        expect=ground.timer.expect,
    )


async def open_host(
    ground: WritingGround, on_room: Callable[[], None], on_described: Described = ignore
) -> ForkingHost:
    """The template process and its children."""
    reporting = FlowReporting(ground.catalog, ground.reports, ground.name, now)

    def describe(descriptions: Mapping[FlowName, FlowDescription]) -> None:
        reporting.describe(descriptions)
        on_described(descriptions)

    keep(ground.stack, "flow reports", reporting.keep())
    storage = ground.folder("storage")
    marks = {OWNER: ground.name, **await open_model(ground)}
    paths = _import_paths()
    plan = HostPlan(
        flows=ground.catalog.specs.values,
        paths=paths,
        executions=ground.folder("executions"),
        storage=storage,
        log_file=ground.folder("template.log"),
        environment=template_environment(
            environment(),
            storage=str(storage),
            extra=marks,
            private=private_parts(ground.settings.private_urls),
            shared=ground.settings.flow_variables,
        ),
        spares=2 * (os.cpu_count() or 1),
        lifespan=Lifespan(
            executions=ground.settings.recycle_executions,
            growth_bytes=ground.settings.recycle_growth_bytes,
        ),
        confinement=confinement_of(ground, paths),
        with_content=ground.settings.event_content,
        prices={EMBEDDED: FREE, **ground.settings.price_table()},
    )
    host = ForkingHost(plan, on_room, describe)
    ground.stack.push_async_callback(host.close)
    await host.start()
    return host


def _import_paths() -> list[str]:
    return [path for path in sys.path if Path(path or ".").is_dir()]


async def open_model(ground: Ground) -> Mapping[str, str]:
    """The variables that tell flows which model to use."""
    if chosen := ground.settings.chosen_model():
        log.info("Flows use the model %s", chosen)
        return {"MODEL": chosen}
    if missing := EmbeddedModel.missing():
        log.warning("No model is configured. %s", missing)
        return {}
    model = EmbeddedModel(log=ground.folder("model.log"))
    ground.stack.push_async_callback(model.close)
    variables = await model.open()
    log.info("Flows use the embedded model; set GEMINI_API_KEY or MODEL for a better one")
    if _runs_flows_itself():
        export(variables)
    return variables


async def open_model_for_hand_driven(ground: Ground) -> None:
    """In a process without a template."""
    if _runs_flows_itself():
        await open_model(ground)


def _runs_flows_itself() -> bool:
    """Whether there is a hand-written router: nothing else imports CrewAI here."""
    return "crewai" in sys.modules


async def open_reaper(ground: WritingGround, announce: Announce) -> None:
    """What nobody holds any more is ended or announced."""
    reaper = Reaper(ground.store, ground.reader, is_gone, kill_strays, announce, now)
    await reaper.reap()
    keep(ground.stack, "reaper", reaper.keep())
    call_roll(ground)
    open_retention(ground)


def open_leases(
    ground: Ground, store: ExecutionStore, live_until: Callable[[float], None] = ignore
) -> LeaseKeeper:
    """Renews what is held here."""
    leases = LeaseKeeper(store, ground.name, ground.settings.lease, live_until, now)
    keep(ground.stack, "leases", leases.keep())
    return leases


def supervise(
    ground: WritingGround, host: ForkingHost, leases: LeaseKeeper, intake: Intake
) -> Heartbeat:
    """Claim and run until the stack ends; then drain."""
    ground.stack.callback(ground.metrics.show(host.census))
    supervisor = _supervisor(ground, host, leases, intake)

    def on_drain(draining: bool) -> None:  # noqa: FBT001  # a callback
        intake.on_drain(draining)
        if draining:
            supervisor.pause()
        else:
            supervisor.resume()

    heartbeat = be_seen(ground, host, "celery" if intake.deliveries else "local", on_drain)
    listen(ground, intake.wake.set, leases.look, heartbeat.look)
    supervising = begin("supervisor", supervisor.keep())
    # One of several processes may get SIGTERM twice for one stop: see `cli/workers.py`.
    is_alone = ground.settings.api_workers == 1
    hurrying = {signal.SIGINT, signal.SIGTERM} if is_alone else {signal.SIGINT}
    ground.stack.push_async_callback(_drained, supervisor, supervising, hurrying)
    ground.stack.callback(heartbeat.retire)
    return heartbeat


def listen(
    ground: Ground,
    on_ready: Callable[[], None],
    on_cancel: Callable[[ExecutionId], None],
    on_request: Callable[[WorkerName], None] = ignore,
) -> None:
    """To other hosts, where there may be any."""
    if url := ground.database_url:
        from crewserve.storage.listener import PostgresListener  # noqa: PLC0415  # needs an extra

        def on_missed() -> None:
            on_ready()
            ground.live.look_at_all()

        listener = PostgresListener(
            url, on_ready, on_cancel, on_request, ground.live.look, on_missed
        )
        keep(ground.stack, "listener", listener.keep())


def _supervisor(
    ground: WritingGround, host: ForkingHost, leases: LeaseKeeper, intake: Intake
) -> Supervisor:
    return Supervisor(
        name=ground.name,
        store=ground.store,
        reader=ground.reader,
        host=host,
        catalog=ground.catalog,
        flows=ground.flows,
        leases=leases,
        wake=intake.wake,
        announce=intake.announce,
        expect=ground.timer.expect,
        slots=ground.settings.slots,
        has_memory=Glance(memory.has_memory, memory.FRESH_SECONDS),
        is_busy=Glance(processors.are_busy, processors.FRESH_SECONDS),
        lease=ground.settings.lease,
        drain=ground.settings.drain,
        clock=now,
        record_events=partial(
            Recorder,
            log=ground.events,
            output_log=ground.output,
            live=ground.live,
            with_content=ground.settings.event_content,
        ),
        on_drained=intake.on_drained,
        deliveries=intake.deliveries,
    )


async def _drained(
    supervisor: Supervisor, supervising: "asyncio.Task[None]", hurrying: Collection[signal.Signals]
) -> None:
    """Let it finish what runs; a second signal ends the wait."""
    loop = asyncio.get_running_loop()
    supervisor.stop()
    for number in hurrying:
        loop.add_signal_handler(number, supervisor.hurry)
    await asyncio.wait([supervising])
