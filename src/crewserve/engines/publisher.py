"""Sending announcements, from a thread of its own: nobody ever waits for the broker."""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple

from celery import Celery
from kombu import Connection, Producer

from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId, QueueName
from crewserve.engines.celery import ANSWER_SECONDS, TASK, Broker, broker_queue
from crewserve.ports import Clock

log = logging.getLogger(__name__)

MOST_WAITING: Final = 10_000
"""Announcements that wait to be sent; what comes beyond is left to the sweeper."""

FIRST_DELAY_SECONDS: Final = 0.5
MAX_DELAY_SECONDS: Final = 5.0
FRESH_SECONDS: Final = 1.0
"""A connection that fails so young shows that the broker is away; an older one may only have been
forgotten by it."""
FLUSH_SECONDS: Final = 5.0


class _Announcement(NamedTuple):
    id: ExecutionId
    queue: QueueName


class Publisher:
    """Announces executions to the workers of their queues.

    When the broker is away they get lost; see `start`.
    """

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self._make_up_for: Callable[[datetime], None] = lambda _: None
        self._waiting: queue.Queue[_Announcement | None] = queue.Queue(MOST_WAITING)
        self._unsent: _Announcement | None = None
        self._lost_since: datetime | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)

    def start(self, make_up_for: Callable[[datetime], None]) -> None:
        """*make_up_for* is called in another thread when the broker is back.

        It is told since when announcements may have got lost.
        """
        self._make_up_for = make_up_for
        self._thread.start()

    def close(self) -> None:
        """Send what waits, if that is quick."""
        self._closing.set()
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(FLUSH_SECONDS)

    def announce(
        self, claimable: Sequence[Execution], recorded: "Future[Any] | None" = None
    ) -> None:
        """See `Announce`. To be called from any thread."""
        messages = [_Announcement(one.id, one.turn.queue) for one in claimable]
        if recorded is None:
            self._put(messages)
        else:  # a worker that looks before the commit would find nothing
            recorded.add_done_callback(
                lambda done: None if done.exception() else self._put(messages)
            )

    def _put(self, messages: Sequence[_Announcement]) -> None:
        for message in messages:
            if self._lost_since is not None:
                return
            try:
                self._waiting.put_nowait(message)
            except queue.Full:
                self._lose("there are more than it takes")

    def _work(self) -> None:
        app, delay = self._broker.app(), FIRST_DELAY_SECONDS
        while not self._closing.is_set():
            if self._serve(app):
                delay = FIRST_DELAY_SECONDS
            else:
                self._closing.wait(delay)
                delay = min(2 * delay, MAX_DELAY_SECONDS)

    def _serve(self, app: Celery) -> bool:
        """Send until the connection breaks; returns whether it had held for a while."""
        connected_at = math.inf
        try:
            with app.connection_for_write() as connection:
                Broker.connect(connection)
                connected_at = time.monotonic()
                self._send_all(app, connection)
        except Exception as error:  # noqa: BLE001  # each transport raises errors of its own
            if time.monotonic() - connected_at > FRESH_SECONDS:
                return True
            self._forget_waiting(str(error) or type(error).__name__)
        return False

    def _send_all(self, app: Celery, connection: Connection) -> None:
        """Until `close`."""
        producer = app.amqp.Producer(connection)
        while True:
            if self._unsent is None:
                if self._waiting.empty():
                    self._make_up()
                self._unsent = self._waiting.get()
            if self._unsent is None:
                return
            self._send(app, producer, self._unsent)
            self._unsent = None

    def _send(self, app: Celery, producer: Producer, message: _Announcement) -> None:
        app.send_task(
            TASK,
            args=[str(message.id)],
            queue=broker_queue(message.queue),
            producer=producer,
            retry=False,
            timeout=ANSWER_SECONDS,
        )

    def _forget_waiting(self, reason: str) -> None:
        self._lose(reason)
        self._unsent = None
        with suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()

    def _lose(self, reason: str) -> None:
        if self._lost_since is None:
            self._lost_since = self._clock()
            log.warning("Announcements to %s get lost: %s", self._broker.name, reason)

    def _make_up(self) -> None:
        if self._lost_since is not None:
            since, self._lost_since = self._lost_since, None
            log.info("Announcements reach %s again", self._broker.name)
            self._make_up_for(since)
