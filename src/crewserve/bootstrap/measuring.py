"""Showing what is measured."""

import logging
import socket

from prometheus_client import CollectorRegistry, start_http_server

from crewserve.application.queues import Queues
from crewserve.bootstrap.duties import keep
from crewserve.bootstrap.ground import Ground, now
from crewserve.domain.ids import WorkerName
from crewserve.http.answering import Answer, Observe
from crewserve.observability.exposition import Exposition, OnLoop
from crewserve.observability.metrics import Metrics
from crewserve.observability.shelf import Shelf
from crewserve.worker.identity import is_gone

log = logging.getLogger(__name__)


def count_answers(metrics: Metrics) -> Observe:
    def observe(answer: Answer) -> None:
        metrics.answered(answer.method, answer.route, answer.status, answer.seconds)

    return observe


def share_metrics(ground: Ground, queues: Queues) -> Exposition:
    """Of all API processes of this host, until the stack ends: each answers for all."""
    folder = ground.folder(f"metrics-{socket.gethostname()}")
    shelf = Shelf(folder, ground.name, lambda name: is_gone(WorkerName(name)))
    exposition = Exposition(
        registry=ground.metrics.registry,
        shelf=shelf,
        queues=queues.all,
        known_queues=ground.catalog.queues,
        clock=now,
    )
    keep(ground.stack, "metrics", exposition.keep())
    return exposition


def serve_metrics(ground: Ground) -> None:
    """Of a process that answers nothing else, if that is wanted, until the stack ends."""
    port = ground.settings.metrics_port
    if port is None:
        return
    registry = CollectorRegistry()
    registry.register(OnLoop(ground.metrics.registry))
    server, thread = start_http_server(port, ground.settings.api_host, registry)
    log.info("Metrics: http://%s:%d/metrics", *server.server_address[:2])

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    ground.stack.callback(stop)
