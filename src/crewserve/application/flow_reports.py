"""What is known of flows, told from hosts that load them to hosts that do not."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from crewserve.application.catalog import FlowCatalog
from crewserve.domain.errors import StorageUnavailable
from crewserve.domain.flow import FlowDescription
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.ports import Clock, FlowReport, FlowReports

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 5.0


@dataclass(slots=True, eq=False)
class FlowReporting:
    """For a host that loads flows."""

    catalog: FlowCatalog
    reports: FlowReports
    worker: WorkerName
    clock: Clock
    _untold: dict[FlowName, FlowDescription] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def describe(self, descriptions: Mapping[FlowName, FlowDescription]) -> None:
        """Note what was found out, here and for others."""
        self.catalog.describe(descriptions)
        self._untold.update(descriptions)
        self._wake.set()

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            untold, self._untold = self._untold, {}
            try:
                await asyncio.wrap_future(self.reports.report(self._told(untold)))
            except StorageUnavailable as error:
                log.error("%s; what is known of the flows is told later", error)
                self._untold = {**untold, **self._untold}
                await asyncio.sleep(EVERY_SECONDS)
                self._wake.set()

    def _told(self, descriptions: Mapping[FlowName, FlowDescription]) -> list[FlowReport]:
        return [
            FlowReport(
                name=name,
                ref=self.catalog.specs[name].ref,
                description=description,
                worker=self.worker,
                reported_at=self.clock(),
            )
            for name, description in descriptions.items()
        ]


@dataclass(frozen=True, slots=True)
class FlowFollowing:
    """For a host that loads none."""

    catalog: FlowCatalog
    reports: FlowReports

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except StorageUnavailable as error:
                log.error("%s; what is known of the flows stays as it is", error)
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Once."""
        reported = await self.reports.reported()
        self.catalog.describe({report.name: report.description for report in reported})
