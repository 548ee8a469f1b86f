"""Tracking of executions that a hand-written router runs by itself."""

from crewserve.serving import ExecutionStatus, ExecutionStore

__all__ = ["ExecutionStatus", "execution_store"]

execution_store = ExecutionStore()
