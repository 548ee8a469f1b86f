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


def test_fields_that_a_state_cannot_have_are_named() -> None:
    from crewai.flow.flow import Flow

    from crewserve.crew.describing import unknown_fields

    class Open(BaseModel, extra="allow"):
        topic: str = ""

    class Typed(Flow[State]): ...

    class Extensible(Flow[Open]): ...

    class Mapped(Flow[dict]): ...  # type: ignore[type-arg]

    [error] = unknown_fields(Typed, ["lines", "tone"])
    assert (error["field"], error["type"]) == ("state.tone", "unknown_field")
    assert error["message"].endswith("its fields are: topic, lines")
    assert unknown_fields(Extensible, ["tone"]) == unknown_fields(Mapped, ["tone"]) == []


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


def test_whoever_waits_for_a_task_in_a_thread_hears_of_any_end() -> None:
    from concurrent.futures import Future

    from crewai import Task

    from crewserve.crew import internals

    class Ended(BaseException): ...

    class Ending(Task):
        def _execute_core(self, *_: Any) -> Any:
            raise Ended

    task = Ending(description="d", expected_output="e")
    unheard: Future[Any] = Future()
    with pytest.raises(Ended):
        internals._execute_as_crewai(task, None, None, None, unheard)
    assert not unheard.done(), "CrewAI settles it by now: remove settle_tasks_that_end_oddly"
    internals.settle_tasks_that_end_oddly()
    with pytest.raises(Ended):
        task.execute_async().result(5)


class Steps:
    """A wrapper that writes down what goes through it."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[tuple[str, Any]] = []

    def around(self, step: Any) -> Any:
        async def run(name: str, method: Any, *args: Any) -> Any:
            self.began.append(name)
            result, event = await step(name, method, *args)
            self.ended.append((name, result))
            return result, event

        return run


def a_walk() -> "Any":
    from crewai.flow.flow import Flow, listen, or_, router, start

    class Walk(Flow):  # type: ignore[type-arg]
        @start()
        def begin(self) -> int:
            return 0

        @listen(or_(begin, "more"))
        async def count(self) -> int:
            self.state["n"] = self.state.get("n", 0) + 1
            return int(self.state["n"])

        @router(count)
        def decide(self) -> Literal["more", "done"]:
            return "more" if self.state["n"] < 2 else "done"

        @listen("done")
        def finish(self, label: str) -> str:
            return label

    return Walk


def test_every_kind_of_step_goes_through_the_wrapper() -> None:
    from crewserve.crew.internals import wrap_steps

    steps, flow = Steps(), a_walk()()
    wrap_steps(flow, steps.around)
    assert flow.kickoff() == "done"
    loop = [("count", 1), ("decide", "more"), ("count", 2), ("decide", "done")]
    assert steps.ended == [("begin", 0), *loop, ("finish", "done")]
    other = a_walk()()
    assert other.kickoff() == "done"
    assert len(steps.began) == 6, "another object of the class is not wrapped"


def test_listeners_wait_until_the_wrapper_returns() -> None:
    import asyncio

    from crewserve.crew.internals import wrap_steps

    began: list[str] = []

    def around(step: Any) -> Any:
        async def run(name: str, *args: Any) -> Any:
            began.append(name)
            result = await step(name, *args)
            await asyncio.sleep(0.02)
            assert began[-1] == name
            return result

        return run

    flow = a_walk()()
    wrap_steps(flow, around)
    assert flow.kickoff() == "done"


def test_a_noted_step_leaves_what_a_run_leaves() -> None:
    from crewserve.crew.internals import note_step, raw_state, wrap_steps

    steps, real, replayed = Steps(), a_walk()(), a_walk()()
    wrap_steps(real, steps.around)
    real.kickoff()
    ended = iter(steps.ended)

    def instead(_: Any) -> Any:
        async def run(name: str, *args: Any) -> Any:
            return note_step(replayed, name, next(ended)[1]), None

        return run

    wrap_steps(replayed, instead)
    assert replayed.kickoff() == "done"
    assert "n" not in raw_state(replayed)
    for attribute in (
        "_method_outputs",
        "_method_execution_counts",
        "_completed_methods",
        "_method_call_counts",
        "_fired_or_listeners",
        "_pending_events",
    ):
        assert getattr(replayed, attribute) == getattr(real, attribute), attribute


def test_an_answer_is_found_and_can_be_noted() -> None:
    from crewai.flow.flow import Flow, listen, start
    from crewai.flow.human_feedback import HumanFeedbackResult, human_feedback

    from crewserve.crew.internals import feedback_on, note_step, wrap_steps

    class Says:
        def request_feedback(self, context: Any, flow: Any) -> str:
            return ""

    class Asks(Flow):  # type: ignore[type-arg]
        @start()
        @human_feedback(message="?", emit=["yes", "no"], llm="gpt-4o", provider=Says())
        def question(self) -> str:
            return "text"

        @listen("yes")
        def go(self, said: HumanFeedbackResult) -> HumanFeedbackResult:
            return said

    steps, real, replayed = Steps(), Asks(), Asks()
    wrap_steps(real, steps.around)
    said = real.kickoff()
    assert steps.ended == [("question", "yes"), ("go", said)]
    assert feedback_on(real, "question") is said
    assert feedback_on(real, "go") is None
    assert note_step(replayed, "question", said) == "yes"
    assert replayed._method_outputs == real._method_outputs[:1]
    assert replayed.human_feedback_history == real.human_feedback_history
    assert replayed.last_human_feedback == real.last_human_feedback
