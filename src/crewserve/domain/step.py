"""A finished step of an execution: what makes a crash cheap."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of one flow method that ended. Recorded before anything that listens to it runs."""

    position: int
    """From 1, in the order in which steps ended."""
    name: str
    """The method."""
    call: int
    """From 1: which call of that method in this execution."""
    result: Any
    """What it returned, encoded by ``crew/codec.py``."""
    state: Any
    """The flow's state afterwards, encoded; None when it cannot be."""
    problem: str | None = None
    """Why it cannot be replayed; then this step and all after it run again."""
    digest: str
    """Of the flow's code that ran it."""
    attempt: int
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to run an execution, from claim to end."""

    number: int
    """From 1. Two have the same number when the first was handed back unfinished."""
    fence: int
    worker: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str | None = None
    """``completed``, ``failed``, ``cancelled``, ``lost`` or ``handed_back``; None while it runs."""
    error: str | None = None
    code: str | None = None
