"""A flow that is asked to stop ends soon, and its code can tidy up."""

import asyncio
import contextlib
import threading
import time
from typing import Any

import pytest

pytestmark = [
    pytest.mark.usefixtures("crewai"),
    pytest.mark.filterwarnings("ignore"),
]


class Diary:
    """What a flow did, and the moment at which it is to be stopped."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.ready = threading.Event()

    def tell(self, entry: str) -> None:
        self.entries.append(entry)


def stopped(flow: Any, diary: Diary) -> tuple[type[BaseException] | None, float]:
    """How the kickoff ended, and how long after the request all its code had."""
    from crewserve.crew.stopping import StepThreads, Stop

    stop, asked = Stop(), list[float]()

    def ask() -> None:
        diary.ready.wait(20)
        asked.append(time.monotonic())
        stop.request()
        stop.request()

    async def kickoff() -> None:
        with stop.watching():
            await flow.kickoff_async()

    asker = threading.Thread(target=ask)
    asker.start()
    error: type[BaseException] | None = None
    try:
        with asyncio.Runner() as runner:
            runner.get_loop().set_default_executor(StepThreads(stop, 8))
            runner.run(kickoff())
    except BaseException as raised:  # noqa: BLE001  # some are no Exception
        error = type(raised)
    seconds = time.monotonic()
    asker.join()
    return error, seconds - asked[0]


def test_a_coroutine_is_cancelled_at_once_and_tidies_up() -> None:
    from crewai.flow import Flow, start

    diary = Diary()

    class Sleeping(Flow[dict[str, Any]]):
        @start()
        async def sleep(self) -> None:
            try:
                diary.ready.set()
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.1)
                diary.tell("tidied")

    error, seconds = stopped(Sleeping(), diary)
    assert (error, diary.entries) == (asyncio.CancelledError, ["tidied"])
    assert seconds < 1


def test_a_thread_that_never_calls_crewai_is_interrupted_and_tidies_up() -> None:
    from crewai.flow import Flow, start

    diary = Diary()

    class Polling(Flow[dict[str, Any]]):
        @start()
        def poll(self) -> None:
            try:
                while True:
                    with contextlib.suppress(Exception):  # as code that tries again for ever
                        diary.ready.set()
                        time.sleep(0.01)
            finally:
                time.sleep(0.1)
                diary.tell("tidied")

    error, seconds = stopped(Polling(), diary)
    assert error is not None
    assert diary.entries == ["tidied"]
    assert 1 < seconds < 3


def test_a_coroutine_that_blocks_the_loop_is_interrupted() -> None:
    from crewai.flow import Flow, start

    diary = Diary()

    class Blocking(Flow[dict[str, Any]]):
        @start()
        async def block(self) -> None:
            try:
                diary.ready.set()
                while True:
                    time.sleep(0.01)  # noqa: ASYNC251  # what the test is about
            finally:
                diary.tell("tidied")

    error, seconds = stopped(Blocking(), diary)
    assert error is not None
    assert diary.entries == ["tidied"]
    assert 1 < seconds < 3


def test_code_that_tidies_up_is_not_interrupted() -> None:
    from crewai.events.event_bus import crewai_event_bus
    from crewai.events.types.flow_events import MethodExecutionStartedEvent
    from crewai.flow import Flow, start

    diary = Diary()

    class Tidying(Flow[dict[str, Any]]):
        @start()
        def work(self) -> None:
            event = MethodExecutionStartedEvent(flow_name="f", method_name="m", state={})
            try:
                while True:
                    diary.ready.set()
                    time.sleep(0.01)
                    crewai_event_bus.emit(self, event)
            finally:
                for _ in range(150):
                    time.sleep(0.01)
                diary.tell("tidied")

    stopped(Tidying(), diary)
    assert diary.entries == ["tidied"]


def test_a_coroutine_that_ignores_its_cancellation_starts_no_other_step() -> None:
    from crewai.flow import Flow, listen, start

    diary = Diary()

    class Stubborn(Flow[dict[str, Any]]):
        @start()
        async def begin(self) -> None:
            diary.ready.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

        @listen(begin)
        def go_on(self) -> None:
            diary.tell("went on")

    error, seconds = stopped(Stubborn(), diary)
    assert error is not None
    assert not diary.entries
    assert seconds < 1


def test_what_was_stopped_before_does_not_begin() -> None:
    from crewserve.crew.stopping import FlowStopped, Stop

    stop = Stop()
    stop.request()

    async def begin() -> None:
        with stop.watching():
            raise AssertionError("it began")

    with pytest.raises(FlowStopped):
        asyncio.run(begin())
    with pytest.raises(FlowStopped):
        stop.check()


def test_a_request_after_the_end_changes_nothing() -> None:
    from crewserve.crew.stopping import Stop

    stop = Stop()

    async def begin() -> str:
        with stop.watching():
            await asyncio.sleep(0)
        stop.request()
        await asyncio.sleep(0)
        return "done"

    assert asyncio.run(begin()) == "done"


def a_model(diary: Diary, stop_at: int) -> Any:
    """Answers with a tool call, then for ever with tokens; says when its *stop_at*-th call came."""
    from crewai import BaseLLM

    class Model(BaseLLM):
        def call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
            self._emit_call_started_event(messages)
            diary.tell("called")
            if len(diary.entries) < stop_at:
                return "Thought: I look.\nAction: look\nAction Input: {}"
            diary.ready.set()
            try:
                for _ in range(500):
                    time.sleep(0.01)
                    self._emit_stream_chunk_event("token ")
            finally:
                diary.tell("ended")
            return "Final Answer: all of it"

        async def acall(self, messages: Any, *args: Any, **kwargs: Any) -> str:
            return await asyncio.to_thread(self.call, messages, *args, **kwargs)

    return Model(model="fake")


def a_crew(model: Any, *, in_thread: bool = False, tools: tuple[Any, ...] = ()) -> Any:
    from crewai import Agent, Crew, Task

    agent = Agent(role="r", goal="g", backstory="b", llm=model, tools=list(tools), max_iter=5)
    task = Task(description="d", expected_output="e", agent=agent, async_execution=in_thread)
    return Crew(agents=[agent], tasks=[task])


def a_flow(crew: Any) -> Any:
    from crewai.flow import Flow, start

    class Crewed(Flow[dict[str, Any]]):
        @start()
        def work(self) -> Any:
            return crew.kickoff()

    return Crewed()


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_streaming_model_is_interrupted_between_two_tokens(*, in_thread: bool) -> None:
    diary = Diary()
    flow = a_flow(a_crew(a_model(diary, stop_at=1), in_thread=in_thread))
    error, seconds = stopped(flow, diary)
    assert error is not None
    assert diary.entries == ["called", "ended"]
    assert seconds < 1


def test_an_agent_whose_tool_is_refused_does_not_go_on() -> None:
    from crewai.tools import tool

    diary = Diary()

    @tool("look")
    def look() -> str:
        """Look."""
        diary.ready.set()
        time.sleep(0.2)
        return "seen"

    flow = a_flow(a_crew(a_model(diary, stop_at=3), tools=(look,)))
    error, seconds = stopped(flow, diary)
    assert error is not None
    assert diary.entries == ["called"]
    assert seconds < 1
