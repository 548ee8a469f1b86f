"""Being seen by others, and noting who is not any more."""

import os
import socket
from collections.abc import Callable
from importlib.metadata import version
from typing import Literal

from crewserve.bootstrap.duties import keep
from crewserve.bootstrap.ground import WritingGround, now
from crewserve.crew.host import ForkingHost
from crewserve.crew.processes import resident_bytes
from crewserve.domain.worker import Worker
from crewserve.ports import Clock
from crewserve.worker.heartbeat import Heartbeat
from crewserve.worker.identity import is_gone
from crewserve.worker.roll_call import RollCall


def call_roll(ground: WritingGround) -> None:
    """For whoever lists workers, or is one."""
    keep(ground.stack, "roll call", RollCall(ground.workers, is_gone, now).keep())


def be_seen(
    ground: WritingGround,
    host: ForkingHost,
    engine: Literal["local", "celery"],
    on_drain: Callable[[bool], None],
) -> Heartbeat:
    """Until the stack ends."""
    clock: Clock = now
    started, flows = clock(), tuple(sorted(ground.flows))

    def portrait() -> Worker:
        return Worker(
            name=ground.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=version("crewserve"),
            engine=engine,
            flows=flows,
            slots=ground.settings.slots,
            memory_bytes=resident_bytes(os.getpid()) + host.resident_bytes,
            started_at=started,
            heartbeat_at=clock(),
        )

    heartbeat = Heartbeat(ground.name, ground.workers, portrait, on_drain, now)
    ground.stack.callback(heartbeat.leave)
    keep(ground.stack, "heartbeat", heartbeat.keep())
    return heartbeat
