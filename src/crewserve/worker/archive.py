"""Keeping what is about to be forgotten, in files of JSON: one for each day, one line each."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final
from uuid import UUID

from crewserve.domain.execution import Execution
from crewserve.domain.ids import ExecutionId
from crewserve.ports import EventReader, ExecutionReader, OutputReader
from crewserve.protocol.events import event_body
from crewserve.protocol.executions import detail, step_detail
from crewserve.protocol.output import line_body

PAGE: Final = 500
REMEMBERED: Final = 100
"""Lines at the end of the last files that may belong to executions which are still there: as many
as are archived before they are forgotten."""

BLOCK: Final = 1_000_000
MODE: Final = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """All that is kept of an execution, in pieces."""

    reader: ExecutionReader
    events: EventReader
    output: OutputReader

    async def of(self, execution: Execution) -> AsyncIterator[str]:
        """One JSON object, as the API shows its parts."""
        attempts = await self.reader.attempts(execution.id)
        shown = detail(execution, attempts, None, tracebacks=True).model_dump(mode="json")
        yield f'{{"execution": {json.dumps(shown)}, "steps": ['
        first = True
        for step in await self.reader.steps(execution.id):
            yield _member(step_detail(step).model_dump(mode="json"), first=first)
            first = False
        yield '], "events": ['
        async for text in _paged(self.events.events, event_body, execution.id):
            yield text
        yield '], "logs": ['
        async for text in _paged(self.output.lines, line_body, execution.id):
            yield text
        yield "]}\n"


async def _paged(
    read: Callable[..., Any], body: Callable[[Any], Mapping[str, Any]], of: ExecutionId
) -> AsyncIterator[str]:
    after = 0
    while page := await read(of, after=after, limit=PAGE):
        members = [_member(body(one), first=one is page[0] and not after) for one in page]
        yield "".join(members)
        after = page[-1].sequence


def _member(value: Mapping[str, Any], *, first: bool) -> str:
    return ("" if first else ", ") + json.dumps(value)


@dataclass(slots=True, eq=False)
class Archive:
    """Nothing is written twice, also not after a crash between the archive and the database."""

    folder: Path
    records: Records
    _known: set[ExecutionId] | None = None
    """Those of the last lines; None before anybody has looked."""
    _seen: tuple[Path, int] | None = None
    """The newest file and its size then. When it is another now, so is its writer."""

    async def keep(self, executions: Sequence[Execution], now: datetime) -> None:
        """When it returns, all of them are on the disk. Raises: OSError, StorageUnavailable."""
        known, self._known = self._known, None  # after an error the files are looked at again
        if known is None or self._seen != await asyncio.to_thread(self._newest):
            known = await asyncio.to_thread(self._recover)
        if new := [execution for execution in executions if execution.id not in known]:
            await self._write(self.folder / f"{now:%Y-%m-%d}.jsonl", new)
        self._known = {one.id for one in executions}
        self._seen = await asyncio.to_thread(self._newest)

    async def _write(self, path: Path, executions: Sequence[Execution]) -> None:
        with await asyncio.to_thread(_open, path) as file:
            is_new = file.tell() == 0
            for execution in executions:
                async for text in self.records.of(execution):
                    await asyncio.to_thread(file.write, text)
            await asyncio.to_thread(_to_disk, file)
        if is_new:
            await asyncio.to_thread(self._sync_folder)

    def _files(self) -> list[Path]:
        """The newest first."""
        return sorted(self.folder.glob("????-??-??.jsonl"), reverse=True)

    def _newest(self) -> tuple[Path, int] | None:
        return next(((path, path.stat().st_size) for path in self._files()), None)

    def _recover(self) -> set[ExecutionId]:
        """Remove a line that a crash cut, and tell what is there in the last ones."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found: list[ExecutionId] = []
        for path in self._files():
            found += _repaired(path)
            if len(found) >= REMEMBERED:
                break
        return set(found)

    def _sync_folder(self) -> None:
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _to_disk(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _repaired(path: Path) -> list[ExecutionId]:
    with path.open("rb+") as file:
        *lines, cut = _last_lines(file).split(b"\n")
        if cut:
            file.truncate(file.seek(0, os.SEEK_END) - len(cut))
        os.fsync(file.fileno())
    found = []
    for line in lines:
        with suppress(ValueError, KeyError):  # somebody's own line
            found.append(_id_of(line))
    return found


def _last_lines(file: IO[bytes]) -> bytes:
    """As many as may matter, or all."""
    size, length = file.seek(0, os.SEEK_END), BLOCK
    while True:
        begin = file.seek(max(0, size - length))
        data = file.read()
        if begin == 0:
            return data
        if data.count(b"\n") > REMEMBERED:
            return data.partition(b"\n")[2]
        length *= 4


def _id_of(line: bytes) -> ExecutionId:
    return ExecutionId(UUID(json.loads(line)["execution"]["execution_id"]))


def _open(path: Path) -> IO[str]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, MODE)
    return os.fdopen(descriptor, "a", encoding="utf-8")
