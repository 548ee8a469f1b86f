"""A flow of one crew with one agent and one task: one call of a language model."""

import os

from crewai import LLM, Agent, Crew, Task
from crewai.flow.flow import Flow, start
from pydantic import BaseModel


class CrewState(BaseModel):
    topic: str = "the sea"
    answer: str = ""


class CrewFlow(Flow[CrewState]):
    """Ask the model that OPENAI_BASE_URL leads to."""

    suppress_flow_events: bool = True

    @start()
    def write(self) -> None:
        llm = LLM(model="openai/gpt-4o-mini", base_url=os.environ["OPENAI_BASE_URL"])
        poet = Agent(role="Poet", goal="Write well", backstory="You write poems.", llm=llm)
        task = Task(
            description="Write one sentence about {topic}.",
            expected_output="One sentence.",
            agent=poet,
        )
        output = Crew(agents=[poet], tasks=[task]).kickoff(inputs={"topic": self.state.topic})
        self.state.answer = str(output)
