"""The host's end of one child process."""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crewserve.crew import wire
from crewserve.crew.wire import Message

log = logging.getLogger(__name__)

Keep = Callable[[Message], Awaitable[bool]]
"""Whether a step is durable now; when it never will be, its process is about to be killed."""


Note = Callable[[list[Message]], Awaitable[None]]
"""Takes what happened; what the child says next is read when it returns."""


Exceed = Callable[[Message], None]
"""Takes why and where the child does not keep within its budget."""


async def _keeps_nothing(_: Message) -> bool:
    return True


async def _notes_nothing(_: list[Message]) -> None:
    pass


def _has_no_budget(_: Message) -> None:
    pass


class NoAnswer(Exception):
    """A child did not say what it was asked. The text is a sentence for the execution's owner."""


class Unreadable(NoAnswer):
    """It said something that Python refuses to read, such as a number of 5,000 digits."""


class ChildDied(NoAnswer):
    """The process ended."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"The process of this execution {_how(code)}")


_ON_THE_WAY: Final = frozenset({"step", "events", "exceeded"})
"""What a child says before its answer."""


@dataclass(slots=True, eq=False)
class ChildLink:
    """Send it a message, get its answer. One conversation at a time."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    kill: "Callable[[ChildLink], None]"
    exited: "asyncio.Future[int | None]"
    """Resolves to the exit code; negative: the signal; None: its template died with it."""
    cell: Path | None = None
    """Its folder, as long as that is not an execution's."""
    user: int | None = None
    """Whom it has for itself until nothing of it is left. None: the host's own."""
    surroundings: Sequence[int] = ()
    """Of its walls, when it was asked for."""
    idle_since: float = 0.0
    """Loop time; kept by the pool."""
    _greeted: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def connect(
        cls, number: int, connection: socket.socket, kill: "Callable[[ChildLink], None]"
    ) -> "ChildLink":
        """*connection* is the host's end of the pair whose other end the child has."""
        reader, writer = await asyncio.open_unix_connection(
            sock=connection, limit=2 * wire.MAX_MESSAGE
        )
        exited: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        return cls(number, reader, writer, kill, exited)

    async def hello(self) -> bool:
        """Wait for its first sign of life; False when it ended without.

        Called once, by who asked for it.
        """
        try:
            await self._receive()
        except ChildDied:
            return False
        finally:
            self._greeted.set()
        return True

    async def ask(
        self,
        message: Message,
        keep: Keep = _keeps_nothing,
        note: Note = _notes_nothing,
        exceed: Exceed = _has_no_budget,
    ) -> Message:
        """May be called before it said hello.

        *keep* is called with each step that ends meanwhile; the child goes on when it returns. All
        are kept before the answer is given. *note* is called with what happened, in the order in
        which the child said all of it.

        Raises: NoAnswer.
        """
        self.writer.write(wire.encode(message))
        await self._greeted.wait()
        keeping: set[asyncio.Task[None]] = set()
        try:
            while (answer := await self._receive()).keys() & _ON_THE_WAY:
                if "events" in answer:
                    await note(answer["events"])
                    continue
                if "exceeded" in answer:
                    exceed(answer["exceeded"])
                    continue
                task = asyncio.create_task(self._keep(answer["step"], keep))
                keeping.add(task)
                task.add_done_callback(keeping.discard)
            if keeping:  # of steps that nothing listens to: they did not wait
                await asyncio.wait(keeping)
        finally:
            for task in keeping:
                task.cancel()
        return answer

    async def _keep(self, step: Message, keep: Keep) -> None:
        waits = not step.pop("final")
        try:
            if await keep(step) and waits:
                self.writer.write(wire.encode({"kept": step["position"]}))
        except Exception:  # the child would wait for ever
            log.exception("A step could not be kept; its process is killed")
            self.kill(self)

    def stop(self) -> None:
        """Ask the execution in work to end by itself."""
        self.writer.write(wire.encode({"stop": True}))

    async def _receive(self) -> Message:
        try:
            line = await self.reader.readline()
        except ConnectionError:
            line = b""
        if not line.endswith(b"\n"):
            self.kill(self)  # it may live on without the connection: flows can close anything
            raise ChildDied(await asyncio.shield(self.exited))
        try:
            return wire.decode(line)
        except ValueError as error:
            raise Unreadable(
                f"The result cannot be read: {str(error).partition(';')[0]}"
            ) from error

    def close(self) -> None:
        """Let it end: it leaves when there is nothing more to read."""
        self.writer.close()


def _how(code: int | None) -> str:
    if code is None:
        return "was killed together with the template process"
    if code >= 0:
        return f"ended with exit code {code} before the flow had finished"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "an unknown signal"
    return f"was killed by signal {-code} ({name})"
