"""Flows of every shape that CrewAI knows."""

import asyncio
import os
from datetime import date
from typing import Literal

from crewai import LLM, Agent, Crew, Task
from crewai.crews.crew_output import CrewOutput
from crewai.flow import Flow, and_, listen, router, start
from pydantic import BaseModel, Field


class Order(BaseModel):
    customer: str
    pieces: int = Field(ge=1)
    tags: list[str] = []


class Receipt(BaseModel):
    customer: str
    total: int
    due: date


class RequiredInputs(Flow[Order]):
    """Needs a customer and a number of pieces."""

    @start()
    def confirm(self) -> str:
        return f"{self.state.pieces} for {self.state.customer}"


class TypedResult(Flow[Order]):
    @start()
    def bill(self) -> Receipt:
        total = 3 * self.state.pieces
        return Receipt(customer=self.state.customer, total=total, due=date(2030, 1, 31))


class DictState(Flow[dict[str, object]]):
    @start()
    def keep(self) -> None:
        self.state["seen"] = sorted(name for name in self.state if name != "id")

    @listen(keep)
    def answer(self) -> object:
        return self.state["seen"]


class AsyncSteps(Flow[dict[str, object]]):
    @start()
    async def fetch(self) -> int:
        first, second = await asyncio.gather(self._number(20), self._number(22))
        return first + second

    @listen(fetch)
    async def show(self, found: int) -> str:
        await asyncio.sleep(0)
        return f"found {found}"

    async def _number(self, number: int) -> int:
        await asyncio.sleep(0.01)
        return number


class Score(BaseModel):
    points: int = 0


class Routed(Flow[Score]):
    @start()
    def look(self) -> int:
        points: int = self.state.points
        return points

    @router(look)
    def judge(self, points: int) -> Literal["passed", "repeat"]:
        return "passed" if points >= 50 else "repeat"

    @listen("passed")
    def congratulate(self) -> str:
        return "well done"

    @listen("repeat")
    def console(self) -> str:
        return "once more"


class Undeclared(Flow[Score]):
    """Its router does not say what it may return; most do not."""

    @start()
    def look(self) -> int:
        points: int = self.state.points
        return points

    @router(look)
    def judge(self, points: int) -> str:
        return "passed" if points >= 50 else "repeat"

    @listen("passed")
    def congratulate(self) -> str:
        return "well done"


class LargeNumber(Flow[dict[str, object]]):
    @start()
    def count(self) -> int:
        return 2**64 + 1


class SeveralStarts(Flow[dict[str, object]]):
    @start()
    def left(self) -> str:
        return "left"

    @start()
    def right(self) -> str:
        return "right"

    @listen(and_(left, right))
    def join(self) -> list[str]:
        return sorted(str(output) for output in self.method_outputs)


class CrewWritten(Flow[dict[str, object]]):
    @start()
    def write(self) -> CrewOutput:
        model = LLM(model=os.environ["MODEL"], base_url=os.environ["OPENAI_BASE_URL"])
        poet = Agent(role="poet", goal="rhyme", backstory="an old hand", llm=model)
        poem = Task(description="Write a poem.", expected_output="A poem.", agent=poet)
        written = Crew(agents=[poet], tasks=[poem]).kickoff()
        assert isinstance(written, CrewOutput)
        return written
