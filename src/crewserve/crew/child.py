"""A child of the template process: runs executions, or checks inputs, as the host asks.

It starts as a copy of the template with everything imported. It warms up while it has nothing to
do, so that an execution that arrives later does not pay for CrewAI's first run in a process.
"""

import contextlib
import os
import queue
import random
import signal
import socket
import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Final, NoReturn

from crewai.flow.flow import Flow, start

from crewserve.crew import wire
from crewserve.crew.describing import describe, input_errors, unknown_fields
from crewserve.crew.internals import flush_events
from crewserve.crew.loading import FlowNotLoaded, explain, load
from crewserve.crew.parent_link import ParentLink
from crewserve.crew.processes import die_with_parent
from crewserve.crew.running import Host, run
from crewserve.crew.wire import Message
from crewserve.crew.workspace import Workspace, count_open_files, is_clean

IDLE_SECONDS: Final = 0.2
"""A process that waits so long for its first execution warms up: while others wait for theirs,
there is no time for that."""


class _WarmUp(Flow):  # type: ignore[type-arg]  # state is a dict
    """Does nothing, once: threads start, pages are copied, caches fill."""

    @start()
    def begin(self) -> None:
        """The one step."""


def main(connection: socket.socket, parent: int) -> NoReturn:
    """Never returns: the process ends here, whatever happens."""
    code = 1
    try:
        _detach(parent)
        link = ParentLink(connection)
        link.send_line(wire.encode({"hello": os.getpid()}))
        link.start()
        _serve(link)
        code = 0
    except (BrokenPipeError, ConnectionResetError):
        code = 0  # the host is gone, and so is the need for an answer
    finally:
        os._exit(code)


def _detach(parent: int) -> None:
    die_with_parent(parent)
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    random.seed()
    if numpy_random := sys.modules.get("numpy.random"):  # loaded only when it is used
        numpy_random.seed()  # else all children would draw the same numbers


def _first_request(link: ParentLink) -> Message | None:
    try:
        return link.next_request(IDLE_SECONDS)
    except queue.Empty:
        _warm_up()
        return link.next_request()


class _Nobody:
    """Whom a warm-up works with: the host must hear nothing of it."""

    def begin_run(self) -> "Future[None]":
        return Future()

    def record(self, step: Message) -> "Future[None]":
        """Nobody keeps it."""
        kept: Future[None] = Future()
        kept.set_result(None)
        return kept

    def note(self, event: Message) -> None:
        """Nobody hears it."""

    def exceed(self, message: str, step: str | None) -> None:
        """Nobody asks for it."""


def _warm_up() -> None:
    ref = f"{__name__}:{_WarmUp.__name__}"
    work = {"run": ref, "execution_id": "warm-up", "inputs": {}, "steps": []}
    with contextlib.suppress(Exception):
        run({**work, "accepts_changes": False, "with_content": False, "meter": None}, _Nobody())


def _serve(link: ParentLink) -> None:
    runs, open_files = 0, sys.maxsize
    message = _first_request(link)
    while message is not None:
        if "run" not in message:
            link.send_line(wire.encode(_answer(message)))
        else:
            outcome = _run(message, link)
            runs += 1
            reusable = runs < message["reuse"] and _is_reusable(outcome, open_files)
            open_files = min(open_files, count_open_files())  # what CrewAI itself opens stays open
            link.send_line(_encode_outcome({**outcome, "reusable": reusable}))
            if not reusable:
                return
        message = link.next_request()


def _run(message: Message, host: Host) -> Message:
    workspace = Workspace(Path(message["folder"]))
    with workspace.entered(message["environment"], host.note):
        return run(message, host)


def _is_reusable(outcome: Message, open_files: int) -> bool:
    if "stopped" in outcome:
        return False  # its threads were interrupted anywhere
    flush_events()
    return is_clean(open_files)


def _encode_outcome(outcome: Message) -> bytes:
    try:
        encoded = wire.encode(outcome)
    except ValueError as error:
        return wire.encode(_unfit(f"The flow's result is not JSON: {error}"))
    if len(encoded) > wire.MAX_MESSAGE:
        limit = wire.MAX_MESSAGE // 2**20
        return wire.encode(_unfit(f"The flow's result is larger than {limit} MiB"))
    return encoded


def _unfit(message: str) -> Message:
    return {"failure": {"code": "invalid_output", "message": message}, "reusable": False}


def _answer(message: Message) -> Message:
    """What the validator is asked."""
    if "describe" in message:
        return {"flows": {name: describe(ref) for name, ref in message["describe"].items()}}
    try:
        if "find_fields" in message:
            return {"errors": unknown_fields(load(message["find_fields"]), message["names"])}
        return {"errors": input_errors(load(message["validate"]), message["inputs"])}
    except FlowNotLoaded as error:
        return {"broken": explain(error).message}
