"""Processes to whom a broker delivers the work. Needs the extra `celery`."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from crewserve.bootstrap.duties import begin, keep
from crewserve.bootstrap.ground import WritingGround, now
from crewserve.bootstrap.supervision import Intake, open_host, open_leases, open_reaper, supervise
from crewserve.engines.celery import Broker
from crewserve.engines.consumer import Consumer
from crewserve.engines.publisher import Publisher
from crewserve.ports import Announce
from crewserve.worker.deliveries import Deliveries
from crewserve.worker.sweeper import Sweeper


def broker_of(ground: WritingGround, url: str) -> Broker:
    return Broker(url, ground.settings.redis_visibility)


async def check_broker(ground: WritingGround, url: str) -> None:
    """Raises: NotReady."""
    await asyncio.to_thread(broker_of(ground, url).check)


def open_publisher(ground: WritingGround, broker: Broker) -> Announce:
    """Announces to workers; what gets lost is announced again."""
    publisher = Publisher(broker, now)
    sweeper = Sweeper(ground.store, publisher.announce, now)
    loop = asyncio.get_running_loop()

    def make_up_for(lost_since: datetime) -> None:
        loop.call_soon_threadsafe(sweeper.make_up_for, lost_since)

    publisher.start(make_up_for)
    ground.store.on_let_in(publisher.announce)
    ground.stack.push_async_callback(asyncio.to_thread, publisher.close)
    keep(ground.stack, "sweeper", sweeper.keep())
    return publisher.announce


async def work_on_deliveries(
    ground: WritingGround, url: str, on_drained: Callable[[], None]
) -> None:
    """Until the stack ends: then nothing more is taken, and what runs may end."""
    wake, ready = asyncio.Event(), asyncio.Event()
    broker, deliveries = broker_of(ground, url), Deliveries(wake, now)
    announce = open_publisher(ground, broker)

    def on_room() -> None:
        wake.set()
        ready.set()

    host = await open_host(ground, on_room)
    await open_reaper(ground, announce)
    leases = open_leases(ground, ground.store, host.live_until)
    consumer = Consumer(
        broker=broker,
        queues=[ground.catalog.specs[flow].control.queue_of(flow) for flow in ground.flows],
        name=ground.name,
        slots=ground.settings.slots,
        deliver=deliveries.deliver,
    )
    consuming = begin("consumer", _consume(consumer, ready))
    ground.stack.push_async_callback(_stop, consumer, ready, consuming)
    intake = Intake(
        wake=wake,
        announce=announce,
        deliveries=deliveries,
        on_drain=lambda draining: consumer.pause() if draining else consumer.resume(),
        on_drained=on_drained,
    )
    supervise(ground, host, leases, intake)
    ground.stack.callback(consumer.pause)


async def _consume(consumer: Consumer, ready: asyncio.Event) -> None:
    """Before flows are loaded, another host should get the messages."""
    await ready.wait()
    await consumer.keep()


async def _stop(consumer: Consumer, ready: asyncio.Event, consuming: "asyncio.Task[None]") -> None:
    consumer.stop()
    ready.set()
    await asyncio.wait([consuming])
