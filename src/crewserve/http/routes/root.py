"""What a person or a load balancer asks first."""

from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

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


@router.get("/health")
async def health() -> Health:
    """Whether the API answers."""
    return Health()
