"""The FastAPI application."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import FlowName, path_of
from crewserve.http import problems
from crewserve.http.answering import Answering, Observe
from crewserve.http.body_limit import BodyLimit
from crewserve.http.flow_router import FlowRouter
from crewserve.http.gate import Gate, asking
from crewserve.http.hosts import Hosts
from crewserve.http.openapi import complete, without_flows
from crewserve.http.request_id import RequestIds
from crewserve.http.routes import (
    api_keys,
    audit,
    docs,
    executions,
    flows,
    metrics,
    queues,
    root,
    unknown,
    usage,
    workers,
)
from crewserve.http.scopes import Rules
from crewserve.http.security_headers import SecurityHeaders

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


ASKED: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Last-Event-ID",
    "Prefer",
    "Traceparent",
    "X-API-Key",
    "X-Request-ID",
)
TOLD: Final = ("Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID")
"""Headers that pages of other origins may send, and may see."""


class FlowsApi(FastAPI):
    """FastAPI that knows which flows the included routers serve."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flows: dict[FlowName, FlowSpec] = {}
        self.execute_urls: dict[FlowName, str] = {}
        self.input_schemas: Callable[[], Mapping[FlowName, Mapping[str, Any]]] = dict
        """Schemas of flows without a request model; `bootstrap` sets it."""
        self.lists_executions = False
        self.rules = Rules({})
        """What requests need; complete when `close_routes` was called."""

    def include_router(self, router: APIRouter, *, prefix: str = "", **options: Any) -> None:
        """As FastAPI does; a `flow_router` is also noted in the catalog.

        Raises ValueError when two flows have one name.
        """
        if isinstance(router, FlowRouter):
            self._note(router.flow, f"{prefix}{router.prefix}/execute")
        self.lists_executions |= router is executions.router
        super().include_router(router, prefix=prefix, **options)

    def _note(self, flow: FlowSpec, execute_url: str) -> None:
        known = self.flows.setdefault(flow.name, flow)
        if known is not flow:
            raise ValueError(
                f"Two flows are called {flow.name!r}: {known.ref} and {flow.ref}; give one of "
                "them another name with flow_router(..., name=...)"
            )
        self.execute_urls[flow.name] = execute_url

    def build_middleware_stack(self) -> ASGIApp:
        """As Starlette does; errors of the server are answered outside of its other middleware."""
        return SecurityHeaders(super().build_middleware_stack())

    def openapi(self) -> dict[str, Any]:
        """The document for who asks, never cached: it grows when flows have loaded."""
        self.openapi_schema = None
        whole = complete(super().openapi(), self.execute_urls, self.input_schemas(), self.rules)
        principal = asking.get()
        hidden = [one for one in self.flows if principal and not principal.realm.has_flow(one)]
        return without_flows(whole, self.rules, hidden) if hidden else whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """From where browsers may use an app."""

    hosts: Sequence[str] = ()
    """Names under which it is asked, beside those of its own machine."""
    origins: Sequence[str] = ()
    """Of pages that may read and change what is here; ``*``: of all, without cookies."""


def build_app(
    *,
    lifespan: Lifespan,
    max_body_bytes: int,
    observers: Sequence[Observe] = (),
    reach: Reach = Reach(),  # never changes
) -> FlowsApi:
    """An app with everything but flows; include their routers before it starts."""
    app = FlowsApi(
        title="crewserve",
        version=root.VERSION,
        description="REST API for executing and monitoring CrewAI flows",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes)
    app.add_middleware(Gate)
    _allow_origins(app, reach.origins)
    app.add_middleware(Hosts, allowed=reach.hosts, origins=reach.origins)
    app.add_middleware(Answering, observers=observers)
    app.add_middleware(RequestIds)
    problems.install(app)
    docs.install(app)
    app.include_router(root.router)
    app.include_router(metrics.router)
    app.include_router(flows.router)
    app.include_router(workers.router)
    app.include_router(queues.router)
    app.include_router(usage.router)
    app.include_router(api_keys.router)
    app.include_router(audit.router)
    return app


def _allow_origins(app: FlowsApi, origins: Sequence[str]) -> None:
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_credentials="*" not in origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=ASKED,
            expose_headers=TOLD,
        )


def close_routes(app: FlowsApi) -> None:
    """Add what must come after every other route. Call it once, when all are included."""
    if not app.lists_executions:
        app.include_router(executions.router, prefix="/api/v1/executions", tags=["executions"])
    app.include_router(unknown.router)
    app.rules = Rules(app.execute_urls)


def include_flow(app: FlowsApi, router: FlowRouter) -> None:
    """Serve a flow where the specification wants it."""
    path = path_of(router.flow.name)
    app.include_router(router, prefix=f"/api/v1/{path}", tags=[path])
