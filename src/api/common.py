"""Models that all flow APIs share."""

from crewserve.serving import ExecutionResponse, ExecutionStatusResponse

__all__ = ["ExecutionResponse", "ExecutionStatusResponse"]
