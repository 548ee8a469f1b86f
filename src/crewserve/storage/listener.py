"""Hearing at once what another host has written."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from psycopg import AsyncConnection, Error, Notify

from crewserve.domain.ids import ExecutionId, WorkerName
from crewserve.storage.postgres import connect_arguments, parse_url
from crewserve.storage.statements import CANCEL_CHANNEL, EVENTS_CHANNEL, READY_CHANNEL
from crewserve.storage.telling import told
from crewserve.storage.workers import WORKER_CHANNEL

log = logging.getLogger(__name__)

CHANNELS: Final = (READY_CHANNEL, CANCEL_CHANNEL, WORKER_CHANNEL, EVENTS_CHANNEL)

FIRST_DELAY_SECONDS: Final = 0.5
MAX_DELAY_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True, eq=False)
class PostgresListener:
    """Hears of what became claimable, of cancels, of events, and of what is requested of workers.

    Only a quicker way: nothing depends on a message, and one may come once too often.
    """

    url: str
    on_ready: Callable[[], None]
    on_cancel: Callable[[ExecutionId], None]
    on_request: Callable[[WorkerName], None]
    on_events: Callable[[ExecutionId], None]
    on_missed: Callable[[], None]
    """Called when messages may have been missed."""

    async def keep(self) -> None:
        """Until cancelled. A lost connection is made again."""
        delay, lost = FIRST_DELAY_SECONDS, False
        while True:
            try:
                async with await self._connect() as connection:
                    if lost:
                        log.info("The database's messages are heard again")
                        self.on_missed()
                    delay, lost = FIRST_DELAY_SECONDS, False
                    await self._hear(connection)
            except (Error, OSError) as error:
                if not lost:
                    log.warning("The database's messages are not heard now: %s", told(error))
            lost = True
            await asyncio.sleep(delay)
            delay = min(2 * delay, MAX_DELAY_SECONDS)

    async def _connect(self) -> AsyncConnection:
        arguments = {"target_session_attrs": "read-write", **connect_arguments(parse_url(self.url))}
        connection = await AsyncConnection.connect(**arguments, autocommit=True)
        try:
            await connection.execute("; ".join(f"LISTEN {channel}" for channel in CHANNELS))
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _hear(self, connection: AsyncConnection) -> None:
        async for message in connection.notifies():
            self._tell(message)

    def _tell(self, message: Notify) -> None:
        if message.channel == READY_CHANNEL:
            self.on_ready()
            return
        if message.channel == WORKER_CHANNEL:
            self.on_request(WorkerName(message.payload))
            return
        try:
            execution_id = ExecutionId(UUID(message.payload))
        except ValueError:
            log.warning("Somebody else sends messages on the channel %s", message.channel)
            return
        if message.channel == EVENTS_CHANNEL:
            self.on_events(execution_id)
        else:
            self.on_cancel(execution_id)
