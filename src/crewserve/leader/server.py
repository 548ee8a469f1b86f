"""The leader's end: performs what followers ask for, and tells them what it knows of the flows."""

import asyncio
import logging
import socket
from asyncio import StreamWriter, TaskGroup
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final

from crewserve.domain.errors import CrewserveError, FieldError, NotReady
from crewserve.domain.execution import Execution
from crewserve.domain.flow import FlowDescription, FlowSpec
from crewserve.domain.ids import ExecutionId, FlowName
from crewserve.domain.status import Status
from crewserve.leader.calls import Checks, Descriptions, Writes, calls, shape
from crewserve.leader.errors import dump_error
from crewserve.leader.performing import perform
from crewserve.leader.wire import KEY_BYTES, frame, hang_up, listen, read_key, read_message, to_json
from crewserve.ports import Work

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.1
KEY_SECONDS: Final = 2.0
"""Until who connects has shown the key."""


@dataclass(slots=True, eq=False)
class Server:
    """In the event loop that runs executions."""

    path: Path
    writes: Writes
    find_flow: Callable[[str], FlowSpec]
    """Raises: FlowNotFound."""
    work: Work | None = None
    """None until executions can run here."""
    _described: dict[FlowName, FlowDescription] = field(default_factory=dict)
    _followers: set[StreamWriter] = field(default_factory=set)

    async def keep(self) -> None:
        """Until cancelled; what is not answered by then is asked again of the next leader."""
        with closing(listen(self.path)) as listener:
            async with TaskGroup() as group:
                self._accept_on(listener, group)
                try:
                    await asyncio.Event().wait()
                finally:
                    asyncio.get_running_loop().remove_reader(listener)

    def _accept_on(self, listener: socket.socket, group: TaskGroup) -> None:
        """Without `sock_accept`, which loses a connection when it is cancelled meanwhile."""
        asyncio.get_running_loop().add_reader(listener, self._accept, listener, group)

    def _accept(self, listener: socket.socket, group: TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        try:
            follower, _ = listener.accept()
        except OSError as error:
            log.error("No other process can follow this one now: %s", error)
            loop.remove_reader(listener)
            loop.call_later(RETRY_SECONDS, self._accept_on, listener, group)
            return
        follower.settimeout(0)
        serving = group.create_task(self._serve(follower, group))
        serving.add_done_callback(partial(_close, follower))

    def describe(self, descriptions: Mapping[FlowName, FlowDescription]) -> None:
        """Tell all followers, later ones too."""
        self._described.update(descriptions)
        if self._followers:
            message = _described(descriptions)
            for follower in self._followers:
                follower.write(message)

    async def _serve(self, connection: socket.socket, group: TaskGroup) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        try:
            if not await self._has_key(reader):
                return
            self._followers.add(writer)
            writer.write(_described(self._described))
            while True:
                (number, name, again), raw = await read_message(reader)
                doing = self._do(name, raw, again=again)
                group.create_task(_answer(writer, number, doing))
        except (OSError, asyncio.IncompleteReadError):
            log.info("A process that followed this one has ended")
        except ValueError:
            log.error("A process of another version follows this one; it is turned away")
        finally:
            self._followers.discard(writer)
            await hang_up(writer)

    async def _has_key(self, reader: asyncio.StreamReader) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(KEY_SECONDS):
                shown = await reader.readexactly(KEY_BYTES)
            return compare_digest(shown, read_key(self.path))
        return False

    async def _do(self, name: str, raw: Any, *, again: bool) -> Any:
        call = calls()[name]
        arguments = call.load(raw)
        if name in vars(Checks):
            result = await getattr(self, name)(**arguments)
        else:
            result = await perform(self.writes, name, arguments, again=again)
            self._announce(name, arguments, result)
        return call.result.dump(result)

    def _announce(self, name: str, arguments: Mapping[str, Any], result: Any) -> None:
        """What a database tells all who listen, where it can."""
        if self.work is None:
            return
        if name == "add":
            self._announce_added(self.work, arguments["execution"], result)
        elif name == "request_drain":
            self.work.announce_drain(arguments["name"])
        elif name == "change" and result.status is Status.RUNNING and result.cancel is not None:
            self.work.announce_cancel(result.id)

    @staticmethod
    def _announce_added(work: Work, added: Execution, made_way: Sequence[ExecutionId]) -> None:
        if added.available_at > added.created_at:
            work.expect(added.available_at)
        else:
            work.announce([added])
        for execution_id in made_way:
            work.announce_cancel(execution_id)

    async def validate(self, flow: FlowName, inputs: Mapping[str, Any]) -> Sequence[FieldError]:
        """See `Checks`. Raises: FlowNotFound, FlowUnavailable, NotReady."""
        return await self._ready().checks.validate(self.find_flow(flow), inputs)

    async def unknown_fields(self, flow: FlowName, names: Collection[str]) -> Sequence[FieldError]:
        """See `Checks`. Raises: FlowNotFound, NotReady."""
        return await self._ready().checks.unknown_fields(self.find_flow(flow), names)

    async def check_ready(self) -> None:
        """See `Checks`. Raises: NotReady."""
        await self._ready().checks.check_ready()

    def _ready(self) -> Work:
        if self.work is None:
            raise NotReady("The flows are still loading", retry_after=timedelta(seconds=2))
        return self.work


def _close(connection: socket.socket, _: "asyncio.Task[None]") -> None:
    """Also when the task was cancelled before it began."""
    connection.close()


def _described(descriptions: Mapping[FlowName, FlowDescription]) -> bytes:
    return frame(to_json({"described": shape(Descriptions).dump(descriptions)}))


async def _answer(follower: StreamWriter, number: int, doing: Coroutine[Any, Any, Any]) -> None:
    answer: dict[str, Any] = {"number": number}
    try:
        answer["result"] = await doing
    except Exception as error:  # whatever it is, who asked is told
        if not isinstance(error, CrewserveError):
            log.exception("What a follower asked for has failed")
        answer["error"] = dump_error(error)
    with suppress(OSError):
        follower.write(frame(to_json(answer)))
