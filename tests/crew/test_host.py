"""A host without a template, or with an invented child."""

import asyncio
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from crewserve.crew.child_link import ChildLink
from crewserve.crew.host import ForkingHost
from crewserve.crew.pool import Pool
from crewserve.crew.wire import Message
from crewserve.domain.errors import NotReady
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import FlowName, Tenant
from crewserve.ports import Finished, Held, Run
from crewserve.testing.builders import an_execution
from tests.support.generations import a_plan

POEM = FlowSpec(name=FlowName("poem_flow"), ref="m:PoemFlow")


async def test_what_only_a_flow_s_state_model_knows_is_not_ready(tmp_path: Path) -> None:
    host = ForkingHost(a_plan(tmp_path, POEM), on_room=lambda: None, on_described=lambda _: None)
    with pytest.raises(NotReady):
        await host.validate(POEM, {"topic": "tea"})
    with pytest.raises(NotReady):
        await host.unknown_fields(POEM, ["topic"])
    await host.close()


def test_what_crewai_remembers_is_apart_for_each_tenant_and_flow(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, POEM)
    whose = [Tenant("default"), Tenant("acme"), Tenant("rival")]
    folders = [plan.storage_of(an_execution(tenant=one)) for one in whose]
    assert len(set(folders)) == 3
    assert folders[0] == plan.storage / "poem_flow"
    assert all(one.is_relative_to(plan.storage) for one in folders)


@dataclass(eq=False)
class Child:
    """Answers at once, and offers to be used again."""

    cell: Path
    exited: "asyncio.Future[int]"

    async def ask(self, assignment: Message, *_: Any) -> Message:
        shutil.rmtree(assignment["folder"])  # as whoever deletes an execution's files
        return {"state": {}, "output": "tea", "reusable": True}


@dataclass
class Pooled:
    """Of such a child: a pool and its template."""

    ended: list[Child] = field(default_factory=list)

    @property
    def template(self) -> "Pooled":
        return self

    def end(self, child: Child) -> None:
        self.ended.append(child)
        child.exited.set_result(-9)


async def test_a_child_that_cannot_be_used_again_ends_and_its_outcome_stands(
    tmp_path: Path,
) -> None:
    host = ForkingHost(a_plan(tmp_path, POEM), on_room=lambda: None, on_described=lambda _: None)
    execution, pool, unused = an_execution(), Pooled(), cast("Any", None)
    host._children[Held(execution.id, execution.fence)] = None
    cell = tmp_path / ".cell-1"
    cell.mkdir()
    child = Child(cell, asyncio.get_running_loop().create_future())
    run = Run(POEM, execution, [], unused, unused, unused)
    outcome = await host._run_in(cast("ChildLink", child), cast("Pool", pool), run)
    assert outcome == Finished(state={}, output="tea")
    assert pool.ended == [child]
