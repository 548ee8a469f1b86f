"""A host without a template."""

from pathlib import Path

import pytest

from crewserve.crew.host import ForkingHost
from crewserve.domain.errors import NotReady
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import FlowName, Tenant
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
