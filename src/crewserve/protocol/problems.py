"""Errors on the wire: RFC 9457."""

from pydantic import BaseModel, Field

MEDIA_TYPE = "application/problem+json"


class ProblemField(BaseModel):
    """One thing wrong with the request."""

    field: str = Field(description="Dotted path; empty for the body or the inputs as a whole.")
    message: str
    type: str = Field(description="Machine-readable kind, as Pydantic names it.")


def _is_none(value: object) -> bool:
    return value is None


class Problem(BaseModel):
    """What went wrong, and what to do."""

    type: str = Field(description="`urn:crewserve:problem:` and the code.")
    title: str
    status: int
    detail: str = Field(description="A sentence for a person.")
    code: str = Field(description="Stable: programs may decide by it.")
    instance: str = Field(description="The path of the request.")
    request_id: str | None = Field(None, exclude_if=_is_none)
    errors: list[ProblemField] | None = Field(None, exclude_if=_is_none)
