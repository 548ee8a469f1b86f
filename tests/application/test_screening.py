"""The screen refuses nothing that a state model would take."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from crewserve.application.catalog import FlowCatalog
from crewserve.application.screening import Screening
from crewserve.domain.errors import FieldError
from crewserve.domain.flow import FlowDescription, FlowHealth, FlowSpec
from crewserve.domain.ids import FlowName

POEM = FlowSpec(name=FlowName("poem_flow"), ref="m:PoemFlow")


class Colour(Enum):
    RED = "red"
    ONE = 1


class Line(BaseModel):
    text: str
    stress: tuple[int, float] | None = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]


class Point(NamedTuple):
    x: int
    y: int = 0


@dataclass
class Box:
    size: int


class State(BaseModel):
    model_config = ConfigDict(populate_by_name=True, extra="forbid")

    topic: str = Field(alias="theTopic", max_length=5)
    lines: list[Line] = []
    count: int = Field(3, ge=1)
    ratio: float | None = None
    loud: bool = False
    words: set[str] = set()
    due: date | None = None
    price: Decimal | None = None
    colour: Colour | None = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    extra: dict[str, int] = {}
    point: Point | None = None
    box: Box | None = None
    inner: "State | None" = None
    anything: Any = None
    data: JsonValue = None
    pairs: list[tuple[str, int]] = []


def screening(model: type[BaseModel] | None = State) -> Screening:
    catalog = FlowCatalog({POEM.name: POEM})
    if model is not None:
        schema = model.model_json_schema()
        described = FlowDescription(health=FlowHealth.READY, input_schema=schema)
        catalog.describe({POEM.name: described})
    return Screening(catalog)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
WORDS = st.sampled_from(["3", "1.5", "true", "red", "2026-01-01", "cat", "dog", ""])
JSON = st.recursive(
    SCALARS | WORDS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["text", "kind", "stress", "lives", "x", "size", "topic"]),
            inner,
            max_size=2,
        )
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(["theTopic", *State.model_fields])


@given(st.dictionaries(NAMES, JSON, max_size=4))
async def test_what_the_model_takes_passes(inputs: dict[str, Any]) -> None:
    try:
        State.model_validate(inputs)
    except ValidationError:
        return
    assert await screening().validate(POEM, inputs) == []


@pytest.mark.parametrize(
    ("inputs", "errors"),
    [
        ({}, [("theTopic", "missing")]),
        ({"theTopic": ["a"]}, [("theTopic", "wrong_type")]),
        ({"theTopic": "a", "lines": "b"}, [("lines", "wrong_type")]),
        ({"theTopic": "a", "lines": [{"text": "b"}, {}]}, [("lines.1.text", "missing")]),
        ({"theTopic": "a", "lines": [{"text": "b", "stress": 3}]}, []),
        ({"theTopic": "a", "ratio": {"x": 1}}, [("ratio", "wrong_type")]),
        ({"theTopic": "a", "extra": [1]}, [("extra", "wrong_type")]),
        ({"theTopic": "a", "count": 0}, []),
        ({"theTopic": "a", "unknown": 1}, []),
    ],
)
async def test_what_no_model_takes_is_refused_by_its_field(
    inputs: dict[str, Any], errors: list[tuple[str, str]]
) -> None:
    found = await screening().validate(POEM, inputs)
    assert [(error.field, error.type) for error in found] == errors
    assert all(isinstance(error, FieldError) and error.message for error in found)


async def test_what_is_wrong_only_for_the_model_is_left_to_the_worker() -> None:
    inputs = {"theTopic": "far too long"}
    with pytest.raises(ValidationError):
        State.model_validate(inputs)
    assert await screening().validate(POEM, inputs) == []


async def test_while_no_worker_has_said_anything_all_passes() -> None:
    assert await screening(None).validate(POEM, {"anything": []}) == []
