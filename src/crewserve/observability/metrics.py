"""What one process counts and measures."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from crewserve.domain.execution import Execution
from crewserve.domain.flow_control import QueueState
from crewserve.domain.status import Status
from crewserve.ports import Census

OTHER: Final = "other"
"""Flows and queues that this deployment does not have (any more), so that labels stay few."""

FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds, for requests."""

SLOW: Final = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Seconds, for executions."""


class Metrics:
    """Anybody may call it from any thread. A call costs a few microseconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._flows: Collection[str] = ()
        self._requests = self._counter(
            "http_requests", "Requests answered.", "method", "route", "status"
        )
        self._request_seconds = self._histogram(
            "http_request_seconds", "Until the last byte.", FAST, "method", "route"
        )
        self._accepted = self._counter("executions_accepted", "Executions accepted.", "flow")
        self._started = self._counter("attempts_started", "Attempts begun.", "flow")
        self._wait = self._histogram(
            "execution_wait_seconds", "From when an attempt might begin to when it did.", SLOW,
            "flow",
        )  # fmt: skip
        self._finished = self._counter(
            "executions_finished", "Executions ended, by how.", "flow", "status"
        )
        self._duration = self._histogram(
            "execution_seconds", "Of the last attempt.", SLOW, "flow", "status"
        )
        self._retries = self._counter("retries", "Attempts that failed and are repeated.", "flow")
        self._lost = self._counter(
            "workers_lost", "Attempts ended because nobody renewed their lease.", "flow"
        )
        self._leases_lost = self._counter("leases_lost", "Leases that this process lost.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"crewserve_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(
            f"crewserve_{name}", text, labels, registry=self.registry, buckets=tuple(buckets)
        )

    def tell_apart(self, flows: Collection[str]) -> None:
        """Count these flows each for itself, all others together."""
        self._flows = flows

    def show(self, processes: Callable[[], Census]) -> Callable[[], None]:
        """From now on show them as well, until what is returned is called."""
        population = Population(processes)
        self.registry.register(population)
        return lambda: self.registry.unregister(population)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request."""
        self._requests.labels(method, route, f"{status // 100}xx").inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def accepted(self, execution: Execution) -> None:
        """It was recorded."""
        self._accepted.labels(self._flow(execution)).inc()

    def started(self, execution: Execution) -> None:
        """It was claimed."""
        flow = self._flow(execution)
        self._started.labels(flow).inc()
        if execution.started_at is not None:
            waited = (execution.started_at - execution.available_at).total_seconds()
            self._wait.labels(flow).observe(max(0.0, waited))

    def changed(self, execution: Execution) -> None:
        """It is now as it is; if it has ended, it has just done so."""
        if not execution.status.is_terminal:
            return
        flow, status = self._flow(execution), execution.status.value
        self._finished.labels(flow, status).inc()
        if execution.started_at is not None and execution.completed_at is not None:
            ran = (execution.completed_at - execution.started_at).total_seconds()
            self._duration.labels(flow, status).observe(max(0.0, ran))

    def raised(self, execution: Execution) -> None:
        """An attempt of it failed; it is as *execution* now."""
        if execution.status is Status.PENDING:
            self._retries.labels(self._flow(execution)).inc()

    def abandoned(self, execution: Execution) -> None:
        """Its worker was lost; it is as *execution* now."""
        self._lost.labels(self._flow(execution)).inc()

    def lost_leases(self, number: int) -> None:
        """Others may run what this process ran."""
        if number:
            self._leases_lost.inc(number)

    def _flow(self, execution: Execution) -> str:
        return execution.flow if execution.flow in self._flows else OTHER


class Population(Collector):
    """Shows the processes that run executions, as they are when somebody looks."""

    def __init__(self, look: Callable[[], Census]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        """Called on the event loop."""
        found = self._look()
        children = GaugeMetricFamily(
            "crewserve_children", "Processes for executions, by what they do.", labels=["state"]
        )
        children.add_metric(["busy"], found.busy)
        children.add_metric(["idle"], found.idle)
        yield children
        forked, exited = "Processes for executions begun.", "Processes for executions ended."
        yield CounterMetricFamily("crewserve_children_forked", forked, found.forked)
        yield CounterMetricFamily("crewserve_children_exited", exited, found.exited)
        yield GaugeMetricFamily(
            "crewserve_template_resident_bytes",
            "Memory of the template processes.",
            found.template_bytes,
        )
        yield GaugeMetricFamily(
            "crewserve_child_resident_bytes_max",
            "Memory of the largest process of an execution, pages that it shares included.",
            found.largest_child_bytes,
        )


def queue_families(
    queues: Sequence[QueueState], known: Collection[str], now: datetime
) -> Iterable[Metric]:
    """What waits, of the *known* queues each and of all others together."""
    waiting = GaugeMetricFamily(
        "crewserve_queue_executions", "Executions in a queue.", labels=["queue", "state"]
    )
    oldest = GaugeMetricFamily(
        "crewserve_queue_oldest_seconds",
        "Since the oldest was accepted of those that are ready or held.",
        labels=["queue"],
    )
    paused = GaugeMetricFamily("crewserve_queue_paused", "Whether it is paused.", labels=["queue"])
    for name, states in _grouped(queues, known).items():
        for state in ("ready", "held", "early", "running"):
            waiting.add_metric([name, state], sum(getattr(one, state) for one in states))
        since = min((one.oldest for one in states if one.oldest is not None), default=now)
        oldest.add_metric([name], max(0.0, (now - since).total_seconds()))
        paused.add_metric([name], float(any(one.paused_at is not None for one in states)))
    return [waiting, oldest, paused]


def _grouped(
    queues: Sequence[QueueState], known: Collection[str]
) -> Mapping[str, Sequence[QueueState]]:
    grouped: dict[str, list[QueueState]] = defaultdict(list)
    for queue in queues:
        grouped[queue.name if queue.name in known else OTHER].append(queue)
    return grouped
