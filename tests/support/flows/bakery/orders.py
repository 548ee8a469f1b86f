"""A flow in a package, which imports from that package."""

from crewai.flow import Flow, start


class Baking(Flow[dict[str, object]]):
    """Bakes."""

    @start()
    def bake(self) -> str:
        return f"baked in {__name__}"
