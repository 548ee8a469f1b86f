"""How an execution is stopped from within its own process, so that its code can tidy up.

The supervisor asks, waits for a while, and then kills the process, which always works. This is
what happens in that while:

- What CrewAI does next (a step, a model call, a tool call, a token of a stream) raises
  `FlowStopped` in the thread that does it.
- The kickoff's task is cancelled at once, so steps that are coroutines get ``CancelledError``.
- Python code of ours or others that did neither within `PATIENCE` is interrupted: `FlowStopped` is
  raised between two of its instructions.

Cancelling ends the kickoff while threads of synchronous steps still run. That is wanted: whoever
runs the kickoff in an ``asyncio.Runner`` and answers after it was closed has waited for them,
because closing it joins the threads of its executor. So all ``finally`` blocks have run when the
answer is sent, and a step that never returns is what the supervisor's patience is for.
"""

import asyncio
import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from crewai.events.stream_context import add_stream_sink, reset_stream_sinks
from crewai.hooks.dispatch import InterceptionPoint, scoped_hooks

from crewserve.crew.internals import settle_tasks_that_end_oddly

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE: Final = 1.0
"""Seconds that a step may go on by itself: most notice at their next call of CrewAI, and are then
interrupted at a place where that can be expected."""

_POINTS: Final = (
    InterceptionPoint.PRE_STEP,
    InterceptionPoint.PRE_MODEL_CALL,
    InterceptionPoint.POST_MODEL_CALL,
    InterceptionPoint.PRE_TOOL_CALL,
    InterceptionPoint.POST_TOOL_CALL,
)
"""Not after a step: what has finished may be recorded as finished."""

_BEGINNINGS: Final = ("_started", "_chunk")
"""Ends of the types of events at which something begins or goes on. Those that tell of an end are
also emitted while code tidies up, and must not raise."""


class FlowStopped(BaseException):
    """Raised in a flow's code when its execution is to end.

    Not an ``Exception``: agents, tools and providers answer those by trying again, and so does
    much code of users. Not a ``HookAborted`` either: before a tool call CrewAI takes that for
    "skip this tool" and lets the agent go on. Not ``CancelledError``, which a thread cannot hand
    to the loop, nor ``KeyboardInterrupt``, which would tear the loop down.
    """

    def __init__(self) -> None:
        super().__init__("The execution was stopped")


@dataclass(frozen=True, slots=True)
class _Kickoff:
    """What is to be cancelled."""

    loop: asyncio.AbstractEventLoop
    task: "asyncio.Task[Any]"
    thread: int
    reached: threading.Event
    """The loop has taken the request: it is not blocked by a step's code."""

    def cancel(self) -> None:
        """Called by the loop."""
        self.reached.set()
        self.task.cancel()


class Stop:
    """The request to stop one execution, and its consequences."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested = False
        self._kickoff: _Kickoff | None = None
        self._busy: set[int] = set()
        """Threads that run a synchronous step and have not heard of the request."""

    @property
    def requested(self) -> bool:
        return self._requested

    def request(self) -> None:
        """May be called by any thread, at any time, and again."""
        with self._lock:
            if self._requested:
                return
            self._requested = True
            self._cancel()
        timer = threading.Timer(PATIENCE, self._interrupt)
        timer.daemon = True
        timer.start()

    def check(self) -> None:
        """Raises: FlowStopped, when it was requested."""
        if self._requested:
            with self._lock:
                self._busy.discard(threading.get_ident())  # it knows: let it tidy up
            raise FlowStopped

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Around one kickoff, in its own task. Raises: FlowStopped, when it shall not begin."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("A kickoff is watched from within its task")
        settle_tasks_that_end_oddly()
        sinks = add_stream_sink(self._look_at)
        try:
            with self._cancelling(task), scoped_hooks({point: [self._hook] for point in _POINTS}):
                self.check()
                yield
        finally:
            reset_stream_sinks(sinks)

    @contextlib.contextmanager
    def _cancelling(self, task: "asyncio.Task[Any]") -> Iterator[None]:
        loop, here = task.get_loop(), threading.get_ident()
        with self._lock:
            self._kickoff = _Kickoff(loop, task, here, threading.Event())
        try:
            yield
        finally:
            with self._lock:
                self._kickoff = None

    def _hook(self, _: object) -> None:
        self.check()

    def _look_at(self, _: object, event: Any) -> None:
        if event.type.endswith(_BEGINNINGS):
            self.check()

    def _cancel(self) -> None:
        if self._kickoff is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._kickoff.loop.call_soon_threadsafe(self._kickoff.cancel)

    def _interrupt(self) -> None:
        with self._lock:
            threads, self._busy = self._busy, set()
            if self._kickoff is not None and not self._kickoff.reached.is_set():
                threads.add(self._kickoff.thread)
            for thread in threads:
                _raise_in(thread, FlowStopped)

    def run_step(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it in this thread, so that it can be interrupted."""
        thread = threading.get_ident()
        with self._lock:
            self._busy.add(thread)
        try:
            return function(*args, **kwargs)
        finally:
            with self._lock:
                self._busy.discard(thread)
                _raise_in(thread, None)  # too late: what this thread does next is not the step's


class StepThreads(ThreadPoolExecutor):
    """The default executor of the kickoff's loop, where CrewAI runs synchronous steps."""

    def __init__(self, stop: Stop, size: int) -> None:
        super().__init__(size)
        self._stop = stop

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return super().submit(lambda: self._stop.run_step(fn, *args, **kwargs))


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """As soon as *thread* runs Python code; None takes back what it has not yet seen."""
    what = ctypes.py_object(error) if error else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)
