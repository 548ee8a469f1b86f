"""Why an execution ended without a result."""

from dataclasses import dataclass
from enum import StrEnum


class FailureCode(StrEnum):
    """Stable reasons of failure. Values are stored and served; never rename one."""

    FLOW_ERROR = "flow_error"
    """The flow's own code raised, or its module could not be imported."""

    TIMEOUT = "timeout"
    """The execution ran longer than it may."""

    BUDGET_EXCEEDED = "budget_exceeded"
    """The execution has used the money, tokens or calls that it may, or that cannot be known."""

    WORKER_LOST = "worker_lost"
    """The process that ran it ended, or its supervisor stopped renewing the lease."""

    INVALID_INPUT = "invalid_input"
    """A worker refused the inputs that the API could not check before accepting them."""

    INVALID_OUTPUT = "invalid_output"
    """The flow ended, but its state does not fit the result model, or is no JSON."""

    FLOW_CHANGED = "flow_changed"
    """The flow's code is not the code that recorded the finished steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong, already redacted: it is stored and shown."""

    code: FailureCode
    message: str
    type: str | None = None
    """Class name of the flow's exception."""
    step: str | None = None
    """The flow method that raised, when it is known."""
    traceback: str | None = None
    """For people who may see code; never part of ``message``."""
