"""Everything this package raises on purpose.

* CrewserveError
  x ExecutionNotFound
  x ExecutionActive
  x FlowNotFound
  x FlowUnavailable
  x InvalidInputs
  x InvalidTransition
  x NotCancellable
  x NotRetryable
  x StepNotFound
  x StepNotRecorded
  x StaleExecution
  x InvalidKey
  x InvalidEventId
  x KeyTaken
  x KeyMismatch
  x QueueFull
  x QueueNotFound
  x LaneFull
  x NotReady
  x StorageUnavailable
  x ValueRefused
  x WorkerNotFound
  x WorkerStopped

What is raised about access is in ``access_errors.py``.
HTTP codes are not decided here: see ``http/problems.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from crewserve.domain.ids import ExecutionId, FlowName, QueueName, WorkerName
from crewserve.domain.status import Status


class CrewserveError(Exception):
    """Base of all errors raised on purpose. Its text is a sentence that clients may read."""

    code: ClassVar[str]
    """Stable, served to clients."""


class ExecutionNotFound(CrewserveError):
    """There is no such execution, or it belongs to somebody else."""

    code = "execution_not_found"

    def __init__(self, execution_id: ExecutionId) -> None:
        super().__init__(f"No execution has the id {execution_id}")
        self.execution_id = execution_id


class ExecutionActive(CrewserveError):
    """Only what has ended, or has not begun, can be deleted."""

    code = "execution_active"

    def __init__(self, execution_id: ExecutionId, status: Status) -> None:
        super().__init__(
            f"Execution {execution_id} is {status}; it can be deleted once it has ended"
        )


class FlowNotFound(CrewserveError):
    """Nothing is served under that name."""

    code = "flow_not_found"

    def __init__(self, name: str, known: Sequence[FlowName]) -> None:
        served = ", ".join(sorted(known)) or "none"
        super().__init__(f"No flow is served as {name!r}; served are: {served}")


class FlowUnavailable(CrewserveError):
    """The flow is served, but its code cannot be loaded."""

    code = "flow_unavailable"

    def __init__(self, name: FlowName, reason: str) -> None:
        super().__init__(f"The flow {name!r} cannot be loaded: {reason}")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with the inputs."""

    field: str
    """Dotted path of the field: ``customer.name``; empty for the inputs as a whole."""
    message: str
    type: str
    """Machine-readable kind, as Pydantic names it: ``missing``, ``int_parsing``."""


class InvalidInputs(CrewserveError):
    """The flow's inputs were refused before anything was accepted."""

    code = "invalid_input"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        named = ", ".join(dict.fromkeys(error.field or "inputs" for error in errors))
        super().__init__(f"The inputs do not fit the flow: {named}")
        self.errors = tuple(errors)


class InvalidTransition(CrewserveError):
    """The requested change is not in ``TRANSITIONS``."""

    code = "invalid_transition"

    def __init__(self, current: Status, target: Status) -> None:
        super().__init__(f"An execution that is {current} cannot become {target}")
        self.current = current
        self.target = target


class NotCancellable(CrewserveError):
    """A hand-written router runs it inside the API process, where nothing can be stopped."""

    code = "not_cancellable"

    def __init__(self, execution_id: ExecutionId) -> None:
        super().__init__(
            f"Execution {execution_id} is run by its router inside the server and cannot be stopped"
        )


class NotRetryable(CrewserveError):
    """Only what ended without a result can be retried."""

    code = "not_retryable"

    def __init__(self, execution_id: ExecutionId, status: Status) -> None:
        super().__init__(
            f"Execution {execution_id} is {status}; only what failed or was cancelled can be "
            "retried. Fork it to run it again"
        )


class StepNotFound(CrewserveError):
    """The execution has no such finished step."""

    code = "step_not_found"

    def __init__(self, step: str, known: Sequence[str]) -> None:
        recorded = ", ".join(known) or "none"
        super().__init__(f"No finished step is called {step!r}; recorded are: {recorded}")


class StepNotRecorded(CrewserveError):
    """No step of the execution ended at that position, or it runs again."""

    code = "step_not_recorded"

    def __init__(self, execution_id: ExecutionId, position: int) -> None:
        super().__init__(f"Execution {execution_id} has no finished step at position {position}")


class StaleExecution(CrewserveError):
    """The record changed hands since it was read; whoever holds the old one writes nothing."""

    code = "stale_execution"

    def __init__(self, execution_id: ExecutionId) -> None:
        super().__init__(f"Execution {execution_id} was changed by somebody else meanwhile")


class InvalidKey(CrewserveError):
    """What the client sent as its idempotency key is none."""

    code = "invalid_idempotency_key"

    def __init__(self) -> None:
        super().__init__(
            "An Idempotency-Key is one value of 1 to 255 printable ASCII characters, in double "
            "quotes or without"
        )


class InvalidEventId(CrewserveError):
    """What the client sent as the last event that it had received is none of ours."""

    code = "invalid_event_id"

    def __init__(self) -> None:
        super().__init__("Last-Event-ID is no id of an event; send one that was received, or none")


class KeyTaken(CrewserveError):
    """Another request with the same idempotency key was first; its answer is not known here yet."""

    code = "idempotency_in_flight"

    def __init__(self, key: str) -> None:
        super().__init__(f"Another request with the Idempotency-Key {key!r} is being answered")


class KeyMismatch(CrewserveError):
    """The idempotency key was used for another request."""

    code = "idempotency_mismatch"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The Idempotency-Key {key!r} was used for another request; send each with its own"
        )


class QueueFull(CrewserveError):
    """As many executions wait as may."""

    code = "queue_full"

    def __init__(self, queue: QueueName, most: int) -> None:
        super().__init__(
            f"{most} executions wait in the queue {queue!r}, which is as many as may; this one "
            f"would be number {most + 1}. Send it again later"
        )
        self.most = most

    @property
    def position(self) -> int:
        """Where it would have been in the queue."""
        return self.most + 1


class QueueNotFound(CrewserveError):
    """No served flow has that queue, and nothing is in it."""

    code = "queue_not_found"

    def __init__(self, name: str, known: Sequence[QueueName]) -> None:
        queues = ", ".join(known) or "none"
        super().__init__(f"No queue is called {name!r}; there are: {queues}")


class LaneFull(CrewserveError):
    """As many executions run as may, and the flow lets no more wait."""

    code = "limit_reached"

    def __init__(self, flow: FlowName, key: str, most: int) -> None:
        of = f" for {key!r}" if key else ""
        super().__init__(
            f"{most} of the flow {flow!r} may run{of} at the same time, and as many do. Send it "
            "again when one has ended"
        )


class NotReady(CrewserveError):
    """The server is still loading what this request needs."""

    code = "not_ready"

    def __init__(self, reason: str, *, retry_after: timedelta) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class ServerNotReady(CrewserveError):
    """Something that requests need is missing."""

    code = "server_not_ready"

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
        self.reasons = reasons


class StorageUnavailable(CrewserveError):
    """The database cannot be written; nothing was accepted."""

    code = "storage_unavailable"

    def __init__(self) -> None:
        super().__init__("The database cannot be used now; nothing was stored")


class ValueRefused(CrewserveError):
    """The database can never hold that value, so asking again is of no use."""

    code = "value_refused"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The database cannot hold this: {reason}")
        self.reason = reason


class WorkerNotFound(CrewserveError):
    """There is no such worker, or it left more than a day ago."""

    code = "worker_not_found"

    def __init__(self, name: WorkerName) -> None:
        super().__init__(f"No worker has the id {name!r}; GET /api/v1/workers lists them")


class WorkerStopped(CrewserveError):
    """It has ended, so it can neither drain nor go on."""

    code = "worker_stopped"

    def __init__(self, name: WorkerName) -> None:
        super().__init__(f"Worker {name} has stopped; start another one")
