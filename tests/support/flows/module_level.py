"""A module that makes a flow while it is imported, which emits a CrewAI event."""

from crewai.flow import Flow, start


class ModuleLevel(Flow[dict[str, object]]):
    @start()
    def answer(self) -> str:
        return "still works"


flow = ModuleLevel()
