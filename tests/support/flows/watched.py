"""Flows in which much can be seen to happen."""

import os
import threading
import time
from typing import Any

from crewai import LLM, Agent, Crew, Task
from crewai.events import crewai_event_bus
from crewai.events.base_events import BaseEvent
from crewai.flow import Flow, listen, start
from pydantic import BaseModel


class Progress(BaseEvent):
    """A user's own event."""

    type: str = "progress"
    done: int
    note: str = ""
    api_key: str = os.environ.get("OPENAI_API_KEY", "")
    source: Any = None


class Topic(BaseModel):
    topic: str = "tea"
    seconds: float = 0.0
    count: int = 0


class StreamingCrew(Flow[Topic]):
    """A crew whose model streams, and an event of its own."""

    @start()
    def write(self) -> str:
        model = LLM(model=os.environ["MODEL"], base_url=os.environ["OPENAI_BASE_URL"], stream=True)
        poet = Agent(role="poet", goal="rhyme", backstory="an old hand", llm=model)
        task = Task(
            description=f"Write about <{self.state.topic}>.", expected_output="A poem.", agent=poet
        )
        return str(Crew(agents=[poet], tasks=[task]).kickoff())

    @listen(write)
    def tell(self, poem: str) -> str:
        key = os.environ["OPENAI_API_KEY"]
        note = f"{self.state.topic} with {key}"
        crewai_event_bus.emit(self, Progress(done=len(poem), note=note, source=self))
        return poem


class Counting(Flow[Topic]):
    """Tells of each number, and pauses between."""

    @start()
    def count(self) -> int:
        count: int = self.state.count
        for number in range(count):
            crewai_event_bus.emit(self, Progress(done=number))
            time.sleep(self.state.seconds)
        return count


class Threaded(Flow[Topic]):
    """Tells from a thread of its own, which has no context."""

    @start()
    def work(self) -> str:
        emit = crewai_event_bus.emit
        thread = threading.Thread(target=lambda: emit(self, Progress(done=1)))
        thread.start()
        thread.join()
        return "done"
