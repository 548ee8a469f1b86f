"""CrewAI's unpromised parts are where we think they are. A new CrewAI version fails here first."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, field_validator

pytestmark = [
    pytest.mark.usefixtures("crewai"),
    pytest.mark.filterwarnings("ignore"),
]


class State(BaseModel):
    topic: str
    lines: int = 3


def test_the_bus_knows_whether_it_was_used() -> None:
    code = (
        "from crewserve.crew.internals import bus_was_used; from crewai.flow.flow import Flow\n"
        "class F(Flow):\n    _skip_auto_memory = True\n"
        "before = bus_was_used(); F(); print(before, bus_was_used())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("False True")


def test_a_state_model_is_found_however_it_is_declared() -> None:
    from crewai.flow.flow import Flow

    from crewserve.crew.internals import state_model

    class Typed(Flow[State]): ...

    class Named(Flow):  # type: ignore[type-arg]
        initial_state: Any = State

    class Plain(Flow): ...  # type: ignore[type-arg]

    class Mapped(Flow[dict]): ...  # type: ignore[type-arg]

    found = [state_model(flow) for flow in (Typed, Named, Plain, Mapped)]
    assert found == [State, State, None, None]


def test_inputs_are_checked_in_the_words_of_the_state_model() -> None:
    from crewai.flow.flow import Flow

    from crewserve.crew.describing import input_errors

    class Typed(Flow[State]): ...

    assert input_errors(Typed, {"topic": "tea"}) == []
    errors = input_errors(Typed, {"lines": "many"})
    assert [(error["field"], error["type"]) for error in errors] == [
        ("topic", "missing"),
        ("lines", "int_parsing"),
    ]


def a_graph() -> "type[Any]":
    from crewai.flow.flow import Flow, and_, listen, router, start

    class Graph(Flow[State]):
        @start()
        def begin(self) -> int:
            """Where it begins."""
            return 1

        @router(begin)
        def decide(self) -> Literal["yes", "no"]:
            return "yes" if self.state.lines else "no"

        @listen("somewhere")
        def wait(self) -> None: ...

        @listen("yes")
        def accept(self) -> None: ...

        @listen(and_(begin, accept))
        def finish(self) -> None: ...

    return Graph


def test_a_flow_is_described_with_its_graph() -> None:
    from crewserve.crew.describing import _graph, _input_schema

    graph = _graph(a_graph())
    kinds = [(node["name"], node["type"]) for node in graph["nodes"]]
    listeners = [(name, "listen") for name in ("wait", "accept", "finish")]
    assert kinds == [("begin", "start"), ("decide", "router"), *listeners]
    arrows = {
        (edge["source"], edge["target"], edge["label"], edge["join"]) for edge in graph["edges"]
    }
    assert arrows == {
        ("begin", "decide", None, None),
        ("decide", "accept", "yes", None),
        (None, "wait", "somewhere", None),
        ("begin", "finish", None, "and"),
        ("accept", "finish", None, "and"),
    }
    assert graph["nodes"][0]["description"] == "Where it begins."
    assert set(_input_schema(a_graph())["properties"]) == {"topic", "lines"}


def test_a_validator_that_crashes_is_an_error_of_the_inputs() -> None:
    from crewai.flow.flow import Flow

    from crewserve.crew.describing import input_errors

    class Crashing(BaseModel):
        name: str = ""

        @field_validator("name", mode="before")
        @classmethod
        def strip(cls, value: Any) -> Any:
            return value.strip()

    class Typed(Flow[Crashing]): ...

    [error] = input_errors(Typed, {"name": 5})
    assert "AttributeError" in error["message"]


def test_a_flow_that_cannot_be_described_is_broken_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crewserve.crew.describing import describe

    lines = (
        "import os",
        "from crewai.flow.flow import Flow",
        "from pydantic import BaseModel",
        "class Odd(BaseModel):",
        '    x: "Undefined" = None',
        "class OddFlow(Flow[Odd]): ...",
        "class Missing: ...",
    )
    (tmp_path / "odd_module.py").write_text("\n".join(lines))
    (tmp_path / "leaky_module.py").write_text("import os\nraise OSError(os.environ['DB_PASSWORD'])")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DB_PASSWORD", "hunter2hunter2")
    odd, leaky = describe("odd_module:OddFlow"), describe("leaky_module:Flow")
    assert (odd["health"], leaky["health"]) == ("broken", "broken")
    assert "hunter2" not in str(leaky)


PREMADE_STATE = """
import warnings; warnings.simplefilter("ignore")
from pydantic import BaseModel
from crewai.flow.flow import Flow, start
from crewserve.crew import internals
from crewserve.crew.running import _construct, _state

class State(BaseModel):
    topic: str = "tea"

class Required(BaseModel):
    topic: str

class Typed(Flow[State]):
    @start()
    def begin(self): return self.state.topic

class Strict(Flow[Required]):
    @start()
    def begin(self): return self.state.topic

as_crewai_does = Typed()
for flow in (Typed, Strict):
    internals.premake_state(flow)
ours = Typed()
print(type(ours._state) is type(Typed()._state), isinstance(ours._state, State))
print(type(ours._state).model_fields.keys() == type(as_crewai_does._state).model_fields.keys())
print(ours.state.id != Typed().state.id, internals.state_model(Typed) is State)
flow, rest = _construct(Strict, {"topic": "sea"})
print(_state(flow), rest)
print(isinstance(flow._state, Required), internals.state_model(Strict) is Required)
"""


def test_a_state_whose_class_was_made_before_is_what_crewai_makes() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PREMADE_STATE], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == [
        "True True",
        "True",
        "True True",
        "{'topic': 'sea'} None",
        "True True",
    ]
