"""What to record in place of data that the database refuses: an end that cannot be stored is none.

All of it is ASCII, which every database holds.
"""

from dataclasses import replace

from crewserve.domain.errors import ValueRefused
from crewserve.domain.event_log import Entry
from crewserve.domain.execution import Event, Raised, Returned
from crewserve.domain.failure import Failure, FailureCode
from crewserve.domain.step import Step


def event_instead(event: Event, refusal: ValueRefused) -> Event:
    """A failure that says what was refused. Raises: ValueRefused, when *event* holds no data."""
    match event:
        case Returned():
            message = f"The flow's result cannot be stored: {refusal.reason}"
            return Raised(_plain(Failure(code=FailureCode.INVALID_OUTPUT, message=message)))
        case Raised(failure):
            return replace(event, failure=_plain(failure))
        case _:
            raise refusal


def step_instead(step: Step, refusal: ValueRefused) -> Step:
    """The step without its data: it runs again after a crash."""
    problem = _ascii(f"It cannot be stored: {refusal.reason}")
    return replace(step, name=_ascii(step.name), result=None, state=None, problem=problem)


def plain_entry(entry: Entry) -> Entry:
    """Only names can be refused: data is stored as JSON, which is ASCII."""
    return replace(
        entry,
        type=_ascii(entry.type),
        step=entry.step and _ascii(entry.step),
        id=entry.id and _ascii(entry.id),
        parent=entry.parent and _ascii(entry.parent),
    )


def _plain(failure: Failure) -> Failure:
    return Failure(
        code=failure.code,
        message=_ascii(failure.message),
        type=failure.type and _ascii(failure.type),
        step=failure.step and _ascii(failure.step),
        traceback=failure.traceback and _ascii(failure.traceback),
    )


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()
