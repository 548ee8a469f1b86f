"""Flows that tests crash and go on with. Import it only where CrewAI is already imported."""

import asyncio
import threading
import time
from collections import Counter
from typing import Any, ClassVar, Literal

from crewai.crews.crew_output import CrewOutput
from crewai.flow.async_feedback.types import HumanFeedbackPending, PendingFeedbackContext
from crewai.flow.flow import Flow, and_, listen, or_, router, start
from crewai.flow.human_feedback import HumanFeedbackResult, human_feedback
from crewai.flow.persistence import persist
from crewai.tasks.task_output import TaskOutput
from pydantic import BaseModel


class Crash(BaseException):
    """The end of the process."""


ran: Counter[str] = Counter()
"""How often each step began, over all processes of an execution."""

die_in: set[str] = set()
"""Steps that do not survive."""


def begin(step: str) -> None:
    ran[step] += 1
    if step in die_in:
        die_in.remove(step)
        raise Crash(step)


class Note(BaseModel):
    text: str
    of: int = 0


class LongNote(Note):
    pages: list[str] = []


class Trail(BaseModel):
    seen: list[str] = []
    total: int = 0
    best: Note | None = None


class Sloppy(Trail):
    title: str = None  # type: ignore[assignment]  # as many a flow has it


class Linear(Flow[Trail]):
    """Typed results between the steps, a typed state, an asynchronous step."""

    def go(self, step: str) -> None:
        self.state.seen.append(step)
        self.state.total += 1
        begin(step)

    @start()
    def one(self) -> Note:
        self.go("one")
        self.state.best = LongNote(text="best", pages=["p"])
        return LongNote(text="one", pages=["a", "b"])

    @listen(one)
    def two(self, note: Note) -> tuple[Any, ...]:
        assert type(note) is LongNote
        self.go("two")
        return ("two", {3}, note)

    @listen(two)
    async def three(self, found: tuple[Any, ...]) -> dict[str, Any]:
        assert found[1] == {3}
        self.go("three")
        await asyncio.sleep(0)
        return {"$model": "of the flow's own", "list": [found]}

    @listen(three)
    def four(self, found: dict[str, Any]) -> Any:
        self.go("four")
        assert type(self.state.best) is LongNote
        return [found["$model"], self.state.seen, self.state.total]


class Graph(Flow):  # type: ignore[type-arg]  # state is a dict
    """A router loop of three rounds, parallel branches that return results, a join."""

    def round(self) -> str:
        return str(self.state["n"])

    @start()
    def first(self) -> int:
        self.state["n"] = 0
        begin("first")
        return 0

    @listen(or_(first, "again"))
    def work(self) -> int:
        self.state["n"] += 1
        begin("work" + self.round())
        return int(self.state["n"])

    @router(work)
    def check(self) -> Literal["again", "enough"]:
        begin("check" + self.round())
        return "again" if self.state["n"] < 3 else "enough"

    @listen("enough")
    async def slow(self) -> str:
        begin("slow")
        await asyncio.sleep(0.02)
        return "slow"

    @listen("enough")
    def quick(self) -> str:
        begin("quick")
        return "quick"

    @listen(quick)
    def after(self, found: str) -> str:
        begin("after")
        return found + "er"

    @listen(and_(slow, after))
    def join(self) -> dict[str, Any]:
        begin("join")
        return {"n": self.state["n"], "outputs": self.method_outputs}


class Starts(Flow):  # type: ignore[type-arg]  # state is a dict
    """Many starts that end in another order than they began, and one join."""

    @start()
    async def a(self) -> str:
        begin("a")
        await asyncio.sleep(0.3)
        return "a"

    @start()
    def b(self) -> str:
        begin("b")
        time.sleep(0.15)
        return "b"

    @start()
    async def c(self) -> str:
        begin("c")
        return "c"

    @listen(or_(a, b, c))
    def winner(self, found: str) -> str:
        begin("winner")
        return found

    @listen(and_(a, b, winner))
    def join(self) -> dict[str, Any]:
        begin("join")
        return {"outputs": self.method_outputs[:-1] and sorted(map(str, self.method_outputs))}


class Race(Flow):  # type: ignore[type-arg]  # state is a dict
    """Racing listeners: CrewAI cancels the slower one."""

    @start()
    def go(self) -> str:
        begin("go")
        return "go"

    @listen(go)
    async def tortoise(self) -> str:
        begin("tortoise")
        await asyncio.sleep(30)
        return "tortoise"

    @listen(go)
    async def hare(self) -> str:
        begin("hare")
        await asyncio.sleep(0.01)
        return "hare"

    @listen(or_(tortoise, hare))
    def prize(self, winner: str) -> str:
        begin("prize")
        return winner


class Crewed(Flow):  # type: ignore[type-arg]  # state is a dict
    """What a crew gives back, passed on and kept in the state."""

    @start()
    def crew(self) -> CrewOutput:
        begin("crew")
        note = LongNote(text="written", pages=["p"])
        task = TaskOutput(description="write", agent="writer", raw="raw", pydantic=note)
        return CrewOutput(raw="raw", pydantic=note, tasks_output=[task])

    @listen(crew)
    def keep(self, output: CrewOutput) -> None:
        begin("keep")
        self.state["output"] = output

    @listen(keep)
    def read(self) -> list[Any]:
        begin("read")
        return [self.state["output"].pydantic, self.state["output"].tasks_output[0].raw]


class Locks(Flow):  # type: ignore[type-arg]  # state is a dict
    """The second step returns what nobody can keep."""

    @start()
    def one(self) -> int:
        begin("one")
        return 1

    @listen(one)
    def lock(self) -> Any:
        begin("lock")
        return {"lock": threading.Lock()}

    @listen(lock)
    def use(self, found: dict[str, Any]) -> str:
        begin("use")
        with found["lock"]:
            return "locked"

    @listen(use)
    def last(self, found: str) -> str:
        begin("last")
        return found


class HidesLock(Flow):  # type: ignore[type-arg]  # state is a dict
    """The state cannot be kept for a while."""

    @start()
    def one(self) -> int:
        begin("one")
        self.state["lock"] = threading.Lock()
        return 1

    @listen(one)
    def two(self) -> int:
        begin("two")
        del self.state["lock"]
        return 2


class ReturnsState(Flow[Sloppy]):
    """The state is what steps pass on: the same object, not a copy."""

    @start()
    def one(self) -> Any:
        begin("one")
        self.state.total = 1
        return self.state

    @listen(one)
    def two(self, state: Any) -> Any:
        begin("two")
        state.total += 1
        return self.state

    @listen(two)
    def three(self, state: Any) -> Any:
        begin("three")
        assert state is self.state
        state.total += 1
        return {"total": self.state.total}


class Shared(Flow):  # type: ignore[type-arg]  # state is a dict
    """Parallel branches that write to the state, which one should not do."""

    order: ClassVar[tuple[str, str]] = ("left", "right")
    """Who ends first."""

    async def add(self, name: str) -> str:
        self.state["added"] = [*self.state.get("added", []), name]
        if name == self.order[1]:
            await asyncio.sleep(0.05)
        begin(name)
        return name

    @start()
    async def left(self) -> str:
        return await self.add("left")

    @start()
    async def right(self) -> str:
        return await self.add("right")

    @listen(and_(left, right))
    def join(self) -> list[str]:
        begin("join")
        return sorted(self.state["added"])


class Fails(Flow):  # type: ignore[type-arg]  # state is a dict
    """The second step fails the first time."""

    @start()
    def one(self) -> int:
        begin("one")
        return 1

    @listen(one)
    def two(self, found: int) -> int:
        begin("two")
        if ran["two"] == 1:
            raise OSError("the line is dead")
        return found + 1


class Says:
    """A person who answers at once, or never."""

    answer: ClassVar[str | None] = "well done"

    def request_feedback(self, context: PendingFeedbackContext, flow: Flow[Any]) -> str:
        if self.answer is None:
            raise HumanFeedbackPending(context=context)
        ran["asked"] += 1
        return self.answer


class Reviewed(Flow):  # type: ignore[type-arg]  # state is a dict
    """Two questions: one whose answer is passed on, one with outcomes."""

    @start()
    @human_feedback(message="And?", provider=Says())
    def draft(self) -> Note:
        begin("draft")
        return Note(text="draft")

    @listen(draft)
    def improve(self, said: HumanFeedbackResult) -> str:
        begin("improve")
        return f"{said.output.text}: {said.feedback}"

    @listen(improve)
    @human_feedback(
        message="Yes?", emit=["yes", "no"], default_outcome="yes", llm="gpt-4o", provider=Says()
    )
    def review(self, text: str) -> str:
        begin("review")
        return text

    @listen("yes")
    def publish(self, said: HumanFeedbackResult) -> list[Any]:
        begin("publish")
        history = [found.method_name for found in self.human_feedback_history]
        return [said.output, said.outcome, history, self.last_human_feedback == said]


@persist()
class Persisted(Flow[Trail]):
    """Keeps its state by itself, too."""

    @start()
    def one(self) -> int:
        begin("one")
        self.state.total += 1
        return 1

    @listen(one)
    def two(self, found: int) -> int:
        begin("two")
        self.state.total += found
        return int(self.state.total)
