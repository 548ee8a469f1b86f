"""`FlowHost` on forked processes: one template, one child per execution, one validator."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from crewserve.crew.child_link import ChildDied, ChildLink
from crewserve.crew.pool import Pool
from crewserve.crew.template_link import TemplateDied, TemplateLink, UnfitModules
from crewserve.crew.validator import Validator
from crewserve.crew.wire import Message
from crewserve.domain.errors import FieldError, NotReady
from crewserve.domain.execution import Execution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow import FlowSpec
from crewserve.ports import Described, Finished, Outcome

log = logging.getLogger(__name__)

RESTART_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Waiting times before a template that died is started again; the last one repeats."""

TIDY_SECONDS: Final = 5.0


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

    async def start(self) -> None:
        """Returns at once; the template gets ready in the background."""
        self._keeper = asyncio.create_task(self._keep_running(), name="template-keeper")

    async def close(self) -> None:
        """End the template and with it all children."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper

    @property
    def room(self) -> int:
        return self._pool.room if self._pool else 0

    async def run(self, flow: FlowSpec, execution: Execution) -> Outcome:
        """See `FlowHost`. Raises: NotReady, when there is no template."""
        pool = self._pool
        if pool is None:
            raise NotReady("The flows are still loading", retry_after=timedelta(seconds=2))
        child = await pool.acquire(flow.name)
        try:
            answer = await child.ask(self._assignment(flow, execution))
        except ChildDied as death:
            return Failure(code=FailureCode.WORKER_LOST, message=str(death))
        except asyncio.CancelledError:
            pool.template.end(child)
            await asyncio.shield(child.exited)
            raise
        if answer["reusable"]:
            pool.release(child, flow.name)
        return _outcome(answer)

    def _assignment(self, flow: FlowSpec, execution: Execution) -> Message:
        storage = self.plan.storage / flow.name
        return {
            "run": flow.ref,
            "execution_id": str(execution.id),
            "inputs": execution.inputs,
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
        if self._validator is None:
            raise NotReady("The flows are still loading", retry_after=timedelta(seconds=2))
        return await self._validator.validate(flow, inputs)

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
                self._pool, self._validator = pool, validator
                if self._deadline is not None:
                    template.live_until(self._deadline)
                await pool.refill()
                await template.listen()
                tidy.cancel()
                checker.cancel()
        finally:
            self._pool = self._validator = None
            template.kill()

    def _child_ended(self, child: ChildLink) -> None:
        if self._pool is not None:
            self._pool.forget(child)


async def _tidy(pool: Pool) -> None:
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        pool.dismiss_idle()


def _outcome(answer: Message) -> Outcome:
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
