"""Flows that use models and tools, as often as they are told."""

import os
import threading
import time
from contextlib import suppress
from typing import Any

from crewai import LLM, Agent, Crew, Task
from crewai.flow import Flow, listen, start
from crewai.tools import tool
from pydantic import BaseModel


class Plan(BaseModel):
    first: int = 1
    """Calls of a model in the first step."""
    second: int = 1
    model: str = ""
    """In the second step, if it is another."""
    fails_in: str = ""
    """The number of an attempt that fails at the end of the second step."""
    done: int = 0


def ask(model: str = "") -> None:
    LLM(model=model or os.environ["MODEL"], base_url=os.environ["OPENAI_BASE_URL"]).call("Speak.")


class Asking(Flow[Plan]):
    """Two steps that ask a model so many times."""

    @start()
    def begin(self) -> str:
        for _ in range(self.state.first):
            ask()
        self.state.done = self.state.first
        return "begun"

    @listen(begin)
    def go_on(self, _: Any) -> int:
        for _ in range(self.state.second):
            ask(self.state.model)
        if os.environ["CREWSERVE_ATTEMPT"] == self.state.fails_in:
            raise RuntimeError("not yet")
        done: int = self.state.done
        return done


class Threaded(Flow[Plan]):
    """Asks from a thread of its own, which has no context, and then waits for it."""

    @start()
    def work(self) -> str:
        def work() -> None:
            for _ in range(self.state.first):
                ask()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return "done"


class Stubborn(Flow[Plan]):
    """Goes on whatever happens."""

    @start()
    def work(self) -> None:
        while True:
            with suppress(BaseException):
                ask()
            with suppress(BaseException):
                time.sleep(0.05)


@tool
def weigh(what: str) -> str:
    """Says what something weighs."""
    return f"{what} weighs a pound"


class Weighing(Flow[Plan]):
    """An agent with a tool."""

    @start()
    def work(self) -> str:
        model = LLM(model=os.environ["MODEL"], base_url=os.environ["OPENAI_BASE_URL"])
        cook = Agent(role="cook", goal="cook", backstory="old", llm=model, tools=[weigh])
        task = Task(description="Weigh the flour.", expected_output="A number.", agent=cook)
        return str(Crew(agents=[cook], tasks=[task]).kickoff())
