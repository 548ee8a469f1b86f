"""Workers on the wire."""

from pydantic import BaseModel, Field

from crewserve.domain.worker import Worker, WorkerState
from crewserve.protocol.times import WireTime


class WorkerBody(BaseModel):
    """A process that runs executions."""

    id: str = Field(description="What attempts call their `worker`.")
    host: str
    pid: int
    version: str = Field(description="Of crewserve.")
    engine: str = Field(description="`local`, or `celery`: how work reaches it.")
    flows: list[str]
    state: WorkerState = Field(
        description="`active`, `draining`, `stopped`, or `lost`: not heard of for 15 s, or gone."
    )
    slots: int = Field(description="Executions that it may run at the same time.")
    running: int = Field(description="Executions that it holds now.")
    memory_bytes: int = Field(
        description="Resident, of its own process and its template processes."
    )
    started_at: WireTime
    heartbeat_at: WireTime = Field(description="When it was heard last.")
    drain_requested_at: WireTime | None = None


class WorkerList(BaseModel):
    """One page, by id."""

    workers: list[WorkerBody]
    next_cursor: str | None = Field(None, description="Ask for the next page with it.")


def worker_body(worker: Worker) -> WorkerBody:
    """*worker* as it is shown."""
    return WorkerBody(
        id=worker.name,
        host=worker.host,
        pid=worker.pid,
        version=worker.version,
        engine=worker.engine,
        flows=sorted(worker.flows),
        state=worker.state,
        slots=worker.slots,
        running=worker.running,
        memory_bytes=worker.memory_bytes,
        started_at=worker.started_at,
        heartbeat_at=worker.heartbeat_at,
        drain_requested_at=worker.drain_requested_at,
    )
