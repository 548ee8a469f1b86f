"""The public door: what a project imports to serve its flows.

from crewserve.serving import create_app, flow_router

app = create_app()
app.include_router(flow_router("my_project.main:MyFlow"), prefix="/api/v1/my-flow")
"""

from collections.abc import Mapping
from typing import Any

from crewserve.application.hand_driven import ExecutionRecord, HandDriven
from crewserve.bootstrap import create_app, quiet_crewai
from crewserve.domain.budget import Budget
from crewserve.domain.failure import FailureCode
from crewserve.domain.flow_control import FlowControl, WhenFull
from crewserve.domain.ids import FlowName
from crewserve.domain.policy import Policy
from crewserve.http.flow_router import FlowRouter, flow_router
from crewserve.http.routes.executions import router as executions_router
from crewserve.protocol.executions import (
    ExecutionResponse,
    ExecutionStatus,
    ExecutionStatusResponse,
)

__all__ = [
    "Budget",
    "ExecutionRecord",
    "ExecutionResponse",
    "ExecutionStatus",
    "ExecutionStatusResponse",
    "ExecutionStore",
    "FailureCode",
    "FlowControl",
    "FlowRouter",
    "Policy",
    "WhenFull",
    "create_app",
    "executions_router",
    "flow_router",
    "quiet_crewai",
]


class ExecutionStore:
    """The specification's `execution_store`, for routers that run their flow by themselves.

    Every call blocks until the database has it. Pass `bind` to `create_app`.
    """

    def __init__(self) -> None:
        self._parts: HandDriven | None = None

    def bind(self, parts: HandDriven | None) -> None:
        """Called when the server starts, and with None when it stops."""
        self._parts = parts

    def create_execution(self, flow_name: str, inputs: Mapping[str, Any]) -> str:
        """Record a pending execution; returns its id."""
        return str(self._running().create(FlowName(flow_name), inputs))

    def update_status(
        self,
        execution_id: str,
        status: ExecutionStatus,
        result: Any = None,
        error: str | None = None,
    ) -> None:
        """Move it on. Raises: ExecutionNotFound, InvalidTransition, StaleExecution."""
        self._running().update(execution_id, status, result=result, error=error)

    def get_execution(self, execution_id: str) -> ExecutionRecord | None:
        """None when there is no such execution."""
        return self._running().get(execution_id)

    def _running(self) -> HandDriven:
        if self._parts is None:
            raise RuntimeError("The execution store works only while the server runs")
        return self._parts
