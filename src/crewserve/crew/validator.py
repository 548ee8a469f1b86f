"""The child that knows every flow's state model: it describes flows and checks inputs."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from crewserve.crew.child_link import ChildLink, NoAnswer
from crewserve.crew.template_link import TemplateLink
from crewserve.crew.wire import Message
from crewserve.domain.errors import FieldError, FlowUnavailable, NotReady
from crewserve.domain.flow import FlowDescription, FlowGraph, FlowHealth, FlowSpec
from crewserve.domain.ids import FlowName
from crewserve.ports import Described

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 5.0
"""A state model whose validators take longer hangs; the child is then replaced."""

DESCRIBE_SECONDS: Final = 60.0
"""Describing imports the flows that the template could not."""


@dataclass(slots=True, eq=False)
class Validator:
    """Keeps one such child running, and asks it one thing at a time."""

    template: TemplateLink
    flows: Callable[[], Collection[FlowSpec]]
    on_described: Described
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """It has described the flows, so it can answer."""
    _child: ChildLink | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def keep_running(self) -> None:
        """Start it, learn about the flows, start it again whenever it ends."""
        while True:
            child = await self.template.fork()
            if await child.hello():
                learned = await self._learn(child)
                self._child = child
                if learned:
                    self.ready.set()
                await asyncio.shield(child.exited)
                self._child = None
            await asyncio.sleep(1)

    async def _learn(self, child: ChildLink) -> bool:
        refs = {flow.name: flow.ref for flow in self.flows()}
        try:
            async with asyncio.timeout(DESCRIBE_SECONDS):
                answer = await child.ask({"describe": refs})
        except (NoAnswer, TimeoutError) as error:
            log.error("The flows cannot be described: %s", str(error) or "it takes too long")
            self.template.end(child)
            return False
        described = {FlowName(name): _description(raw) for name, raw in answer["flows"].items()}
        for name, description in described.items():
            if description.health is FlowHealth.BROKEN:
                log.error(
                    "The flow %s cannot be loaded: %s\n%s",
                    name,
                    description.error,
                    description.traceback,
                )
        self.on_described(described)
        return True

    async def validate(self, flow: FlowSpec, inputs: Mapping[str, Any]) -> Sequence[FieldError]:
        """Raises: NotReady, FlowUnavailable."""
        return await self._ask(flow, {"validate": flow.ref, "inputs": inputs})

    async def unknown_fields(self, flow: FlowSpec, names: Collection[str]) -> Sequence[FieldError]:
        """Raises: NotReady, FlowUnavailable."""
        return await self._ask(flow, {"find_fields": flow.ref, "names": list(names)})

    async def _ask(self, flow: FlowSpec, question: Message) -> Sequence[FieldError]:
        async with self._turn:
            child = self._child
            if child is None:
                raise NotReady("The flows are still loading", retry_after=timedelta(seconds=1))
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    answer = await child.ask(question)
            except (NoAnswer, TimeoutError) as error:
                self._child = None
                self.template.end(child)
                how = "takes too long" if isinstance(error, TimeoutError) else "crashed"
                raise NotReady(
                    f"The inputs could not be checked: the state model of {flow.name} {how}",
                    retry_after=timedelta(seconds=5),
                ) from error
        if "broken" in answer:
            raise FlowUnavailable(flow.name, answer["broken"])
        return [FieldError(**found) for found in answer["errors"]]


def _description(raw: Message) -> FlowDescription:
    graph = raw.get("graph")
    return FlowDescription(
        health=FlowHealth(raw["health"]),
        description=raw.get("description"),
        input_schema=raw.get("input_schema"),
        graph=FlowGraph(nodes=tuple(graph["nodes"]), edges=tuple(graph["edges"]))
        if graph
        else None,
        digest=raw.get("digest"),
        error=raw.get("error"),
        traceback=raw.get("traceback"),
    )
