"""What was encoded comes back exactly, and nothing else does."""

import contextlib
import enum
import functools
import json
import threading
import typing
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PrivateAttr,
    RootModel,
    SecretStr,
    field_validator,
)
from pydantic.dataclasses import dataclass as checked_dataclass

from crewserve.crew import wire
from crewserve.crew.codec import NotDecodable, NotEncodable, contents, decode, encode, fill

HERE = __name__


class Size(enum.Enum):
    SMALL = "s"


class Colour(enum.StrEnum):
    RED = "red"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Part(BaseModel):
    name: str = ""


class Wheel(Part):
    spokes: int = 32


class Bicycle(BaseModel):
    part: Part
    parts: list[Part] = []
    secret: str = Field(default="", exclude=True)
    inner_name: str = Field(default="", alias="innerName")
    built: datetime | None = None
    anything: Any = None
    _seen: int = PrivateAttr(default=0)


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str = None  # type: ignore[assignment]  # as many a flow has it


class Doubling(BaseModel):
    number: int = 1

    @field_validator("number")
    @classmethod
    def double(cls, value: int) -> int:
        return 2 * value


class Names(RootModel[list[str]]): ...


class Locked(BaseModel):
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)


class Lengthy(BaseModel):
    name: str = ""

    @functools.cached_property
    def length(self) -> int:
        return len(self.name)


@dataclass
class Point:
    x: int
    y: Any = None
    total: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.total += 1


@dataclass(frozen=True, slots=True)
class Fixed:
    tags: frozenset[str]


@checked_dataclass
class Checked:
    x: int


def back(value: Any) -> Any:
    """By way of the host and of a journal, which keeps a text."""
    sent = wire.decode(wire.encode({"result": encode(value)}))
    return decode(json.loads(json.dumps(sent["result"], allow_nan=False)))


def same(one: Any, other: Any) -> bool:
    """Equal and of equal types; two names for UTC are the same."""
    return repr(one).replace("TzInfo(0)", "datetime.timezone.utc") == repr(other).replace(
        "TzInfo(0)", "datetime.timezone.utc"
    ) and bool(one == other)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
offsets = st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=30))])
keys = st.sampled_from(["$dict", "$model", "$state", "$", ""]) | texts
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
    | st.dates()
    | st.timedeltas()
    | st.datetimes(timezones=offsets).map(lambda value: value.replace(fold=0))
    | st.times(timezones=offsets).map(lambda value: value.replace(fold=0))
    | st.sampled_from([Size.SMALL, Colour.RED, Right.WRITE, HttpUrl("https://a.example/b?c")])
)
hashable = st.recursive(scalars, lambda inner: st.tuples(inner, inner), max_leaves=3)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys | hashable, inner, max_size=3)
        | st.sets(hashable, max_size=3)
        | st.builds(Point, st.integers(), inner)
        | st.builds(lambda value: Bicycle(part=Wheel(name="w"), anything=value), inner)
        | st.builds(lambda value: Loose(name="n", other=value), inner)
    ),
    max_leaves=12,
)


@given(values)
def test_what_goes_in_comes_out(value: Any) -> None:
    assert encode(back(value)) == encode(value)
    assert back(value) == value


@given(scalars)
def test_types_come_back_too(value: Any) -> None:
    assert same(back(value), value)


@given(st.dictionaries(texts.filter(lambda key: not key.startswith("$")), texts, max_size=4))
def test_json_stays_what_it_is(value: dict[str, str]) -> None:
    assert encode({"found": [value, 1, None]}) == {"found": [value, 1, None]}


def test_a_model_comes_back_with_what_a_dump_would_lose() -> None:
    bicycle = Bicycle(
        part=Wheel(name="front", spokes=28),
        parts=[Wheel(name="back"), Part()],
        secret="hunter2",
        innerName="Rosinante",
        built=datetime(2026, 1, 31, tzinfo=UTC),
        anything=(1, {2}),
    )
    bicycle._seen = 7
    found = back(bicycle)
    assert found == bicycle
    assert type(found.part) is Wheel
    assert type(found.parts[0]) is Wheel
    assert (found.secret, found._seen, found.anything) == ("hunter2", 7, (1, {2}))
    assert found.model_fields_set == bicycle.model_fields_set


@pytest.mark.parametrize(
    "value",
    [
        Bicycle.model_validate({"part": {}, "built": "2026-01-31T10:00:00Z"}),
        Loose(other=[1]),
        Loose.model_construct(name=None),  # type: ignore[arg-type]
        Doubling(number=2),
        Names(["a", "b"]),
        Point(1, (2,)),
        Fixed(frozenset({"a", "b"})),
        Checked(4),
        Path("a/b"),
        Lengthy(name="tea"),
        2**400,
        1e16,
        -0.0,
        True,
        datetime.min,  # noqa: DTZ901  # a time without a zone
        time.max,
        date(1, 1, 1),
        UUID(int=0),
        Decimal("1.10"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_comes_back(value: Any) -> None:
    assert same(back(value), value)


def test_what_is_computed_once_is_computed_again() -> None:
    value = Lengthy(name="tea")
    assert (value.length, back(value).length) == (3, 3)


def test_a_crew_s_output_comes_back(crewai: None) -> None:
    from crewai.crews.crew_output import CrewOutput
    from crewai.tasks.task_output import TaskOutput

    task = TaskOutput(description="d", agent="a", raw="r", pydantic=Wheel(name="w"))
    task.messages.append({"role": "user", "content": "hi", "odd": 1})  # type: ignore[typeddict-unknown-key]
    output = CrewOutput(raw="r", pydantic=Wheel(name="w"), tasks_output=[task])
    found = back(output)
    assert found == output
    assert type(found.pydantic) is type(found.tasks_output[0].pydantic) is Wheel


def local_model() -> Any:
    class Local(BaseModel): ...

    return Local()


def looped() -> Any:
    value: list[Any] = []
    value.append([value, value])
    return value


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 0


def stray() -> Any:
    point = Point(1)
    point.extra = 1  # type: ignore[attr-defined]
    return point


class Text(str): ...


class Pair(typing.NamedTuple):
    one: int


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (threading.Lock(), "_thread:lock"),
        (float("nan"), "not finite"),
        (float("-inf"), "not finite"),
        (Decimal("sNaN"), "not finite"),
        ("\ud800", "half a character"),
        ({"\ud800": 1}, "a key of step"),
        (Path("\udc80"), "half a character"),
        (10**5000, "4,000 digits"),
        (SecretStr("s"), "SecretStr"),
        (Text("x"), "Text"),
        (Pair(1), "Pair"),
        (OrderedDict(), "OrderedDict"),
        (lambda: 0, "function"),
        (Wheel, "ModelMetaclass"),
        (Point, "type"),
        (Right.READ | Right.WRITE, "flags"),
        (datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")), "Europe/Berlin"),
        (time(2, 30, fold=1), "second"),
        (looped(), "contains itself"),
        (nested(200), "64 levels"),
        (local_model(), "local_model.<locals>.Local"),
        (stray(), "extra"),
        (Locked(), "_lock"),
        (Part.model_construct(_fields_set=None), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_not_come_back_is_refused(value: Any, says: str | None) -> None:
    if says is None:
        assert same(back(value), value)
        return
    with pytest.raises(NotEncodable, match=says):
        encode(value, "step")


def test_the_refusal_says_where() -> None:
    with pytest.raises(NotEncodable) as caught:
        encode({"rows": [1, Bicycle(part=Part(), anything={3: {threading.Lock()}})]}, "result")
    text = "result.rows[1].anything[3][0] cannot be kept: it is a _thread:lock"
    assert str(caught.value) == text


def test_a_class_that_another_took_the_place_of_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    value = Wheel()
    imposter = type("Wheel", (BaseModel,), {"__module__": HERE})
    monkeypatch.setitem(globals(), "Wheel", imposter)
    with pytest.raises(NotEncodable, match="two classes"):
        encode(value)


@pytest.mark.parametrize(
    "data",
    [
        {"$model": "os:system"},
        {"$model": "os:system", "has": {"command": "true"}},
        {"$model": "os:_Environ", "has": {}},
        {"$model": "subprocess:Popen", "has": {"args": "true"}},
        {"$model": "builtins:dict", "has": {}},
        {"$model": "pydantic:BaseModel", "has": {}},
        {"$model": "no_such_module:Thing", "has": {}},
        {"$model": "antigravity.:x", "has": {}},
        {"$model": "", "has": {}},
        {"$model": None, "has": {}},
        {"$model": ["os:system"], "has": {}},
        {"$model": "__main__:X", "has": {}},
        {"$model": f"{HERE}:Point", "has": {"x": 1}},
        {"$model": f"{HERE}:Part.__init__", "has": {}},
        {"$model": f"{HERE}:Wheel", "has": {"name": "no spokes"}},
        {"$model": f"{HERE}:Wheel", "has": {"name": "", "spokes": 1, "hub": 1}},
        {"$model": f"{HERE}:Wheel", "has": [1]},
        {"$model": f"{HERE}:Wheel"},
        {"$dataclass": f"{HERE}:Wheel", "has": {"name": ""}},
        {"$dataclass": f"{HERE}:Point", "has": {"__class__": 1}},
        {"$dataclass": f"{HERE}:local_model", "has": {}},
        {"$enum": f"{HERE}:Size", "name": "mro"},
        {"$enum": f"{HERE}:Size", "name": []},
        {"$enum": "os:system", "name": "true"},
        {"$set": [{}]},
        {"$set": 1},
        {"$dict": [[1]]},
        {"$dict": {"a": 1}},
        {"$date": 3},
        {"$date": "tomorrow"},
        {"$decimal": {}},
        {"$base64": "?"},
        {"$path": None},
        {"$state": True},
        {"$pickle": "gASVCgAAAAAAAACMBmRvY3Rlcg=="},
        [{"deep": {"$eval": "1"}}],
    ],
    ids=json.dumps,
)
def test_data_that_was_not_encoded_here_is_refused(data: Any) -> None:
    with pytest.raises(NotDecodable):
        decode(data)


@given(
    st.recursive(
        st.none() | st.integers() | st.sampled_from(["os:system", f"{HERE}:Point", "x", "name"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["$model", "$dataclass", "$enum", "$dict", "$set", "has", "name"]),
                inner,
                max_size=3,
            )
        ),
    )
)
def test_nothing_but_a_refusal_comes_of_bad_data(data: Any) -> None:
    with contextlib.suppress(NotDecodable):
        decode(data)


def test_no_code_of_the_class_runs() -> None:
    ran: list[str] = []
    Noisy.ran = ran
    data = {"$model": f"{HERE}:Noisy", "has": {"number": 1}}
    assert decode(data).number == 1
    assert decode({"$dataclass": f"{HERE}:Point", "has": {"x": 1, "total": 5}}).total == 5
    assert ran == []


class Noisy(BaseModel):
    ran: typing.ClassVar[list[str]] = []
    number: int

    def model_post_init(self, _: Any) -> None:
        self.ran.append("model_post_init")

    @field_validator("number")
    @classmethod
    def check(cls, value: int) -> int:
        cls.ran.append("validator")
        return value


def test_a_model_can_be_filled_in_place() -> None:
    one, other = Loose(name="one", a=1), Loose(name="other", b=2)
    fill(one, contents(other))
    assert one == other
    with pytest.raises(NotDecodable):
        fill(Part(), {"title": "no name"})
