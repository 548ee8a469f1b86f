"""What dashboards and alerts ask for is what `/metrics` says."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow_control import QueueState
from crewserve.domain.ids import QueueName
from crewserve.domain.status import Status
from crewserve.observability.exposition import Exposition
from crewserve.observability.metrics import Metrics
from crewserve.observability.shelf import Shelf
from crewserve.ports import Census
from crewserve.testing.builders import NOW, an_execution
from tests.support.api import a_bench

ROOT: Final = Path(__file__).parent.parent
ALERTS: Final = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
DASHBOARD: Final = json.loads((ROOT / "deploy/grafana/crewserve.json").read_text())
OPERATIONS: Final = (ROOT / "docs/operations.md").read_text()

ADDED: Final = frozenset({"instance"})
"""By Prometheus itself."""

CALLS: Final = frozenset(
    re.findall(
        r"\w+", "and by histogram_quantile increase label_values max on or rate sum topk unless"
    )
)


def everything_happens(metrics: Metrics) -> None:
    """Each metric gets a sample, so that its labels are seen."""
    ended = an_execution(
        Status.FAILED,
        completed_at=NOW + timedelta(seconds=1),
        failure=Failure(code=FailureCode.FLOW_ERROR, message="no"),
    )
    metrics.accepted(an_execution())
    metrics.started(an_execution(Status.RUNNING))
    metrics.changed(ended)
    metrics.raised(an_execution())
    metrics.abandoned(ended)
    metrics.lost_leases(1)
    metrics.show(lambda: Census(**dict.fromkeys(Census.__dataclass_fields__, 1)))


@pytest.fixture
async def exposed(tmp_path: Path) -> list[Metric]:
    """What an app says that has answered a request before."""
    bench = a_bench()
    metrics = bench.metrics
    everything_happens(metrics)

    async def queues() -> list[QueueState]:
        return [QueueState(name=QueueName("free_flow"), ready=1, oldest=NOW)]

    exposition = Exposition(
        registry=metrics.registry,
        shelf=Shelf(tmp_path, "this", lambda _: False),
        queues=queues,
        known_queues=bench.catalog.queues,
        clock=bench.clock,
    )
    bench.measure = exposition.text
    bench.attach()
    transport = httpx.ASGITransport(bench.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/health")
        answer = await client.get("/metrics")
    return list(text_string_to_metric_families(answer.text))


@pytest.fixture
def labels(exposed: list[Metric]) -> dict[str, set[str]]:
    """By the names of samples."""
    found: dict[str, set[str]] = {}
    for family in exposed:
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """All that is asked for, and where."""
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


ASKED: Final = list(expressions())


@pytest.mark.parametrize(("place", "expression"), ASKED, ids=[place for place, _ in ASKED])
def test_an_expression_asks_for_what_there_is(
    labels: dict[str, set[str]], place: str, expression: str
) -> None:
    assert expression.count("(") == expression.count(")"), place
    used = set(re.findall(r"\bcrewserve_\w+", expression))
    assert used
    assert used <= labels.keys()
    known = set().union(*(labels[name] for name in used)) | ADDED
    for name, selected in re.findall(r"(crewserve_\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selected)) <= labels[name]
    for grouped in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
        assert set(re.findall(r"\w+", grouped)) <= known
    assert words_of(expression) <= CALLS | known | used


def words_of(expression: str) -> set[str]:
    """Names of functions, operators and labels, without what is in quotes or a duration."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    return set(re.findall(r"\b[a-z_]\w*", bare))


def test_every_metric_is_documented_and_has_help(exposed: list[Metric]) -> None:
    for family in exposed:
        shown = family.name + ("_total" if family.type == "counter" else "")
        assert f"`{shown}`" in OPERATIONS
        assert family.documentation.endswith(".")


def test_what_is_documented_exists(exposed: list[Metric]) -> None:
    names = {family.name + ("_total" if family.type == "counter" else "") for family in exposed}
    assert set(re.findall(r"`(crewserve_\w+)`", OPERATIONS)) == names


def test_alerts_and_panels_say_what_they_are_for() -> None:
    rules: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    assert all(rule["labels"]["severity"] and rule["annotations"]["summary"] for rule in rules)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["title"] for panel in DASHBOARD["panels"])
