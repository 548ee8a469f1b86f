"""Root-level execution management: list, show and delete executions of all flows."""

from crewserve.serving import executions_router as router

__all__ = ["router"]
