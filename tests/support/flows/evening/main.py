"""One of two files called main.py, as every CrewAI project has one."""

from crewai.flow import Flow, start


class Closing(Flow[dict[str, object]]):
    @start()
    def act(self) -> str:
        return "evening"
