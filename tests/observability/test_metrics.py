"""What is counted, and how several processes answer as one."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.parser import text_string_to_metric_families

from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.execution import Claimed, Execution, Raised, Returned, apply
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow_control import QueueState
from crewserve.domain.ids import QueueName, WorkerName
from crewserve.domain.policy import Policy
from crewserve.observability.exposition import Exposition
from crewserve.observability.metrics import Metrics, queue_families
from crewserve.observability.shelf import Shelf
from crewserve.testing.builders import NOW, an_execution

LATER = NOW + timedelta(seconds=2)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"crewserve_{name}", labels)


@pytest.fixture
def metrics() -> Metrics:
    found = Metrics()
    found.tell_apart({"poem_flow"})
    return found


def claimed(**fields: Any) -> Execution:
    execution = an_execution(flow="poem_flow", **fields)
    return apply(execution, Claimed(WorkerName("me"), LATER), now=LATER)


def test_a_wait_is_from_when_it_might_begin(metrics: Metrics) -> None:
    metrics.started(claimed(available_at=LATER - timedelta(seconds=1.5)))
    assert value(metrics, "attempts_started_total", flow="poem_flow") == 1
    assert value(metrics, "execution_wait_seconds_sum", flow="poem_flow") == 1.5


def test_an_end_is_counted_with_its_status_and_duration(metrics: Metrics) -> None:
    ended = apply(claimed(), Returned(1), now=LATER + timedelta(seconds=7))
    metrics.changed(claimed())
    metrics.changed(ended)
    labels = {"flow": "poem_flow", "status": "completed"}
    assert value(metrics, "executions_finished_total", **labels) == 1
    assert value(metrics, "execution_seconds_sum", **labels) == 7


@pytest.mark.parametrize(("attempts", "retries"), [(2, 1), (1, None)])
def test_a_failure_is_a_retry_only_when_another_attempt_follows(
    metrics: Metrics, attempts: int, retries: int | None
) -> None:
    failure = Failure(code=FailureCode.WORKER_LOST, message="no")
    running = claimed(policy=Policy(max_attempts=attempts))
    metrics.raised(apply(running, Raised(failure), now=LATER))
    assert value(metrics, "retries_total", flow="poem_flow") == retries


def test_flows_that_are_not_served_share_a_label(metrics: Metrics) -> None:
    for number in range(100):
        metrics.accepted(an_execution(flow=f"made_up_{number}"))
    assert value(metrics, "executions_accepted_total", flow="other") == 100


def test_queues_that_no_flow_has_share_a_label() -> None:
    queues = [
        QueueState(name=QueueName("mine"), ready=3, oldest=NOW - timedelta(seconds=60)),
        QueueState(name=QueueName("a"), held=1, oldest=NOW - timedelta(seconds=5)),
        QueueState(name=QueueName("b"), held=2, paused_at=NOW),
    ]
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in queue_families(queues, {"mine"}, NOW)
        for sample in family.samples
    }
    assert found["crewserve_queue_executions", "mine", "ready"] == 3
    assert found["crewserve_queue_executions", "other", "held"] == 3
    assert found["crewserve_queue_oldest_seconds", "mine"] == 60
    assert found["crewserve_queue_oldest_seconds", "other"] == 5
    assert found["crewserve_queue_paused", "other"] == 1


class Process:
    """One of several on a host."""

    def __init__(self, folder: Path, name: str, is_gone: Callable[[str], bool]) -> None:
        self.registry = CollectorRegistry()
        self.counter = Counter("things", "Things.", ["kind"], registry=self.registry)
        self.gauge = Gauge("level", "Level.", registry=self.registry)
        self.shelf = Shelf(folder, name, is_gone)

    def put(self) -> None:
        self.shelf.put(self.registry.collect())

    def added_up(self) -> Mapping[str, float]:
        return {s.name: s.value for family in self.shelf.add_up() for s in family.samples}


def test_processes_are_added_up_and_what_ended_still_counts(tmp_path: Path) -> None:
    gone: set[str] = set()
    first, second = (Process(tmp_path, name, gone.__contains__) for name in ("first", "second"))
    for process in (first, second):
        process.shelf.clear()
        process.counter.labels("a").inc(2)
        process.gauge.set(5)
        process.put()
    assert first.added_up() == {"things_total": 4, "level": 10}
    gone.add("first")
    second.counter.labels("a").inc()
    second.put()
    assert second.added_up() == {"things_total": 5, "level": 5}


def test_the_first_process_of_a_host_begins_anew_and_others_do_not(tmp_path: Path) -> None:
    gone: set[str] = set()
    old = Process(tmp_path, "old", gone.__contains__)
    old.shelf.clear()
    old.counter.labels("a").inc()
    old.put()
    beside = Process(tmp_path, "beside", gone.__contains__)
    beside.shelf.clear()
    assert beside.added_up()["things_total"] == 1
    gone.add("old")
    after = Process(tmp_path, "after", gone.__contains__)
    after.shelf.clear()
    assert after.added_up() == {}


async def test_a_scrape_asks_the_database_seldom_and_does_without(
    tmp_path: Path, metrics: Metrics
) -> None:
    asked: list[QueueState] = []

    async def queues() -> list[QueueState]:
        asked.append(QueueState(name=QueueName("mine"), ready=1))
        return asked[:1]

    def exposition(name: str) -> Exposition:
        return Exposition(
            registry=metrics.registry,
            shelf=Shelf(tmp_path, name, lambda _: False),
            queues=queues if name == "reads" else unavailable,
            known_queues=lambda: {"mine"},
            clock=lambda: NOW,
        )

    metrics.accepted(an_execution(flow="poem_flow"))
    reads = exposition("reads")
    first, second = await reads.text(), await reads.text()
    assert (first, len(asked)) == (second, 1)
    names = {family.name for family in text_string_to_metric_families(first.decode())}
    assert {"crewserve_executions_accepted", "crewserve_queue_executions"} <= names
    without = (await exposition("cannot").text()).decode()
    assert "crewserve_executions_accepted_total" in without
    assert "crewserve_queue_executions" not in without


async def unavailable() -> list[QueueState]:
    raise StorageUnavailable
