"""Which flows are served, and what is known of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from crewserve.domain.errors import FlowNotFound, FlowUnavailable
from crewserve.domain.flow import LOADING, FlowDescription, FlowHealth, FlowSpec
from crewserve.domain.ids import FlowName, QueueName
from crewserve.domain.realm import Realm


@dataclass(frozen=True, slots=True)
class FlowCatalog:
    """The served flows, by name; described once they have loaded."""

    specs: Mapping[FlowName, FlowSpec]
    _described: dict[FlowName, FlowDescription] = field(default_factory=dict)

    def within(self, realm: Realm) -> "FlowCatalog":
        """The flows that exist there. It learns what this one learns."""
        specs = {name: spec for name, spec in self.specs.items() if realm.has_flow(name)}
        return FlowCatalog(specs, self._described)

    def find(self, name_or_path: str) -> FlowSpec:
        """The flow called ``poem_flow``, or ``poem-flow``. Raises: FlowNotFound."""
        for name in (name_or_path, name_or_path.replace("-", "_")):
            if spec := self.specs.get(FlowName(name)):
                return spec
        raise FlowNotFound(name_or_path, list(self.specs))

    def queues(self) -> Collection[QueueName]:
        """Where the served flows' executions wait."""
        return {spec.control.queue_of(name) for name, spec in self.specs.items()}

    def of_queues(self, queues: Collection[str]) -> Collection[FlowName]:
        """The flows of these queues; of all, if these are none."""
        return [
            name
            for name, spec in self.specs.items()
            if not queues or spec.control.queue_of(name) in queues
        ]

    def describe(self, descriptions: Mapping[FlowName, FlowDescription]) -> None:
        """Note what was found out by whoever loads flows, perhaps others than are served here."""
        known = {name: found for name, found in descriptions.items() if name in self.specs}
        self._described.update(known)

    def description(self, name: FlowName) -> FlowDescription:
        """`LOADING` until it is described."""
        return self._described.get(name, LOADING)

    def state_schemas(self) -> Mapping[FlowName, Mapping[str, Any]]:
        """Schemas of the inputs of loaded flows whose own state model checks them."""
        return {
            name: description.input_schema
            for name, description in self._described.items()
            if description.input_schema is not None and self.specs[name].input_schema is None
        }

    def check_available(self, spec: FlowSpec) -> None:
        """Raises: FlowUnavailable, when loading it has failed."""
        description = self.description(spec.name)
        if description.health is FlowHealth.BROKEN:
            raise FlowUnavailable(spec.name, description.error or "its module failed to load")
