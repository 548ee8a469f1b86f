"""`FlowHost` on forked processes: one template, one child per execution, one validator."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard

from crewserve.crew.cells import FILES, Cells
from crewserve.crew.child_link import ChildDied, ChildLink, Unreadable
from crewserve.crew.confinement import Confinement
from crewserve.crew.generation import Generation, Lifespan, census
from crewserve.crew.hearing import note
from crewserve.crew.pool import Pool, Turnover
from crewserve.crew.processes import GENERATION, OWNER
from crewserve.crew.template_link import TemplateDied, TemplateLink, UnfitModules
from crewserve.crew.used import metering
from crewserve.crew.users import Users
from crewserve.crew.validator import Validator
from crewserve.crew.wire import Message
from crewserve.domain.errors import FieldError, NotReady, StaleExecution
from crewserve.domain.execution import Execution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow import FlowSpec
from crewserve.domain.pricing import Prices
from crewserve.domain.realm import DEFAULT_TENANT
from crewserve.domain.step import Step
from crewserve.ports import Census, Described, Finished, Held, Outcome, Run, Stopped

log = logging.getLogger(__name__)

RESTART_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Waiting times before a template that died is started again; the last one repeats."""

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
    """CrewAI's own storage: a folder for each flow in it, and for each tenant one of those."""
    log_file: Path
    """Where the template process writes what nobody captured."""
    environment: Mapping[str, str]
    spares: int
    """Idle children kept ready."""
    confinement: Confinement = field(default_factory=Confinement)
    """Of each execution's process."""
    with_content: bool
    """Whether what people, models and tools say is told of events."""
    prices: Prices = field(default_factory=dict)
    lifespan: Lifespan = field(default_factory=Lifespan)
    """Of a template process."""

    def storage_of(self, execution: Execution) -> Path:
        """What CrewAI remembers of one tenant's runs of one flow. No flow is called like that."""
        whose = execution.tenant
        folder = self.storage if whose == DEFAULT_TENANT else self.storage / f"@{whose}"
        return folder / execution.flow


@dataclass(slots=True, eq=False)
class ForkingHost:
    """Keeps a template running and has its children run executions."""

    plan: HostPlan
    on_room: Callable[[], None]
    """Called when a run could begin."""
    on_described: Described
    _current: Generation | None = None
    """Where runs begin."""
    _why_not: str = "The flows are still loading"
    """Where runs cannot begin."""
    _serving: "dict[Generation, asyncio.Task[None]]" = field(default_factory=dict)
    """It, its successor that gets ready, and those before it in which something still runs."""
    _generations: int = 0
    _late: set[str] = field(default_factory=set)
    """Flows that children import for themselves."""
    _keeper: "asyncio.Task[None] | None" = None
    _users: Users | None = field(init=False)
    _deadline: float | None = None
    _children: "dict[Held, ChildLink | Literal['stop'] | None]" = field(default_factory=dict)
    """Those that run something; None before it has one, `STOP` when it shall stop even so."""
    _turnover: Turnover = field(default_factory=Turnover)

    def __post_init__(self) -> None:
        self._users = self.plan.confinement.all_users()

    async def start(self) -> None:
        """Returns at once; the template gets ready in the background."""
        self._cells.tidy()
        self._keeper = asyncio.create_task(self._keep_running(), name="template-keeper")

    async def close(self) -> None:
        """See `FlowHost`."""
        if self._keeper is not None:
            await _cancelled(self._keeper)
        await asyncio.sleep(0)  # one that has not begun would never tidy up
        await _cancelled(*self._serving.values())

    @property
    def room(self) -> int:
        return self._current.pool.room if self._is_usable(self._current) else 0

    @staticmethod
    def _is_usable(generation: Generation | None) -> TypeGuard[Generation]:
        return generation is not None and not generation.has_ended

    @property
    def resident_bytes(self) -> int:
        """Of the template processes; their children share most of it."""
        return sum(generation.resident_bytes for generation in self._serving)

    def census(self) -> Census:
        """What runs and what waits in all generations."""
        return census(self._serving, len(self._children), self._turnover)

    async def run(self, run: Run) -> Outcome:
        """See `FlowHost`. Raises: NotReady, when there is no template."""
        generation, held = self._usable(), Held(run.execution.id, run.execution.fence)
        generation.count_execution()
        self._children[held] = None
        with generation.used():
            try:
                child = await generation.pool.acquire(run.flow.name, run.execution.tenant)
                return await self._run_in(child, generation.pool, run)
            finally:
                del self._children[held]

    def _usable(self) -> Generation:
        """Raises: NotReady."""
        if self._is_usable(self._current):
            return self._current
        raise NotReady(self._why_not, retry_after=timedelta(seconds=2))

    async def _run_in(self, child: ChildLink, pool: Pool, run: Run) -> Outcome:
        folder = self.plan.executions / str(run.execution.id)
        try:
            cell, child.cell = child.cell, None
            if cell is not None:
                await self._cells.assign(cell, folder)
            answer = await self._ask(child, folder, run)
            outcome = _outcome(answer)
            if answer["reusable"]:
                await self._use_again(child, pool, run, folder)
            elif not isinstance(outcome, Finished):  # another attempt may follow at once
                await _gone(child, pool)
        except ChildDied as death:
            return Failure(code=FailureCode.WORKER_LOST, message=str(death))
        except Unreadable as error:
            await _gone(child, pool)
            return Failure(code=FailureCode.INVALID_OUTPUT, message=str(error))
        except BaseException:  # cancelled, or a defect: whatever it is, nothing of it runs on
            await _gone(child, pool)
            raise
        finally:
            self._cells.close(folder)
        return outcome

    async def _use_again(self, child: ChildLink, pool: Pool, run: Run, folder: Path) -> None:
        try:
            child.cell = await self._cells.take_back(folder)
        except OSError as error:  # its outcome stands
            log.error("A process cannot be used again: %s", error)
            await _gone(child, pool)
        else:
            pool.release(child, run.flow.name, run.execution.tenant)

    async def _ask(self, child: ChildLink, folder: Path, run: Run) -> Message:
        held = Held(run.execution.id, run.execution.fence)
        if self._children[held] is STOP:
            asyncio.get_running_loop().call_soon(child.stop)  # after the assignment is sent
        self._children[held] = child
        return await child.ask(
            self._assignment(run, folder),
            partial(_keep, run),
            partial(note, run, self.plan.prices),
            partial(_exceed, run),
        )

    @property
    def _cells(self) -> Cells:
        return Cells(self.plan.executions)

    def stop(self, held: Held) -> None:
        """See `FlowHost`."""
        child = self._children.get(held, STOP)
        if isinstance(child, ChildLink):
            child.stop()
        elif child is None:
            self._children[held] = STOP

    def _assignment(self, run: Run, folder: Path) -> Message:
        flow, execution = run.flow, run.execution
        storage = self.plan.storage_of(execution)
        return {
            "run": flow.ref,
            "execution_id": str(execution.id),
            "inputs": execution.inputs,
            "steps": [_recorded(step) for step in run.steps],
            "digest": run.steps[-1].digest if run.steps else None,
            "accepts_changes": execution.accepts_changes,
            "folder": str(folder),
            "reuse": flow.reuse,
            "with_content": self.plan.with_content,
            "meter": metering(execution, self.plan.prices),
            "environment": {
                **self.plan.confinement.variables(folder / FILES),
                "CREWAI_STORAGE_DIR": str(storage),
                "CREWSERVE_EXECUTION_ID": str(execution.id),
                "CREWSERVE_ATTEMPT": str(execution.attempt),
            },
        }

    async def validate(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> Sequence[FieldError]:
        """See `FlowHost`."""
        generation = self._usable()
        with generation.used():
            return await generation.validator.validate(flow, inputs)

    async def unknown_fields(self, flow: FlowSpec, names: Collection[str]) -> Sequence[FieldError]:
        """See `FlowHost`."""
        generation = self._usable()
        with generation.used():
            return await generation.validator.unknown_fields(flow, names)

    async def check_ready(self) -> None:
        """See `FlowHost`."""
        self._usable()

    def live_until(self, boottime: float) -> None:
        """See `FlowHost`."""
        self._deadline = boottime
        for generation in self._serving:
            generation.template.live_until(boottime)

    async def _keep_running(self) -> None:
        failures = 0
        while True:
            try:
                current = await self._succeed(await self._start_generation())
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
                self._why_not = f"{error}; it is started again"
            except Exception:  # the server would look healthy and never run anything again
                log.exception("The template process could not be started")
                self._why_not = "The template process could not be started; the log says why"
            else:
                failures = 0
                if await self._happens(current.worn, unless=[current]):
                    continue
            wait = RESTART_SECONDS[min(failures, len(RESTART_SECONDS) - 1)]
            failures += 1
            await asyncio.sleep(wait)

    async def _start_generation(self) -> Generation:
        self.plan.storage.mkdir(parents=True, exist_ok=True)
        self.plan.confinement.open_to_users(self.plan.storage)
        if not self._is_usable(self._current):
            log.info("Loading CrewAI and the flows; what is accepted meanwhile starts afterwards")
        self._generations += 1
        template = await TemplateLink.start(
            paths=self.plan.paths,
            preload=sorted({flow.ref for flow in self.plan.flows()} - self._late),
            environment={**self.plan.environment, GENERATION: str(self._generations)},
            log_file=self.plan.log_file,
            notes=self.plan.log_file.with_name("preload.json"),
            confinement=self.plan.confinement,
            cells=self._cells,
            users=self._users,
        )
        generation = Generation(
            number=self._generations,
            owner=self.plan.environment[OWNER],
            template=template,
            pool=Pool(template, self.plan.spares, self.on_room, turnover=self._turnover),
            validator=Validator(template, self.plan.flows, self.on_described),
            lifespan=self.plan.lifespan,
        )
        template.on_exit = generation.pool.forget
        self._serving[generation] = asyncio.create_task(self._serve(generation), name="template")
        if self._deadline is not None:
            template.live_until(self._deadline)
        return generation

    async def _serve(self, generation: Generation) -> None:
        try:
            if await generation.serve():
                log.info("The template process that was replaced has ended")
            else:
                log.error("The template process ended; its log is %s", self.plan.log_file)
        except Exception:  # the same: begin again with a new template
            log.exception("The template process could not be served")
        finally:
            del self._serving[generation]

    async def _succeed(self, generation: Generation) -> Generation:
        """Let *generation* take the place of the one before, as soon as it can do as much.

        Raises: TemplateDied.
        """
        before = self._current
        if self._is_usable(before):
            await self._happens(generation.validator.ready, unless=(before, generation))
        if generation.has_ended:
            raise TemplateDied("The template process ended before it could take over")
        self._current = generation
        self._why_not = "The template process ended; it is started again"
        if self._is_usable(before):
            log.info("Executions begin in a new template process now")
            before.retire()
        self.on_room()
        return generation

    async def _happens(self, event: asyncio.Event, *, unless: Collection[Generation]) -> bool:
        """Wait for it; False when one of these generations has ended before."""
        ends = [self._serving[one] for one in unless if one in self._serving]
        if len(ends) < len(unless):
            return False
        happening = asyncio.create_task(event.wait())
        try:
            done, _ = await asyncio.wait([happening, *ends], return_when="FIRST_COMPLETED")
        finally:
            happening.cancel()
        return done == {happening}


async def _cancelled(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def _gone(child: ChildLink, pool: Pool) -> None:
    """When it returns, nothing is left of the child."""
    pool.template.end(child)
    await asyncio.shield(child.exited)


def _recorded(step: Step) -> Message:
    """What the child needs of a step that ended before."""
    names = ("position", "name", "call", "result", "state", "problem")
    return {name: getattr(step, name) for name in names}


def _exceed(run: Run, raw: Message) -> None:
    code = FailureCode.BUDGET_EXCEEDED
    run.exceed(Failure(code=code, message=raw["message"], step=raw["step"]))


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
