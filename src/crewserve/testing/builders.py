"""Executions for tests."""

import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final
from uuid import UUID

from crewserve.domain.api_key import LIFETIME, ApiKey, digest_of, id_of, new_token
from crewserve.domain.event_log import Channel, Entry
from crewserve.domain.execution import Cancel, Execution
from crewserve.domain.flow_control import Turn
from crewserve.domain.ids import AuditId, ExecutionId, FlowName, QueueName, WorkerName
from crewserve.domain.output import Line, Stream
from crewserve.domain.policy import Policy
from crewserve.domain.status import Status
from crewserve.domain.step import Step
from crewserve.domain.worker import Worker

NOW: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)

SECRET: Final = b"nobody knows this in any server"

_numbers = count()


def a_new_id() -> ExecutionId:
    """An id that sorts after every one before it in this process."""
    milliseconds = time.time_ns() // 1_000_000
    return ExecutionId(UUID(int=milliseconds << 80 | 0x7 << 76 | 0x2 << 62 | next(_numbers)))


def a_new_audit_id() -> AuditId:
    """The same for the audit log."""
    return AuditId(a_new_id())


def an_execution(status: Status = Status.PENDING, **changes: Any) -> Execution:
    """A consistent execution in *status*; *changes* replace single fields, or `max_attempts`."""
    fields: dict[str, Any] = {
        "policy": Policy(max_attempts=changes.pop("max_attempts", 1)),
        "id": a_new_id(),
        "flow": FlowName("poem_flow"),
        "status": status,
        "inputs": {"sentence_count": 3},
        "created_at": NOW,
        "available_at": NOW,
        "turn": Turn(queue=QueueName(changes.get("flow", "poem_flow"))),
    }
    if status is not Status.PENDING:
        fields |= {"attempt": 1, "fence": 1, "started_at": NOW}
    if status is Status.RUNNING:
        fields |= {"lease_owner": "host:1:0:00", "lease_expires_at": NOW}
    if status.is_terminal:
        fields |= {"completed_at": NOW}
    return Execution(**{**fields, **changes})


def a_step(position: int = 1, **changes: Any) -> Step:
    """A finished step; *changes* replace single fields."""
    fields: dict[str, Any] = {
        "position": position,
        "name": f"step_{position}",
        "call": 1,
        "result": {"n": position},
        "state": {"done": position},
        "digest": "0" * 64,
        "attempt": 1,
        "started_at": NOW,
        "ended_at": NOW,
    }
    return Step(**{**fields, **changes})


def an_entry(type_: str = "flow_started", **changes: Any) -> Entry:
    """Something that happened in a flow; *changes* replace single fields."""
    fields: dict[str, Any] = {"type": type_, "channel": Channel.FLOW, "at": NOW}
    return Entry(**{**fields, **changes})


def a_line(sequence: int = 1, **changes: Any) -> Line:
    """Something that was printed; *changes* replace single fields."""
    fields: dict[str, Any] = {"stream": Stream.STDOUT, "text": f"line {sequence}", "at": NOW}
    return Line(**{**fields, "sequence": sequence, "attempt": 1, **changes})


def a_cancel(grace: float = 5.0) -> Cancel:
    """A cancel that was requested just now."""
    return Cancel(requested_at=NOW, grace=timedelta(seconds=grace), reason="enough")


def a_worker(name: str = "ann:1:0:00", **changes: Any) -> Worker:
    """One that has just begun; *changes* replace single fields."""
    fields: dict[str, Any] = {
        "name": WorkerName(name),
        "host": name.partition(":")[0],
        "pid": 1,
        "version": "1.2.3",
        "engine": "local",
        "flows": (FlowName("poem_flow"),),
        "slots": 8,
        "memory_bytes": 5 * 2**30,
        "started_at": NOW,
        "heartbeat_at": NOW,
    }
    return Worker(**{**fields, **changes})


def an_api_key(token: str | None = None, **changes: Any) -> ApiKey:
    """A good one, whose digest is made with `SECRET`; *changes* replace single fields."""
    token = token or new_token()
    fields: dict[str, Any] = {
        "id": id_of(token),
        "name": "test",
        "scopes": frozenset({"executions:read"}),
        "digest": digest_of(token, SECRET),
        "created_at": NOW,
        "expires_at": NOW + LIFETIME,
    }
    return ApiKey(**{**fields, **changes})
