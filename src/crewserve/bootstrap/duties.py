"""What runs beside everything else until the process ends."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)

Duty = Coroutine[Any, Any, None]
Handler = Callable[[int, FrameType | None], object]


def keep(stack: AsyncExitStack, name: str, duty: Duty) -> None:
    """Run *duty* until *stack* ends."""
    stack.push_async_callback(_end, begin(name, duty))


def begin(name: str, duty: Duty) -> "asyncio.Task[None]":
    """Run *duty*, which ends by itself when it is asked to.

    A duty that fails takes the process with it: one that looks alive but claims or renews nothing
    is worse than none.
    """
    task = asyncio.create_task(duty, name=name)
    task.add_done_callback(_stop_process_on_failure)
    return task


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


def _stop_process_on_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()):
        log.critical("The %s failed; the process stops", task.get_name(), exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


def before_signals(prepare: Callable[[], None]) -> None:
    """Have *prepare* called by the loop when this process is asked to end, as well as what is now.

    The server waits for open answers before it ends, and some answers wait for it.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        usual = signal.getsignal(number)
        if callable(usual) and threading.current_thread() is threading.main_thread():
            signal.signal(number, _both(lambda: loop.call_soon_threadsafe(prepare), usual))


def _both(first: Callable[[], object], usual: Handler) -> Handler:
    def handle(number: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop has ended
            first()
        usual(number, frame)

    return handle
