"""Seeing each request answered: who asked for what, how it ended, how long it took."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("crewserve.access")

PROBES: Final = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Asked every few seconds by machines; nobody wants to read that."""

UNKNOWN: Final = "unknown"

METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


@dataclass(frozen=True, slots=True)
class Answer:
    """Its texts are few, whatever clients send: they are fit for the labels of a metric."""

    method: str
    """One of `METHODS`, else ``OTHER``."""
    route: str
    """The path with names for its parameters; ``unknown`` when there is no such route."""
    status: int
    seconds: float
    """Until the last byte was handed over, so for a stream as long as it was open."""


Observe = Callable[[Answer], None]


class Answering:
    """ASGI middleware that shows every answer to those who want to see it."""

    def __init__(self, app: ASGIApp, *, observers: Sequence[Observe]) -> None:
        self._app = app
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value  # unless an answer begins

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_seen)
        finally:
            answer = _answer(scope, status, time.perf_counter() - began)
            for observe in self._observers:
                observe(answer)


def log_answer(answer: Answer) -> None:
    """The access log: one line for each request that is no probe."""
    if answer.route in PROBES:
        return
    fields = {
        "method": answer.method,
        "route": answer.route,
        "status": answer.status,
        "duration_ms": round(answer.seconds * 1000, 1),
    }
    log.info("Answered", extra=fields)


def _answer(scope: Scope, status: int, seconds: float) -> Answer:
    method = scope["method"]
    return Answer(method if method in METHODS else "OTHER", _route(scope), status, seconds)


def _route(scope: Scope) -> str:
    """FastAPI's own note of it has the prefixes of routers, which ``route`` lacks."""
    noted = scope.get("fastapi", {}).get("effective_route_context")
    return getattr(noted or scope.get("route"), "path_format", UNKNOWN)
