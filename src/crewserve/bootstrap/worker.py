"""A process that runs executions and answers no requests."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from crewserve.application.catalog import FlowCatalog
from crewserve.bootstrap.ground import lay_ground, open_writer
from crewserve.bootstrap.measuring import serve_metrics
from crewserve.bootstrap.supervision import work_on_claims
from crewserve.domain.flow import FlowSpec
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.observability.metrics import Metrics
from crewserve.settings import Settings


def run_worker(
    settings: Settings,
    flows: Mapping[FlowName, FlowSpec],
    on_start: Callable[[WorkerName], None],
) -> None:
    """Until a signal: what runs then may end. A second signal hands it back at once.

    Or until it was drained, however long that takes.
    """
    asyncio.run(_work(settings, FlowCatalog(flows), on_start))


async def _work(
    settings: Settings, catalog: FlowCatalog, on_start: Callable[[WorkerName], None]
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        ground = open_writer(await lay_ground(stack, settings, catalog, Metrics()))
        serve_metrics(ground)
        if url := ground.broker_url:
            from crewserve.bootstrap.brokered import work_on_deliveries  # noqa: PLC0415  # extra

            await work_on_deliveries(ground, url, stopping.set)
        else:
            await work_on_claims(ground, stopping.set)
        on_start(ground.name)
        await stopping.wait()
