"""A Celery worker inside this process, whose tasks wait for the executions they name.

Celery's own reconnecting is not used: with Redis it ends the worker instead (Celery 5.7). A worker
that loses its broker is left behind, and a new one takes its place. What runs does not notice: it
belongs to the supervisor.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from celery import Celery
from celery.app.trace import setup_worker_optimizations
from celery.exceptions import Reject, WorkerShutdown
from celery.worker import WorkController
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.consumer.connection import Connection
from celery.worker.consumer.consumer import Evloop
from celery.worker.consumer.tasks import Tasks
from kombu.asynchronous import set_event_loop

from crewserve.domain.ids import ExecutionId, QueueName
from crewserve.engines.celery import TASK, Broker

log = logging.getLogger(__name__)

FIRST_DELAY_SECONDS: Final = 0.5
MAX_DELAY_SECONDS: Final = 5.0

Deliver = Callable[[ExecutionId], Coroutine[Any, Any, bool]]


@dataclass(slots=True, eq=False, kw_only=True)
class Consumer:
    """Has messages delivered, whatever becomes of the broker."""

    broker: Broker
    queues: Collection[QueueName]
    name: str
    slots: int
    """As many messages at a time."""
    deliver: Deliver
    """Called on the event loop. False: the broker shall deliver it again."""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _worker: WorkController | None = None
    _stopping: bool = False
    _taking: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared by `pause`; a broker that is lost then is not asked for again before `resume`."""
    _lost: bool = False

    def __post_init__(self) -> None:
        self._taking.set()

    async def keep(self) -> None:
        """Until `stop`."""
        app, delay = self._app(), FIRST_DELAY_SECONDS
        while await self._taking.wait() and not self._stopping:
            began = self._loop.time()
            await asyncio.to_thread(self._consume, app)
            if self._loop.time() - began > MAX_DELAY_SECONDS:
                delay = FIRST_DELAY_SECONDS
            if self._taking.is_set() and not self._stopping:
                await asyncio.sleep(delay)
            delay = min(2 * delay, MAX_DELAY_SECONDS)

    def pause(self) -> None:
        """Take no more messages; those that were taken can still be acknowledged."""
        self._taking.clear()
        self._in_worker(self._cancel)

    def resume(self) -> None:
        """Take messages again."""
        self._taking.set()
        self._in_worker(self._take)

    def stop(self) -> None:
        """Have `keep` come to its end, once `deliver` has answered for all that was taken."""
        self._stopping = True
        self._taking.set()
        self._in_worker(_shut_down)

    def _in_worker(self, call: Callable[[], None]) -> None:
        if self._worker is not None:
            self._worker.consumer.call_soon(call)

    def _cancel(self) -> None:
        if self._worker is not None:
            self._worker.consumer.task_consumer.cancel()

    def _take(self) -> None:
        if self._worker is not None:
            self._worker.consumer.task_consumer.consume()

    def _consume(self, app: Celery) -> None:
        """Until `stop`, or until the connection breaks. In a thread of its own."""
        set_event_loop(None)  # Celery would take over the one of the worker before
        self._worker = worker = self._new_worker(app)
        try:
            if self._taking.is_set() and not self._stopping:
                worker.blueprint.start(worker)
        except WorkerShutdown:
            worker.stop()
        except Exception as error:  # noqa: BLE001  # each transport raises errors of its own
            self._tell_lost(str(error) or type(error).__name__)
            _leave(worker)
        finally:
            self._worker = None

    def _new_worker(self, app: Celery) -> WorkController:
        return app.WorkController(
            hostname=self.name,
            pool="threads",  # they only wait
            concurrency=self.slots,
            consumer_cls=_Consumer,
            ready_callback=self._tell_ready,
            task_events=False,
            without_heartbeat=True,
            without_gossip=True,
            without_mingle=True,
        )

    def _app(self) -> Celery:
        app = self.broker.app(self.queues)
        app.task(name=TASK, shared=False)(self._run)
        setup_worker_optimizations(app, self.name)
        return app

    def _run(self, execution_id: str) -> None:
        """The task: in a thread of Celery's, as long as the execution runs here."""
        delivery = self.deliver(ExecutionId(UUID(execution_id)))
        if not asyncio.run_coroutine_threadsafe(delivery, self._loop).result():
            raise Reject(requeue=True)

    def _tell_ready(self, _: Any) -> None:
        log.info("%s from %s", "Consuming again" if self._lost else "Consuming", self.broker.name)
        self._lost = False

    def _tell_lost(self, reason: str) -> None:
        if not self._lost:
            log.warning("Nothing is delivered from %s now: %s", self.broker.name, reason)
        self._lost = True


class _Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery has no types
    """Lives as long as its connection, and has no more steps than it takes to run tasks.

    Left out: remote control, gossip and events, because workers and executions are seen in the
    database; and delayed delivery, for which Celery would declare 28 queues.
    """

    class Blueprint(CeleryConsumer.Blueprint):  # type: ignore[misc]  # the same
        """Celery looks for it here."""

        default_steps = (Connection, Tasks, Evloop)

    def start(self) -> None:
        """Until the connection breaks."""
        self.blueprint.start(self)

    def ensure_connected(self, conn: Any) -> Any:
        """Once; `Consumer.keep` tries again."""
        Broker.connect(conn)
        return conn


def _shut_down() -> None:
    raise WorkerShutdown(0)


def _leave(worker: WorkController) -> None:
    """Close what it has open. Its threads end when what they wait for does."""
    worker.pool.executor.shutdown(wait=False, cancel_futures=True)
    connection = worker.consumer.connection
    with suppress(Exception):  # nobody is there to say goodbye to
        if connection is not None:
            connection.collect()
    with suppress(Exception, WorkerShutdown):  # whatever it still had to do
        worker.hub.close()
