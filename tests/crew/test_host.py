"""A host without a template."""

from pathlib import Path

import pytest

from crewserve.crew.host import ForkingHost
from crewserve.domain.errors import NotReady
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import FlowName
from tests.support.generations import a_plan

POEM = FlowSpec(name=FlowName("poem_flow"), ref="m:PoemFlow")


async def test_what_only_a_flow_s_state_model_knows_is_not_ready(tmp_path: Path) -> None:
    host = ForkingHost(a_plan(tmp_path, POEM), on_room=lambda: None, on_described=lambda _: None)
    with pytest.raises(NotReady):
        await host.validate(POEM, {"topic": "tea"})
    with pytest.raises(NotReady):
        await host.unknown_fields(POEM, ["topic"])
    await host.close()
