"""Celery as people use it: a task that kicks a flow off, and a result backend."""

import os
from datetime import datetime
from importlib import import_module
from typing import Any

from celery import Celery
from celery.result import AsyncResult
from fastapi import FastAPI

from benchmarks.flows.noop_flow import NoopFlow
from benchmarks.models import NoopRequest

NAMES = {"PENDING": "pending", "STARTED": "running", "SUCCESS": "completed", "FAILURE": "failed"}

queue = Celery(broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
queue.conf.task_track_started = True

app = FastAPI()


@queue.task(name="noop_flow")
def run_noop(inputs: dict[str, Any]) -> dict[str, Any]:
    import_module("crewai_core.printer").set_suppress_console_output(True)
    flow = NoopFlow()
    flow.kickoff(inputs=inputs)
    return {"begun_ns": flow.state.begun_ns, "outcome": flow.state.outcome}


@app.post("/api/v1/noop-flow/execute")
def execute(request: NoopRequest) -> dict[str, str]:
    return {"execution_id": run_noop.delay(request.model_dump()).id}


@app.get("/api/v1/noop-flow/execution/{execution_id}")
def status(execution_id: str) -> dict[str, Any]:
    found = AsyncResult(execution_id, app=queue)
    done: datetime | None = found.date_done
    failed = found.failed()
    return {
        "status": NAMES[found.status],
        "completed_at": done.isoformat() if done else None,
        "result": None if failed else found.result,
        "error": str(found.result) if failed else None,
    }


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "healthy"}
