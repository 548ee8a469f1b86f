"""What runs beside everything else until the process ends."""

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

log = logging.getLogger(__name__)

Duty = Coroutine[Any, Any, None]


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
