"""What both servers take and give."""

from pydantic import BaseModel, Field


class NoopRequest(BaseModel):
    seconds: float = Field(default=0.0, ge=0.0)


class NoopResult(BaseModel):
    begun_ns: int
    outcome: str


class CrewRequest(BaseModel):
    topic: str = "the sea"


class CrewResult(BaseModel):
    answer: str
