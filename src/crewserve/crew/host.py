"""`FlowHost` on forked processes: one template, one child per execution, one validator."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from crewserve.crew.child_link import ChildDied, ChildLink, Unreadable
from crewserve.crew.pool import Pool
from crewserve.crew.processes import OWNER, kill_strays, resident_bytes
from crewserve.crew.template_link import TemplateDied, TemplateLink, UnfitModules
from crewserve.crew.validator import Validator
from crewserve.crew.wire import Message
from crewserve.domain.errors import FieldError, NotReady, StaleExecution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow import FlowSpec
from crewserve.domain.step import Step
from crewserve.ports import Described, Finished, Held, Outcome, Run, Stopped

log = logging.getLogger(__name__)

RESTART_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Waiting times before a template that died is started again; the last one repeats."""

TIDY_SECONDS: Final = 5.0

STOP: Final = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """What a host must know about its surroundings."""

    flows: Callable[[], Collection[FlowSpec]]
    paths: Sequence[str]
    """Folders from which flows are imported."""
    executions: Path
    """Each execution gets a folder in it, called by its id."""
    storage: Path
    """CrewAI's own storage: a folder for each flow in it."""
    log_file: Path
    """Where the template process writes what nobody captured."""
    environment: Mapping[str, str]
    spares: int
    """Idle children kept ready."""


@dataclass(slots=True, eq=False)
class ForkingHost:
    """Keeps a template running and has its children run executions."""

    plan: HostPlan
    on_room: Callable[[], None]
    """Called when a run could begin."""
    on_described: Described
    _pool: Pool | None = None
    _validator: Validator | None = None
    _late: set[str] = field(default_factory=set)
    """Flows that children import for themselves."""
    _keeper: "asyncio.Task[None] | None" = None
    _deadline: float | None = None
    _children: "dict[Held, ChildLink | Literal['stop'] | None]" = field(default_factory=dict)
    """Those that run something; None before it has one, `STOP` when it shall stop even so."""

    async def start(self) -> None:
        """Returns at once; the template gets ready in the background."""
        self._keeper = asyncio.create_task(self._keep_running(), name="template-keeper")

    async def close(self) -> None:
        """See `FlowHost`."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper

    @property
    def room(self) -> int:
        return self._pool.room if self._pool else 0

    @property
    def resident_bytes(self) -> int:
        """Of the template process; its children share most of it."""
        return resident_bytes(self._pool.template.process.pid) if self._pool else 0

    async def run(self, run: Run) -> Outcome:
        """See `FlowHost`. Raises: NotReady, when there is no template."""
        pool, execution = self._pool, run.execution
        if pool is None:
            raise NotReady("The flows are still loading", retry_after=timedelta(seconds=2))
        held = Held(execution.id, execution.fence)
        self._children[held] = None
        try:
            child = await pool.acquire(run.flow.name)
            return await self._run_in(child, pool, run)
        finally:
            del self._children[held]

    async def _run_in(self, child: ChildLink, pool: Pool, run: Run) -> Outcome:
        held = Held(run.execution.id, run.execution.fence)
        if self._children[held] is STOP:
            asyncio.get_running_loop().call_soon(child.stop)  # after the assignment is sent
        self._children[held] = child
        try:
            answer = await child.ask(self._assignment(run), lambda raw: _keep(run, raw))
        except ChildDied as death:
            return Failure(code=FailureCode.WORKER_LOST, message=str(death))
        except Unreadable as error:
            await _gone(child, pool)
            return Failure(code=FailureCode.INVALID_OUTPUT, message=str(error))
        except BaseException:  # cancelled, or a defect: whatever it is, nothing of it runs on
            await _gone(child, pool)
            raise
        outcome = _outcome(answer)
        if answer["reusable"]:
            pool.release(child, run.flow.name)
        elif not isinstance(outcome, Finished):  # another attempt may follow at once
            await _gone(child, pool)
        return outcome

    def stop(self, held: Held) -> None:
        """See `FlowHost`."""
        child = self._children.get(held, STOP)
        if isinstance(child, ChildLink):
            child.stop()
        elif child is None:
            self._children[held] = STOP

    def _assignment(self, run: Run) -> Message:
        flow, execution = run.flow, run.execution
        storage = self.plan.storage / flow.name
        return {
            "run": flow.ref,
            "execution_id": str(execution.id),
            "inputs": execution.inputs,
            "steps": [_recorded(step) for step in run.steps],
            "digest": run.steps[-1].digest if run.steps else None,
            "accepts_changes": execution.accepts_changes,
            "folder": str(self.plan.executions / str(execution.id)),
            "reuse": flow.reuse,
            "environment": {
                "CREWAI_STORAGE_DIR": str(storage),
                "CREWSERVE_EXECUTION_ID": str(execution.id),
                "CREWSERVE_ATTEMPT": str(execution.attempt),
            },
        }

    async def validate(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> Sequence[FieldError]:
        """See `FlowHost`."""
        return await self._checker().validate(flow, inputs)

    async def unknown_fields(self, flow: FlowSpec, names: Collection[str]) -> Sequence[FieldError]:
        """See `FlowHost`."""
        return await self._checker().unknown_fields(flow, names)

    def _checker(self) -> Validator:
        if self._validator is None:
            raise NotReady("The flows are still loading", retry_after=timedelta(seconds=2))
        return self._validator

    def live_until(self, boottime: float) -> None:
        """See `FlowHost`."""
        self._deadline = boottime
        if self._pool is not None:
            self._pool.template.live_until(boottime)

    async def _keep_running(self) -> None:
        failures = 0
        while True:
            try:
                template = await self._start_template()
            except UnfitModules as unfit:
                self._late.update(unfit.refs)
                log.warning(
                    "Importing %s starts threads or emits CrewAI events (a Flow made at module "
                    "level does), so every execution imports it anew, which is slower",
                    unfit,
                )
                continue
            except TemplateDied as error:
                log.error("%s; its log is %s", error, self.plan.log_file)
            except Exception:  # the server would look healthy and never run anything again
                log.exception("The template process could not be started")
            else:
                failures = 0
                await self._serve_and_survive(template)
            wait = RESTART_SECONDS[min(failures, len(RESTART_SECONDS) - 1)]
            failures += 1
            await asyncio.sleep(wait)

    async def _serve_and_survive(self, template: TemplateLink) -> None:
        try:
            await self._serve(template)
            log.error("The template process ended; its log is %s", self.plan.log_file)
        except Exception:  # the same: begin again with a new template
            log.exception("The template process could not be served")

    async def _start_template(self) -> TemplateLink:
        self.plan.storage.mkdir(parents=True, exist_ok=True)
        log.info("Loading CrewAI and the flows; what is accepted meanwhile starts afterwards")
        refs = sorted({flow.ref for flow in self.plan.flows()} - self._late)
        return await TemplateLink.start(
            paths=self.plan.paths,
            preload=refs,
            environment=self.plan.environment,
            log_file=self.plan.log_file,
            notes=self.plan.storage / "preload.json",
            on_exit=self._child_ended,
        )

    async def _serve(self, template: TemplateLink) -> None:
        """Until the template ends."""
        pool = Pool(template, self.plan.spares, self.on_room)
        validator = Validator(template, self.plan.flows, self.on_described)
        try:
            async with asyncio.TaskGroup() as group:
                tidy = group.create_task(_tidy(pool), name="pool-tidy")
                checker = group.create_task(validator.keep_running(), name="validator")
                watcher = group.create_task(template.watch(), name="template-watcher")
                self._pool, self._validator = pool, validator
                if self._deadline is not None:
                    template.live_until(self._deadline)
                await pool.refill()
                await template.listen()
                for task in (tidy, checker, watcher):
                    task.cancel()
        finally:
            self._pool = self._validator = None
            pool.close()
            await asyncio.shield(self._end(template))

    async def _end(self, template: TemplateLink) -> None:
        """When it returns, nothing runs that a flow had started."""
        await template.close()
        await asyncio.to_thread(kill_strays, self.plan.environment[OWNER])
        template.bury_all()

    def _child_ended(self, child: ChildLink) -> None:
        if self._pool is not None:
            self._pool.forget(child)


async def _gone(child: ChildLink, pool: Pool) -> None:
    """When it returns, nothing is left of the child."""
    pool.template.end(child)
    await asyncio.shield(child.exited)


async def _tidy(pool: Pool) -> None:
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        pool.dismiss_idle()
        try:
            await pool.refill()  # in case that a fork failed
        except OSError as error:
            log.error("No process can be prepared: %s", error)


def _recorded(step: Step) -> Message:
    """What the child needs of a step that ended before."""
    names = ("position", "name", "call", "result", "state", "problem")
    return {name: getattr(step, name) for name in names}


async def _keep(run: Run, raw: Message) -> bool:
    started = datetime.fromtimestamp(raw.pop("started"), UTC)
    ended = datetime.fromtimestamp(raw.pop("ended"), UTC)
    try:
        await run.record(
            Step(**raw, started_at=started, ended_at=ended, attempt=run.execution.attempt)
        )
    except StaleExecution:
        return False  # its lease is lost; whoever has it kills the process
    return True


def _outcome(answer: Message) -> Outcome:
    if "stopped" in answer:
        return Stopped()
    failure = answer.get("failure")
    if failure is None:
        return Finished(state=answer["state"], output=answer["output"])
    return Failure(
        code=FailureCode(failure["code"]),
        message=failure["message"],
        type=failure.get("type"),
        step=failure.get("step"),
        traceback=failure.get("traceback"),
    )
