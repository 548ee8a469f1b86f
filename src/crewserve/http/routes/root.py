"""What a person or a load balancer asks first."""

from http import HTTPStatus
from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from crewserve.http.deps import StateDep
from crewserve.http.problems import responses

router = APIRouter(tags=["server"])

VERSION = version("crewserve")


class About(BaseModel):
    """Where to go from here."""

    name: str = "crewserve"
    description: str = "REST API for executing and monitoring CrewAI flows"
    version: str = VERSION
    docs: str = "/docs"
    redoc: str = "/redoc"
    health: str = "/health"
    flows: str = "/api/v1/flows"
    executions: str = "/api/v1/executions"
    workers: str = "/api/v1/workers"


class Health(BaseModel):
    """The process answers."""

    status: Literal["healthy"] = "healthy"
    version: str = VERSION


@router.get("/")
async def about() -> About:
    """What this server is."""
    return About()


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Requests can be served, and what they start will run."""

    status: Literal["ready"] = "ready"
    parts: list[str]


@router.get("/health")
async def health() -> Health:
    """Whether the API answers."""
    return Health()


@router.get("/health/live")
async def live() -> Alive:
    """Whether this process answers; nothing else is asked."""
    return Alive()


@router.get("/health/ready", responses=responses(HTTPStatus.SERVICE_UNAVAILABLE))
async def ready(state: StateDep) -> Ready:
    """Whether the database, the flows and the broker are there, as far as this host needs them."""
    return Ready(parts=await state.readiness.check())
