"""What workers report of flows, on a SQL database."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection, Dialect, Row, select

from crewserve.domain.flow import FlowDescription, FlowGraph, FlowHealth
from crewserve.domain.ids import FlowName, WorkerName
from crewserve.ports import FlowReport
from crewserve.storage.sql_reader import SqlReader
from crewserve.storage.tables import flows
from crewserve.storage.upsert import replacing_insert
from crewserve.storage.writer import Writer


class SqlFlowReports:
    """`FlowReports` on whatever database *writer* writes to and *reader* reads."""

    def __init__(self, writer: Writer, reader: SqlReader, dialect: Dialect) -> None:
        self._writer = writer
        self._reader = reader
        self._replace = replacing_insert(dialect, flows)

    def report(self, reports: Sequence[FlowReport]) -> Future[None]:
        # In one order, so that two that report at the same time do not lock each other out.
        rows = [_to_row(report) for report in sorted(reports, key=lambda report: report.name)]

        def run(connection: Connection) -> None:
            if rows:
                connection.execute(self._replace, rows)

        return self._writer.submit(run)

    async def reported(self) -> Sequence[FlowReport]:
        return [_to_report(row) for row in await self._reader.rows(select(flows))]


def _to_row(report: FlowReport) -> Mapping[str, Any]:
    described = report.description
    graph = described.graph
    return {
        "name": report.name,
        "ref": report.ref,
        "health": described.health,
        "description": described.description,
        "input_schema": described.input_schema,
        "graph": {"nodes": graph.nodes, "edges": graph.edges} if graph else None,
        "digest": described.digest,
        "error": described.error,
        "traceback": described.traceback,
        "worker": report.worker,
        "reported_at": report.reported_at,
    }


def _to_report(row: Row[Any]) -> FlowReport:
    graph = row.graph
    return FlowReport(
        name=FlowName(row.name),
        ref=row.ref,
        description=FlowDescription(
            health=FlowHealth(row.health),
            description=row.description,
            input_schema=row.input_schema,
            graph=FlowGraph(nodes=tuple(graph["nodes"]), edges=tuple(graph["edges"]))
            if graph
            else None,
            digest=row.digest,
            error=row.error,
            traceback=row.traceback,
        ),
        worker=WorkerName(row.worker),
        reported_at=row.reported_at,
    )
