"""The host's end of the template process."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Final

from crewserve.crew import cells as folders
from crewserve.crew import wire
from crewserve.crew.cells import Cells
from crewserve.crew.child_link import ChildLink
from crewserve.crew.confinement import Confinement
from crewserve.crew.users import Users
from crewserve.crew.wire import Message

log = logging.getLogger(__name__)

LOAD_SECONDS: Final = 600.0
"""Longer than any flow takes to import."""

PING_SECONDS: Final = 2.0
PATIENCE: Final = 8
"""Pings without an answer. An answer may take seconds on a machine with hundreds of busy flows."""

CLOSE_SECONDS: Final = 2.0


def _open_private(log_file: Path) -> IO[bytes]:
    return open(log_file, "ab", opener=partial(os.open, mode=0o600))  # has no opener


class TemplateDied(Exception):
    """The template process was never ready; its log says why."""


class UnfitModules(Exception):
    """Importing these flows makes a process unfit for forking; children must import them."""

    def __init__(self, refs: Sequence[str]) -> None:
        super().__init__(", ".join(refs))
        self.refs = refs


@dataclass(slots=True, eq=False)
class TemplateLink:
    """A running template: asks it for children, hears of their ends."""

    process: asyncio.subprocess.Process
    control: socket.socket
    children: dict[int, ChildLink]
    """Living children by number."""
    on_exit: Callable[[ChildLink], None] = lambda _: None
    cells: Cells | None = None
    """Where children get their folders."""
    confinement: Confinement = field(default_factory=Confinement)
    users: Users | None = None
    """Whom children become; None: nobody else."""
    _last_number: int = 0
    _answered: bool = False
    """Since the last ping."""

    @classmethod
    async def start(
        cls,
        *,
        paths: Sequence[str],
        preload: Sequence[str],
        environment: Mapping[str, str],
        log_file: Path,
        notes: Path,
        confinement: Confinement,
        cells: Cells,
        users: Users | None,
    ) -> "TemplateLink":
        """Returns when it is ready to fork. Raises: TemplateDied, UnfitModules."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        with theirs, _open_private(log_file) as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                __package__ + ".template",
                str(theirs.fileno()),
                str(os.getpid()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the server, which hands back what runs
            )
        link = cls(process, ours, {}, cells=cells, confinement=confinement, users=users)
        request = {"paths": paths, "preload": preload, "notes": str(notes)}
        try:
            await link._load({**request, "confinement": asdict(confinement)})  # our own
        except BaseException:
            link.kill()
            raise
        return link

    async def _load(self, request: Message) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.control, wire.encode(request))
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                packet = await self._receive()
        except TimeoutError:
            raise TemplateDied(f"The flows did not load within {LOAD_SECONDS:g} s") from None
        if not packet:
            raise TemplateDied("The template process ended while it was loading")
        if "unfit" in packet:
            raise UnfitModules(packet["unfit"])
        log.info("The template process is ready after %.1f s", packet["ready"])

    async def listen(self) -> None:
        """Note what it says until it ends."""
        while packet := await self._receive():
            if "pong" in packet:
                self._answered = True
            elif child := self.children.pop(packet["exited"], None):
                self._bury(child, packet["code"])
        self.control.close()

    async def watch(self) -> None:
        """Kill it when it answers no more, as one that was stopped for good.

        Pings are counted, not seconds: this process may have been frozen itself.
        """
        missed = 0
        while missed < PATIENCE:
            self._answered = False
            self._send({"ping": True})
            await asyncio.sleep(PING_SECONDS)
            missed = 0 if self._answered else missed + 1
        log.error("The template process has not answered for %g s", PATIENCE * PING_SECONDS)
        self.kill()

    def bury_all(self) -> None:
        """Its children ended with it: to be called when nothing of them is left."""
        for child in list(self.children.values()):
            self._bury(child, None)
        self.children.clear()

    def _bury(self, child: ChildLink, code: int | None) -> None:
        if not child.exited.done():
            child.exited.set_result(code)
        if child.cell is not None:
            folders.remove(child.cell)
        if self.users is not None and child.user is not None:
            self.users.give_back(child.user)
        child.close()
        self.on_exit(child)

    async def _receive(self) -> Message:
        """Empty when the template is gone."""
        loop = asyncio.get_running_loop()
        try:
            packet = await loop.sock_recv(self.control, wire.MAX_PACKET)
        except OSError:
            return {}
        return wire.decode(packet) if packet else {}

    async def fork(self) -> ChildLink:
        """Ask for a child. It may be written to at once; it reads when it exists."""
        self._last_number += 1
        ours, theirs = socket.socketpair()
        with theirs:
            child = await ChildLink.connect(self._last_number, ours, self.end)
            if self._has_ended:
                self._bury(child, None)
                return child
            with self._cell_for(child) as cell:
                self.children[child.number] = child
                child.surroundings = self.confinement.surroundings()
                child.user = None if self.users is None else self.users.take()
                self._send({"fork": child.number, "user": child.user}, theirs.fileno(), *cell)
        return child

    def is_outdated(self, child: ChildLink) -> bool:
        """Whether something is there now that it cannot read, and that a new one can."""
        return child.surroundings != self.confinement.surroundings()

    @contextmanager
    def _cell_for(self, child: ChildLink) -> Iterator[list[int]]:
        """Its descriptor."""
        if self.cells is None:
            yield []
            return
        child.cell, descriptor = self.cells.make()
        try:
            yield [descriptor]
        finally:
            os.close(descriptor)

    @property
    def _has_ended(self) -> bool:
        return self.control.fileno() == -1

    def end(self, child: ChildLink) -> None:
        """Kill it and all its descendants; ``child.exited`` resolves when they are gone."""
        if child.number in self.children:
            self._send({"kill": child.number})

    def live_until(self, boottime: float) -> None:
        """Prolong the deadline at which the template kills all children."""
        self._send({"deadline": boottime})

    def _send(self, message: Message, *descriptors: int) -> None:
        """A packet is small and the template reads all the time; a full buffer means it hangs."""
        if self._has_ended:
            return
        try:
            socket.send_fds(self.control, [wire.encode(message)], descriptors)
        except OSError as error:
            log.warning("The template process does not take requests: %s", error)
            self.kill()

    def kill(self) -> None:
        """End it, and no more: what its children started stays."""
        if self.process.returncode is None:
            self.process.kill()

    async def close(self) -> None:
        """Have it kill all that its children started, then end; kill it if it does not."""
        self.control.close()
        if not await self._ended():
            log.warning("The template process does not end by itself")
            self.kill()
            if not await self._ended():
                log.error("The template process %d cannot be killed", self.process.pid)

    async def _ended(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.process.wait()
        return self.process.returncode is not None
