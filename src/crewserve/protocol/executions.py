"""Executions on the wire: the specification's bodies, key by key."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from crewserve.domain.budget import NO_BUDGET, Budget
from crewserve.domain.execution import GRACE, Execution
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.flow_control import MAX_PRIORITY
from crewserve.domain.policy import Policy
from crewserve.domain.status import Status
from crewserve.domain.step import Attempt, Step
from crewserve.protocol.labels import LabelQuery
from crewserve.protocol.plain import PlainObject
from crewserve.protocol.times import GivenTime, WireTime, to_wire
from crewserve.protocol.usage import MAX_COUNT, MAX_DOLLARS, BudgetBody, UsageBody, usage_fields

MAX_SECONDS: Final = 7 * 24 * 3600
MAX_DELAY_SECONDS: Final = 366 * 24 * 3600

_OF_POLICY: Final = {"timeout_seconds", "max_attempts", "backoff_seconds", "retry_on"}

_OF_BUDGET: Final = {f"budget_{name}" for name in Budget.__dataclass_fields__}

OPTIONAL_FIELDS: Final = frozenset(
    {"started_at", "completed_at", "result", "error", "error_details", "usage"}
)
"""Of an execution's status; the others are always there."""

_TIMES: Final = ("created_at", "started_at", "completed_at")

ExecutionStatus = Status
"""The specification's name of it."""


class ExecutionResponse(BaseModel):
    """The answer to a started execution."""

    execution_id: str = Field(description="Ask for the result with this id.")
    status: ExecutionStatus
    message: str

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "execution_id": "0199f3a4-6c1e-7b52-9d0a-2f1f7f1b9c11",
                    "status": "pending",
                    "message": "Poem flow execution initiated with ID: "
                    "0199f3a4-6c1e-7b52-9d0a-2f1f7f1b9c11",
                }
            ]
        }
    )


class ExecuteOptions(LabelQuery):
    """When, how often and how long it may try; what is not given is the flow's default."""

    timeout_seconds: float | None = Field(
        None, gt=0, le=MAX_SECONDS, description="How long one attempt may run."
    )
    max_attempts: int | None = Field(None, ge=1, le=100)
    backoff_seconds: float | None = Field(
        None, ge=0, le=MAX_SECONDS, description="Before the second attempt; doubles after each."
    )
    retry_on: list[FailureCode] | None = Field(
        None, description="Failures after which another attempt may follow."
    )

    priority: int | None = Field(
        None, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Higher ones go first, always."
    )
    start_at: GivenTime | None = Field(
        None,
        description="Not before this time; with its offset, for example `2027-01-01T09:00:00Z`.",
    )
    delay_seconds: float | None = Field(
        None, ge=0, le=MAX_DELAY_SECONDS, description="Not before so many seconds from now."
    )

    budget_usd: float | None = Field(
        None, ge=0, le=MAX_DOLLARS, description="What all attempts together may cost."
    )
    budget_tokens: int | None = Field(None, ge=0, le=MAX_COUNT)
    budget_model_calls: int | None = Field(None, ge=0, le=MAX_COUNT)
    budget_tool_calls: int | None = Field(None, ge=0, le=MAX_COUNT)

    def over(self, policy: Policy) -> Policy:
        """*policy* with what was given."""
        given = self.model_dump(exclude_none=True, include=_OF_POLICY)
        limits = self.model_dump(exclude_none=True, include=_OF_BUDGET)
        if not given and not limits:
            return policy
        named = {name.removeprefix("budget_"): limit for name, limit in limits.items()}
        given["budget"] = replace(policy.budget, **named)
        if self.retry_on is not None:
            given["retry_on"] = frozenset(self.retry_on)
        return replace(policy, **given)


class ErrorDetails(BaseModel):
    """More about a failure than its sentence."""

    code: FailureCode = Field(description="Stable: programs may decide by it.")
    type: str | None = Field(None, description="Class of the flow's exception.")
    step: str | None = Field(None, description="The flow method that raised.")
    traceback: str | None = Field(None, description="Only on servers that are not exposed.")


def _is_none(value: object) -> bool:
    return value is None


def _is_empty(value: Sized) -> bool:
    return len(value) == 0


class ExecutionStatusResponse(BaseModel):
    """An execution as it is now."""

    execution_id: str
    flow_name: str
    status: ExecutionStatus
    created_at: WireTime
    started_at: WireTime | None = None
    completed_at: WireTime | None = None
    result: Any = None
    error: str | None = Field(None, description="What went wrong, in the flow's own words.")
    error_details: ErrorDetails | None = Field(
        None, exclude_if=_is_none, description="Present when the execution failed."
    )
    tags: list[str] = Field([], exclude_if=_is_empty, description="Present when it has some.")
    metadata: dict[str, str | bool | int | float] = Field(
        {}, exclude_if=_is_empty, description="Present when it has some."
    )


class ExecutionSummary(ExecutionStatusResponse):
    """The same, and what the specification's answers do not know."""

    usage: UsageBody | None = Field(
        None, exclude_if=_is_none, description="Present as soon as it has used anything."
    )


class AttemptBody(BaseModel):
    """One try, from claim to end."""

    number: int = Field(description="Two have the same number when one was handed back.")
    worker: str = Field(description="The process that supervised it.")
    started_at: WireTime
    ended_at: WireTime | None
    outcome: str | None = Field(
        description="`completed`, `failed`, `cancelled`, `lost`, `handed_back`; null: it runs."
    )
    code: FailureCode | None
    error: str | None


class StepBody(BaseModel):
    """A finished step."""

    position: int = Field(description="From 1, in the order in which steps ended.")
    name: str
    call: int = Field(description="Which call of that method; from 1.")
    attempt: int
    started_at: WireTime
    ended_at: WireTime
    result: Any
    problem: str | None = Field(description="Why it would run again after a crash.")


class StepDetail(StepBody):
    """A finished step and what it left."""

    state: Any = Field(description="The flow's state afterwards.")


class StepList(BaseModel):
    """One page, in the order in which they ended."""

    steps: list[StepBody]
    next_cursor: str | None = Field(
        None, description="Pass it as `cursor` for the next page; null on the last one."
    )


class CancelRequest(BaseModel):
    """How to stop."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["graceful", "force"] = Field(
        "graceful",
        description="`graceful` stops at the next step, model call, tool call or token, and by "
        "force when the grace is over; `force` kills every process at once.",
    )
    grace_seconds: float = Field(GRACE.total_seconds(), ge=0, le=3600, strict=True)
    reason: str | None = Field(None, max_length=1000)

    @property
    def grace(self) -> timedelta:
        """None at all with force."""
        return timedelta(seconds=0 if self.mode == "force" else self.grace_seconds)


class BulkCancelRequest(CancelRequest):
    """Which executions to stop; without a filter: all that have not ended."""

    flow_name: str | None = Field(None, max_length=100)
    status: Literal[Status.PENDING, Status.RUNNING, Status.WAITING] | None = None
    dry_run: bool = Field(default=False, strict=True, description="Only count.")


class BulkCancelResponse(BaseModel):
    """What a bulk cancel did, or would do."""

    matched: int
    cancelled: int = Field(description="Ended at once.")
    requested: int = Field(description="Were running, and stop within the grace.")
    dry_run: bool


class RetryRequest(BaseModel):
    """Under which conditions it goes on."""

    model_config = ConfigDict(extra="forbid")

    accept_changes: bool = Field(
        default=False, strict=True, description="Go on although the flow's code has changed since."
    )
    budget: BudgetBody | None = Field(None, description="Another one than before.")


class ForkRequest(RetryRequest):
    """Where to go on, and what shall differ."""

    from_step: str | int = Field(
        description="The first step to run again: `method`, `method#2` for its second call, or "
        "the position that `/steps` shows."
    )
    state: PlainObject | None = Field(None, description="Fields of the state to replace.")
    inputs: dict[str, Any] | None = Field(None, description="Other inputs.")


class ExecutionDetail(ExecutionSummary):
    """Everything that is known of an execution."""

    inputs: Mapping[str, Any]
    attempt: int = Field(description="1 for the first try, 0 before it.")
    max_attempts: int
    timeout_seconds: float | None = Field(None, description="How long one attempt may run.")
    budget: BudgetBody | None = Field(
        None,
        exclude_if=_is_none,
        description="What all attempts together may use; absent: whatever they want.",
    )
    queue: str
    priority: int
    concurrency_key: str | None = Field(
        None, description="What its flow's limit counts it under; null: with all others."
    )
    position: int | None = Field(
        None,
        description="While pending: 1 for the next of its queue, or of those that wait for the "
        "same limit; null before its time, and further back than 1000.",
    )
    worker: str | None = Field(None, description="The process that holds it now.")
    parent_id: str | None = Field(None, description="The execution whose steps it began with.")
    available_at: WireTime = Field(description="When its next attempt may begin, while pending.")
    cancel_requested_at: WireTime | None = None
    cancel_reason: str | None = None
    attempts: list[AttemptBody] = Field(description="The oldest first.")


class ExecutionList(BaseModel):
    """One page, newest first."""

    executions: list[ExecutionSummary]
    next_cursor: str | None = Field(
        None, description="Pass it as `cursor` for the next page; null on the last one."
    )


def status_fields(execution: Execution, *, tracebacks: bool) -> dict[str, Any]:
    """The fields of `ExecutionStatusResponse`."""
    failure, labels = execution.failure, execution.labels
    fields = {
        "execution_id": str(execution.id),
        "flow_name": execution.flow,
        "status": execution.status,
        "created_at": execution.created_at,
        "started_at": execution.started_at,
        "completed_at": execution.completed_at,
        "result": execution.result,
        "error": failure.message if failure else None,
        "error_details": _details(failure, tracebacks=tracebacks) if failure else None,
    }
    if labels.tags:
        fields["tags"] = labels.tags
    if labels.metadata:
        fields["metadata"] = labels.metadata
    return fields


def status_body(execution: Execution, *, tracebacks: bool) -> dict[str, Any]:
    """What `ExecutionStatusResponse` says of *execution*, in half the time of building one."""
    body = status_fields(execution, tracebacks=tracebacks)
    for name in _TIMES:
        if time := body[name]:
            body[name] = to_wire(time)
    if body["error_details"] is None:
        del body["error_details"]
    return body


def summary_body(execution: Execution, *, tracebacks: bool) -> dict[str, Any]:
    """What `ExecutionSummary` says of it."""
    body = status_body(execution, tracebacks=tracebacks)
    if execution.usage is not None:
        body["usage"] = usage_fields(execution.usage)
    return body


def detail(
    execution: Execution, attempts: Sequence[Attempt], position: int | None, *, tracebacks: bool
) -> ExecutionDetail:
    """*execution* with all that is known of it."""
    cancel, policy = execution.cancel, execution.policy
    return ExecutionDetail(
        **status_fields(execution, tracebacks=tracebacks),
        usage=None if execution.usage is None else usage_fields(execution.usage),
        inputs=execution.inputs,
        attempt=execution.attempt,
        max_attempts=policy.max_attempts,
        timeout_seconds=policy.timeout_seconds,
        budget=None if policy.budget == NO_BUDGET else BudgetBody.model_validate(policy.budget),
        queue=execution.turn.queue,
        priority=execution.turn.priority,
        concurrency_key=execution.turn.key or None,
        position=position,
        worker=execution.lease_owner,
        parent_id=None if execution.parent is None else str(execution.parent),
        available_at=execution.available_at,
        cancel_requested_at=cancel.requested_at if cancel else None,
        cancel_reason=cancel.reason if cancel else None,
        attempts=[AttemptBody.model_validate(one, from_attributes=True) for one in attempts],
    )


def step_list(steps: Sequence[Step], next_cursor: str | None) -> StepList:
    """One page of steps on the wire."""
    shown = [StepBody.model_validate(one, from_attributes=True) for one in steps]
    return StepList(steps=shown, next_cursor=next_cursor)


def step_detail(step: Step) -> StepDetail:
    """*step* on the wire."""
    return StepDetail.model_validate(step, from_attributes=True)


def _details(failure: Failure, *, tracebacks: bool) -> ErrorDetails:
    return ErrorDetails(
        code=failure.code,
        type=failure.type,
        step=failure.step,
        traceback=failure.traceback if tracebacks else None,
    )
