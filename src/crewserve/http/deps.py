"""What routes ask for."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Final

from fastapi import Depends, FastAPI, Request

from crewserve.application.api_keys import ApiKeys
from crewserve.application.auditing import Auditing
from crewserve.application.catalog import FlowCatalog
from crewserve.application.events import Events
from crewserve.application.executions import Executions
from crewserve.application.health import Readiness
from crewserve.application.output import Output
from crewserve.application.queues import Queues
from crewserve.application.workers import Workers
from crewserve.domain.ids import FlowName
from crewserve.domain.principal import Principal
from crewserve.http.gate import Access, principal_of

MAX_VIEWS: Final = 1000


@dataclass(frozen=True, slots=True)
class ApiState:
    """What `bootstrap` gives to the routes when the server starts."""

    executions: Executions
    queues: Queues
    events: Events
    output: Output
    catalog: FlowCatalog
    execute_urls: Mapping[FlowName, str]
    tracebacks: bool
    """Whether clients may see tracebacks."""
    workers: Workers
    readiness: Readiness
    access: Access
    api_keys: ApiKeys
    metrics: Callable[[], Awaitable[bytes]]
    """In the text format of Prometheus."""
    audit: Auditing
    _views: dict[Principal, "ApiState"] = field(default_factory=dict)

    def seen_by(self, principal: Principal) -> "ApiState":
        """What a route is given: in it exists only what exists for *principal*."""
        view = self._views.get(principal)
        if view is None:
            if len(self._views) >= MAX_VIEWS:
                self._views.clear()
            view = self._views[principal] = self._seen_by(principal)
        return view

    def _seen_by(self, principal: Principal) -> "ApiState":
        realm, is_admin = principal.realm, principal.is_admin
        return replace(
            self,
            executions=self.executions.of(principal),
            audit=self.audit.of(principal),
            api_keys=self.api_keys.of(principal),
            events=self.events.within(realm),
            output=self.output.within(realm),
            catalog=self.catalog.within(realm),
            queues=self.queues if is_admin else self.queues.within(realm),
            tracebacks=self.tracebacks and is_admin,
        )


def attach(app: FastAPI, state: ApiState) -> None:
    """Let the routes of *app* use *state* from now on."""
    app.state.crewserve = state


def state_of(request: Request) -> ApiState:
    """What was attached to the app of *request*, as far as it exists for whoever asks.

    There is no other way to it, so no route can forget whom it serves.
    """
    state: ApiState = request.app.state.crewserve
    return state.seen_by(principal_of(request))


async def _state(request: Request) -> ApiState:
    """A coroutine, because FastAPI runs plain functions in a thread."""
    return state_of(request)


StateDep = Annotated[ApiState, Depends(_state)]
