"""The crew of the poem flow, as described in `config/`."""

from typing import Any

from crewai import Agent, Crew, Process, Task
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.project import CrewBase, agent, crew, task

from flows.poem_flow.model import language_model


@CrewBase
class PoemCrew:
    """One poet with one task."""

    agents: list[BaseAgent]
    tasks: list[Task]
    # CrewAI fills these from config/agents.yaml and config/tasks.yaml.
    agents_config: dict[str, Any]
    tasks_config: dict[str, Any]

    @agent
    def poet(self) -> Agent:
        return Agent(config=self.agents_config["poet"], llm=language_model())

    @task
    def write_poem(self) -> Task:
        return Task(config=self.tasks_config["write_poem"])  # type: ignore[call-arg]  # YAML has the rest

    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=self.tasks, process=Process.sequential)
