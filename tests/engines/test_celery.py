"""Publisher and consumer with a real broker between them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId, FlowName, QueueName
from crewserve.engines import publisher as publishing
from crewserve.engines.celery import Broker
from crewserve.engines.consumer import Consumer
from crewserve.engines.publisher import Publisher
from crewserve.testing.builders import an_execution
from deploy.brokers import BrokerServer
from tests.support.waiting import A_WHILE

pytestmark = pytest.mark.timeout(300)


@dataclass
class Hands:
    """Where messages arrive."""

    delivered: list[ExecutionId] = field(default_factory=list)
    done: list[ExecutionId] = field(default_factory=list)
    """Not sent back."""
    refuse: int = 0
    """So many are sent back."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing ends before it is set."""
    busy: int = 0
    most: int = 0

    async def deliver(self, execution_id: ExecutionId) -> bool:
        self.delivered.append(execution_id)
        self.busy += 1
        self.most = max(self.most, self.busy)
        await self.gate.wait()
        self.busy -= 1
        self.refuse -= 1
        if self.refuse >= 0:
            return False
        self.done.append(execution_id)
        return True

    async def until(self, probe: Callable[["Hands"], bool]) -> None:
        async with asyncio.timeout(A_WHILE):
            while not probe(self):
                await asyncio.sleep(0.01)


@dataclass
class Line:
    """From one end of the broker to the other."""

    broker: Broker
    flow: FlowName
    hands: Hands
    publisher: Publisher
    missed: list[datetime] = field(default_factory=list)

    def announce(self, count: int = 1) -> list[ExecutionId]:
        executions = [self.execution() for _ in range(count)]
        self.publisher.announce(executions)
        return [execution.id for execution in executions]

    def execution(self) -> Execution:
        return an_execution(flow=self.flow)

    @asynccontextmanager
    async def consuming(self, slots: int = 8) -> AsyncIterator[Consumer]:
        consumer = Consumer(
            broker=self.broker,
            queues=[QueueName(self.flow)],
            name="a-worker",
            slots=slots,
            deliver=self.hands.deliver,
        )
        keeping = asyncio.create_task(consumer.keep())
        try:
            yield consumer
        finally:
            self.hands.gate.set()
            consumer.pause()
            await self.hands.until(lambda hands: hands.busy == 0)
            consumer.stop()
            await asyncio.wait_for(keeping, A_WHILE)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def line(broker: BrokerServer) -> AsyncIterator[Line]:
    target = Broker(broker.url, timedelta(days=1))
    found = Line(target, FlowName(f"flow_{uuid4().hex}"), Hands(), Publisher(target, now))
    found.publisher.start(found.missed.append)
    yield found
    found.publisher.close()


async def test_what_is_announced_is_delivered_once(line: Line) -> None:
    line.hands.gate.set()
    async with line.consuming():
        announced = line.announce(50)
        await line.hands.until(lambda hands: len(hands.delivered) >= 50)
    assert sorted(line.hands.delivered) == announced


async def test_what_was_sent_back_comes_again(line: Line) -> None:
    line.hands.gate.set()
    line.hands.refuse = 3
    async with line.consuming():
        [announced] = line.announce()
        await line.hands.until(lambda hands: len(hands.delivered) >= 4)
    assert line.hands.delivered == [announced] * 4


async def test_no_more_is_taken_than_there_are_slots(line: Line) -> None:
    async with line.consuming(slots=3):
        line.announce(10)
        await line.hands.until(lambda hands: hands.busy == 3)
        line.hands.gate.set()
        await line.hands.until(lambda hands: len(hands.delivered) == 10)
    assert line.hands.most == 3


async def test_a_pause_ends_taking_but_not_acknowledging(line: Line) -> None:
    """With Redis one more may be under way already."""
    async with line.consuming() as consumer:
        taken = line.announce(2)
        await line.hands.until(lambda hands: hands.busy == 2)
        consumer.pause()
        taking: Any = consumer._worker
        await line.hands.until(lambda _: not taking.consumer.task_consumer._active_tags)
        line.hands.refuse = 1
        later = line.announce(20)
        await asyncio.to_thread(line.publisher.close)
    assert len(line.hands.delivered) <= 3
    async with line.consuming():
        await line.hands.until(lambda hands: len(hands.done) >= 22)
    assert sorted(line.hands.done) == [*taken, *later]


async def test_after_a_pause_messages_are_taken_again(line: Line) -> None:
    line.hands.gate.set()
    async with line.consuming() as consumer:
        first = line.announce(3)
        await line.hands.until(lambda hands: len(hands.done) == 3)
        consumer.pause()
        taking: Any = consumer._worker
        await line.hands.until(lambda _: not taking.consumer.task_consumer._active_tags)
        later = line.announce(20)
        consumer.resume()
        await line.hands.until(lambda hands: len(hands.done) == 23)
    assert sorted(line.hands.done) == [*first, *later]


async def test_a_broker_that_was_lost_in_a_pause_is_asked_again_afterwards(
    line: Line, broker: BrokerServer
) -> None:
    line.hands.gate.set()
    async with line.consuming() as consumer:
        line.announce()
        await line.hands.until(lambda hands: len(hands.done) == 1)
        consumer.pause()
        await asyncio.to_thread(broker.kill)
        await line.hands.until(lambda _: consumer._worker is None)
        await asyncio.to_thread(broker.start)
        consumer.resume()
        await line.hands.until(lambda _: bool(line.missed) or consumer._worker is not None)
        line.announce()
        await line.hands.until(lambda hands: len(hands.done) == 2)


async def test_an_announcement_waits_for_the_commit(line: Line) -> None:
    line.hands.gate.set()
    recorded: Future[None] = Future()
    refused: Future[None] = Future()
    first, second = line.execution(), line.execution()
    async with line.consuming():
        line.publisher.announce([first], recorded)
        line.publisher.announce([second], refused)
        refused.set_exception(ValueError())
        [last] = line.announce()
        await line.hands.until(lambda hands: hands.delivered == [last])
        recorded.set_result(None)
        await line.hands.until(lambda hands: len(hands.delivered) == 2)
    assert line.hands.delivered == [last, first.id]


async def test_what_runs_and_what_consumes_outlive_the_broker(
    line: Line, broker: BrokerServer
) -> None:
    async with line.consuming():
        before = line.announce(5)
        await line.hands.until(lambda hands: hands.busy == 5)
        await asyncio.to_thread(broker.kill)
        missed_since = now()
        began = time.monotonic()
        line.announce(1000)
        assert time.monotonic() - began < 1
        assert line.hands.busy == 5
        await asyncio.sleep(publishing.FRESH_SECONDS)
        await asyncio.to_thread(broker.start)
        await line.hands.until(lambda _: bool(line.missed))
        assert missed_since <= line.missed[0] <= now()
        after = line.announce(5)
        line.hands.gate.set()
        await line.hands.until(lambda hands: set(after) <= set(hands.delivered))
    assert line.hands.delivered[:5] == before
