"""What `pip install -e .` of a checkout needs beyond the published package."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CheckoutDependencies(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's own generic
    """A checkout runs its flows, so its editable install brings CrewAI; the wheel does not."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds."""
        if version == "editable":
            extras = self.metadata.core.optional_dependencies
            build_data["dependencies"].extend([*extras["crewai"], *extras["embedded"]])
