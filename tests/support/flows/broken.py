"""A module that cannot be imported."""

from crewai.flow import Flow, start

raise RuntimeError("the oven is not plugged in")


class Broken(Flow[dict[str, object]]):
    @start()
    def bake(self) -> None:
        """Never reached."""
