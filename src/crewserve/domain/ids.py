"""Names and identifiers that must not be mixed up."""

import re
from typing import NewType
from uuid import UUID

ExecutionId = NewType("ExecutionId", UUID)
"""A UUIDv7 (RFC 9562): sorts by time of creation."""

FlowName = NewType("FlowName", str)
"""The name of a served flow, in snake case: `poem_flow`. Its path on the API is `poem-flow`."""

QueueName = NewType("QueueName", str)
"""Where executions wait: `FlowControl.queue`, or the name of their flow."""

WorkerName = NewType("WorkerName", str)
"""A supervisor process: `host:pid:start:random`; never used again once that process ended."""


Tenant = NewType("Tenant", str)
"""To whom something belongs: a customer, a team. No tenant learns that another one's exists."""

KeyId = NewType("KeyId", str)
"""The visible part of an API key."""

AuditId = NewType("AuditId", UUID)
"""A UUIDv7 of an entry of the audit log."""


def name_of(class_name: str) -> FlowName:
    """How a flow is called by default: ``HTTPPoemFlow`` is ``http_poem_flow``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name)
    return FlowName(words.lower())


def path_of(flow: FlowName) -> str:
    """The URL segment of *flow*."""
    return flow.replace("_", "-")


def title_of(flow: FlowName) -> str:
    """How *flow* is called in a sentence: `Poem flow`."""
    return flow.replace("_", " ").capitalize()
