"""What routes ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from crewserve.application.api_keys import ApiKeys
from crewserve.application.catalog import FlowCatalog
from crewserve.application.events import Events
from crewserve.application.executions import Executions
from crewserve.application.health import Readiness
from crewserve.application.queues import Queues
from crewserve.application.workers import Workers
from crewserve.domain.ids import FlowName
from crewserve.http.gate import Access


@dataclass(frozen=True, slots=True)
class ApiState:
    """What `bootstrap` gives to the routes when the server starts."""

    executions: Executions
    queues: Queues
    events: Events
    catalog: FlowCatalog
    execute_urls: Mapping[FlowName, str]
    tracebacks: bool
    """Whether clients may see tracebacks."""
    workers: Workers
    readiness: Readiness
    access: Access
    api_keys: ApiKeys


def attach(app: FastAPI, state: ApiState) -> None:
    """Let the routes of *app* use *state* from now on."""
    app.state.crewserve = state


def state_of(request: Request) -> ApiState:
    """What was attached to the app of *request*."""
    state: ApiState = request.app.state.crewserve
    return state


async def _state(request: Request) -> ApiState:
    """A coroutine, because FastAPI runs plain functions in a thread."""
    return state_of(request)


StateDep = Annotated[ApiState, Depends(_state)]
