"""An API without processes or files: memory store, fake host."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import httpx
from fastapi import FastAPI
from prometheus_client import generate_latest
from pydantic import BaseModel, Field

from crewserve.application.api_keys import ApiKeys
from crewserve.application.auditing import Auditing
from crewserve.application.catalog import FlowCatalog
from crewserve.application.events import Events
from crewserve.application.executions import Executions
from crewserve.application.health import Readiness
from crewserve.application.key_ring import KeyRing
from crewserve.application.live import Live
from crewserve.application.output import Output
from crewserve.application.queues import Queues
from crewserve.application.rate_limiting import RateLimiting
from crewserve.application.workers import Workers
from crewserve.bootstrap.measuring import count_answers
from crewserve.domain.api_key import new_token
from crewserve.domain.execution import Execution
from crewserve.domain.flow import FlowDescription, FlowGraph, FlowHealth
from crewserve.domain.ids import ExecutionId, FlowName, WorkerName
from crewserve.http.app import FlowsApi, Reach, build_app, close_routes, include_flow
from crewserve.http.deps import ApiState, attach
from crewserve.http.flow_router import FlowRouter, flow_router
from crewserve.http.gate import Access, Auth, JudgeToken
from crewserve.observability.metrics import Metrics
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import SECRET, a_new_audit_id, a_new_id, an_api_key
from crewserve.testing.fakes import FakeFiles, FakeHost, FrozenClock


class Topic(BaseModel):
    topic: str = Field(min_length=1)
    lines: int = Field(3, ge=1, le=10)


class Text(BaseModel):
    text: str


@dataclass
class Bench:
    """The app with its parts in reach."""

    app: FlowsApi
    catalog: FlowCatalog
    store: MemoryStore = field(default_factory=MemoryStore)
    host: FakeHost = field(default_factory=FakeHost)
    files: FakeFiles = field(default_factory=FakeFiles)
    clock: FrozenClock = field(default_factory=FrozenClock)
    live: Live = field(default_factory=lambda: Live(timedelta(seconds=0.05)))
    metrics: Metrics = field(default_factory=Metrics)
    measure: Callable[[], Awaitable[bytes]] | None = None
    announced: list[ExecutionId] = field(default_factory=list)
    cancels: list[ExecutionId] = field(default_factory=list)
    drains: list[WorkerName] = field(default_factory=list)
    expected: list[datetime] = field(default_factory=list)
    auth: Auth = Auth.AUTO
    judge_token: JudgeToken | None = None
    limiting: RateLimiting | None = None
    ring: KeyRing = field(init=False)

    def attach(self, *, tracebacks: bool = True) -> None:
        queues = Queues(store=self.store, reader=self.store, catalog=self.catalog, clock=self.clock)
        workers = Workers(registry=self.store, announce_drain=self.drains.append, clock=self.clock)
        events = Events(log=self.store, reader=self.store, live=self.live)
        self.ring = KeyRing(store=self.store, secret=SECRET, clock=self.clock)
        audit = Auditing(log=self.store, new_id=a_new_audit_id, clock=self.clock)
        output = Output(log=self.store, reader=self.store, live=self.live)
        urls, health = self.app.execute_urls, Readiness({"flows": self.host.check_ready})
        attach(
            self.app,
            ApiState(
                executions=self._executions(),
                queues=queues,
                events=events,
                output=output,
                catalog=self.catalog,
                execute_urls=urls,
                tracebacks=tracebacks,
                workers=workers,
                readiness=health,
                access=Access(self.auth, self.ring, self.judge_token, self.limiting),
                api_keys=self._api_keys(audit),
                metrics=self.measure or self.measured,
                audit=audit,
            ),
        )

    def _executions(self) -> Executions:
        return Executions(
            store=self.store,
            reader=self.store,
            catalog=self.catalog,
            host=self.host,
            files=self.files,
            announce=self.announce,
            announce_cancel=self.cancels.append,
            expect=self.expected.append,
            new_id=a_new_id,
            clock=self.clock,
        )

    def _api_keys(self, audit: Auditing) -> ApiKeys:
        forget, clock = self.ring.forget, self.clock
        return ApiKeys(store=self.store, secret=SECRET, forget=forget, clock=clock, audit=audit)

    def key(self, *scopes: str, **changes: Any) -> dict[str, str]:
        """Headers with a new key."""
        token = new_token()
        key = an_api_key(token, scopes=frozenset(scopes), **changes)
        self.store.add_api_key(key).result()
        return {"Authorization": f"Bearer {token}"}

    @property
    def attached(self) -> ApiState:
        """What the routes work with."""
        state: ApiState = self.app.state.crewserve
        return state

    async def measured(self) -> bytes:
        """Of this process."""
        return generate_latest(self.metrics.registry)

    def announce(
        self, claimable: Sequence[Execution], recorded: "Future[Any] | None" = None
    ) -> None:
        self.announced += [execution.id for execution in claimable]


@asynccontextmanager
async def nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


def a_bench(
    *routers: FlowRouter,
    max_body_bytes: int = 10_000,
    auth: Auth = Auth.AUTO,
    reach: Reach | None = None,
) -> Bench:
    """Serves `topic_flow`, with models, `free_flow`, without, and those of *routers*."""
    metrics = Metrics()
    app = build_app(
        lifespan=nothing,
        max_body_bytes=max_body_bytes,
        observers=[count_answers(metrics)],
        reach=reach or Reach(),
    )
    include_flow(app, flow_router("m:TopicFlow", request=Topic, result=Text))
    for router in (flow_router("m:FreeFlow"), *routers):
        include_flow(app, router)
    close_routes(app)
    catalog = FlowCatalog(app.flows)
    app.input_schemas = catalog.state_schemas
    bench = Bench(app, catalog, auth=auth, metrics=metrics)
    bench.attach()
    return bench


def api_of(bench: Bench) -> httpx.AsyncClient:
    """A client of its routes below ``/api/v1``; use it as a context."""
    transport = httpx.ASGITransport(bench.app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test/api/v1")


def describe(bench: Bench, **changes: object) -> None:
    """Let the free flow be loaded."""
    fields: dict[str, object] = {
        "health": FlowHealth.READY,
        "description": "Says something.",
        "input_schema": {"type": "object", "properties": {"topic": {"type": "string"}}},
        "graph": FlowGraph(nodes=({"name": "a", "type": "start", "emits": []},), edges=()),
        **changes,
    }
    bench.catalog.describe({FlowName("free_flow"): FlowDescription(**fields)})  # type: ignore[arg-type]


def assert_problem(answer: httpx.Response, status: HTTPStatus, code: str) -> dict[str, object]:
    """Returns the document."""
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    problem: dict[str, object] = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["type"] == f"urn:crewserve:problem:{code}"
    return problem
