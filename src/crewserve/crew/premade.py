"""Work that every first run repeats, done once in the template process.

None of it emits a CrewAI event or starts a thread. What cannot be made before is made when it is
needed, as always.
"""

import importlib
import ssl
from collections.abc import Iterator
from contextlib import suppress
from functools import wraps
from typing import Any, Final

import certifi
from pydantic import BaseModel

from crewserve.crew.describing import digest
from crewserve.crew.environment import certificate_file
from crewserve.crew.internals import FlowClass, premake_state

TLS_CONTEXTS: Final = 6
"""A language model's client takes two; each costs up to 60 ms, for parsing 140 certificates."""

MODELS: Final = ("crewai.events.types.", "openai.types.chat.chat_completion")
"""Modules whose Pydantic models build their validators at the first use; each takes 5 to 20 ms."""

FLOWS: Final = ("crewai.agents.agent_executor:AgentExecutor",)
"""CrewAI's own flows, whose definition is read from their source at the first use."""


def make() -> None:
    """To be called once, after everything is imported."""
    _premake_tls_contexts()
    for model in _incomplete(BaseModel):
        with suppress(Exception):
            model.model_rebuild()
    for ref in FLOWS:
        module, _, name = ref.partition(":")
        with suppress(Exception):
            flow(getattr(importlib.import_module(module), name))


def flow(flow_class: FlowClass) -> None:
    """What CrewAI finds out about a flow's class at its first use, or at every use."""
    flow_class.flow_definition()  # read from its source once, kept on the class
    premake_state(flow_class)


def user_flow(flow_class: FlowClass) -> None:
    """The same for a flow that is served, whose code is now what it is on the disk."""
    flow(flow_class)
    digest(flow_class)


def _incomplete(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for subclass in model.__subclasses__():
        if subclass.__module__.startswith(MODELS) and not subclass.__pydantic_complete__:
            yield subclass
        yield from _incomplete(subclass)


def _premake_tls_contexts() -> None:
    """Let `ssl.create_default_context` hand out contexts that exist already.

    Each is given away once, so nobody ever shares one, and only for the arguments that it was made
    with: those of httpx's default (httpx/_config.py, `create_ssl_context`).
    """
    make_context = ssl.create_default_context
    file = certificate_file() or certifi.where()
    ready = [make_context(cafile=file) for _ in range(TLS_CONTEXTS)]

    @wraps(make_context)
    def create_default_context(*args: Any, **options: Any) -> ssl.SSLContext:
        if ready and not args and options == {"cafile": file}:
            return ready.pop()
        return make_context(*args, **options)

    ssl.create_default_context = create_default_context
