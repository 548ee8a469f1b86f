"""Celery as transport: a message says only which execution somebody should look at.

The database decides who runs it, and is the result. So a message may come twice, late or never.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from celery import Celery
from celery.utils.threads import bound_open_broker_sockets
from kombu import Connection, Exchange, Queue

from crewserve.domain.errors import NotReady
from crewserve.domain.ids import QueueName
from crewserve.domain.redaction import redact

TASK: Final = "crewserve.run"
ANSWER_SECONDS: Final = 5.0
"""What a broker gets to answer. RabbitMQ that has just started may not at all."""

HEARTBEAT_SECONDS: Final = 10

ANY_NUMBER: Final = 2**31 - 1

HELD_FOR: Final = timedelta(weeks=1)
"""RabbitMQ may close a consumer's channel when a message is not acknowledged for so long."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where messages go."""

    url: str
    visible_after: timedelta
    """Redis gives a message that is not acknowledged for so long to another worker as well."""

    @property
    def name(self) -> str:
        """For logs: without user and password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname or 'localhost'}" + (
            f":{parts.port}" if parts.port else ""
        )

    @property
    def is_redis(self) -> bool:
        return self.url.startswith("redis")

    def app(self, queues: Collection[QueueName] = (), **settings: Any) -> Celery:
        """A Celery app that can send, and consume those of *queues*."""
        app = Celery("crewserve", broker=self.url, set_as_current=False, fixups=[])
        app.conf.update(
            broker_transport_options=self._transport_options(),
            broker_connection_timeout=ANSWER_SECONDS,
            # A dead peer is found out after two of these. Redis has TCP keepalive instead.
            broker_heartbeat=HEARTBEAT_SECONDS,
            # The database is the result.
            task_ignore_result=True,
            # A worker that dies has not acknowledged what it ran, so it is delivered again.
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            # No message waits behind a busy slot while another worker is idle.
            worker_prefetch_multiplier=1,
            # Every queue is known; an unknown one would be a typing error.
            task_create_missing_queues=False,
            task_queues=[broker_queue(name) for name in sorted(queues)],
            **settings,
        )
        return app

    @staticmethod
    def connect(connection: Connection) -> None:
        """Raises: whatever its transport does."""
        connection.connect()
        bound_open_broker_sockets(connection, ANSWER_SECONDS)

    def check(self) -> None:
        """Connect as whoever sends does. Raises: NotReady."""
        try:
            with self.app().connection_for_write() as connection:
                self.connect(connection)
        except Exception as error:  # each transport raises errors of its own
            reason = f"{self.name} cannot be reached: {str(error) or type(error).__name__}"
            raise NotReady(redact(reason), retry_after=timedelta(seconds=5)) from error

    def _transport_options(self) -> dict[str, Any]:
        if not self.is_redis:
            # Else a message that RabbitMQ could not store would look sent.
            return {"confirm_publish": True}
        return {
            "socket_connect_timeout": ANSWER_SECONDS,
            "socket_timeout": ANSWER_SECONDS,
            "socket_keepalive": True,
            # Longer than executions run, else each is delivered over and over, to be dropped.
            "visibility_timeout": self.visible_after.total_seconds(),
            # Looks for such messages every ten seconds, not every hundred.
            "unacked_restore_throttle": 1,
        }


def broker_queue(queue: QueueName) -> Queue:
    """By default each flow has its own, so that a worker gets no message that it cannot serve."""
    name = f"crewserve.{queue}"
    return Queue(
        name,
        Exchange(""),
        routing_key=name,
        queue_arguments={
            # Replicated, and on disk before the broker confirms.
            "x-queue-type": "quorum",
            # RabbitMQ 4 would drop a message that went back twenty times for want of room.
            "x-delivery-limit": ANY_NUMBER,
        },
        # An argument of the consumer, not of the queue: that could never be changed again.
        # RabbitMQ before 3.11.15 ignores it and uses its own, half an hour by default.
        consumer_arguments={"x-consumer-timeout": int(HELD_FOR.total_seconds() * 1000)},
    )
