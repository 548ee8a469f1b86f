"""An execution that crashes goes on where it was: finished steps run once."""

import asyncio
import importlib
import json
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crewserve.crew import wire

if TYPE_CHECKING:
    from crewserve.crew.durable import Recorded

pytestmark = [
    pytest.mark.usefixtures("crewai"),
    pytest.mark.filterwarnings("ignore"),
]

ID = "0197a2f0-0000-7000-8000-000000000000"

STEPS = {"Linear": 4, "Graph": 11, "Starts": 5, "Race": 3, "Crewed": 3, "ReturnsState": 3}
"""How many each flow records."""

MARKS = {
    "Linear": ["one", "two", "three", "four"],
    "Graph": ["first", "work1", "check1", "work2", "check3", "slow", "quick", "after", "join"],
    "Starts": ["a", "b", "c", "winner", "join"],
    "Race": ["go", "hare", "prize"],
    "Crewed": ["crew", "keep", "read"],
    "ReturnsState": ["one", "two", "three"],
}
"""The steps that each flow can be killed in."""


class Journal:
    """The host's side: keeps steps until it is told to crash at one."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.crash_before: int | None = None
        self.crash_after: int | None = None
        self.delays: dict[str, float] = {}
        self.checks = 0
        self.accepts_changes = False
        self._asked = 0

    def record(self, step: dict[str, Any]) -> "Future[None]":
        self._asked += 1
        if self.crash_before is not None and self._asked >= self.crash_before:
            raise Flows().Crash
        if self.crash_after is not None and self._asked > self.crash_after:
            raise Flows().Crash
        kept = wire.decode(wire.encode(step))
        self.rows = {at: row for at, row in self.rows.items() if at < step["position"]}
        self.rows[step["position"]] = kept
        if self.crash_after is not None and self._asked >= self.crash_after:
            raise Flows().Crash
        committed: Future[None] = Future()
        delay = self.delays.get(step["name"], 0)
        asyncio.get_running_loop().call_later(delay, committed.set_result, None)
        return committed

    def check(self) -> None:
        self.checks += 1

    def recorded(self) -> "list[Recorded]":
        from crewserve.crew.durable import Recorded

        names = ("position", "name", "call", "result", "state", "problem")
        return [Recorded(**{name: row[name] for name in names}) for row in self.rows.values()]

    def names(self) -> list[str]:
        return [self.rows[position]["name"] for position in sorted(self.rows)]

    def process(self, flow: str, *, inputs: Any = None) -> Any:
        """One try to run the flow to its end, with what was kept so far."""
        return asyncio.run(self._kickoff(flow, inputs))

    def crashing_process(self, flow: str) -> None:
        with pytest.raises(Flows().Crash):
            self.process(flow)
        self.crash_before = self.crash_after = None

    async def _kickoff(self, name: str, inputs: Any) -> Any:
        from crewserve.crew.durable import make_durable
        from crewserve.crew.internals import raw_state, silence_console

        silence_console()
        flow = getattr(Flows(), name)()
        state = raw_state(flow)
        if isinstance(state, dict):
            state["id"] = ID
        else:
            state.id = ID
        make_durable(
            flow, self.recorded(), self.record, self.check, accepts_changes=self.accepts_changes
        )
        return await flow.kickoff_async(inputs=inputs)


def Flows() -> Any:  # noqa: N802  # stands for the module
    return importlib.import_module("tests.crew.durable_flows")


@pytest.fixture(autouse=True)
def fresh(crewai: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Flows().ran.clear()
    yield
    Flows().die_in.clear()


def result_without_a_crash(flow: str) -> Any:
    journal = Journal()
    result = journal.process(flow)
    assert len(journal.rows) == STEPS[flow]
    assert sorted(journal.rows) == list(range(1, STEPS[flow] + 1))
    assert {row["problem"] for row in journal.rows.values()} == {None}
    Flows().ran.clear()
    return result


def calls(journal: Journal) -> set[str]:
    """The marks that steps in the journal left."""
    marks = set()
    for row in journal.rows.values():
        rounds = row["name"] in {"work", "check"}
        marks.add(f"{row['name']}{row['call']}" if rounds else row["name"])
    return marks


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("flow", "step"), [(flow, step + 1) for flow, steps in STEPS.items() for step in range(steps)]
)
def test_a_crash_at_the_end_of_a_step_repeats_no_step_that_was_kept(
    flow: str, step: int, when: str
) -> None:
    expected = result_without_a_crash(flow)
    journal = Journal()
    setattr(journal, f"crash_{when}", step)
    journal.crashing_process(flow)
    assert len(journal.rows) == step - (when == "before")
    finished = calls(journal)
    assert journal.process(flow) == expected
    assert {mark: Flows().ran[mark] for mark in finished} == dict.fromkeys(finished, 1)
    assert max(Flows().ran.values()) <= 2
    assert sorted(journal.rows) == list(range(1, STEPS[flow] + 1))


@pytest.mark.parametrize(
    ("flow", "mark"), [(flow, mark) for flow, marks in MARKS.items() for mark in marks]
)
def test_a_crash_in_a_step_repeats_only_what_had_not_ended(flow: str, mark: str) -> None:
    expected = result_without_a_crash(flow)
    journal = Journal()
    Flows().die_in.add(mark)
    journal.crashing_process(flow)
    finished = calls(journal)
    assert mark not in finished
    assert journal.process(flow) == expected
    assert {done: Flows().ran[done] for done in finished} == dict.fromkeys(finished, 1)
    assert Flows().ran[mark] == 2


def test_a_complete_journal_runs_nothing() -> None:
    for flow, steps in STEPS.items():
        journal = Journal()
        result = journal.process(flow)
        kept, before = dict(journal.rows), Flows().ran.copy()
        lost_race = {"tortoise": 1} if flow == "Race" else {}
        assert journal.process(flow) == result
        assert journal.rows == kept
        assert len(kept) == steps
        assert Flows().ran - before in ({}, lost_race)
        Flows().ran.clear()


def test_two_crashes_are_no_worse_than_one() -> None:
    expected = result_without_a_crash("Graph")
    journal = Journal()
    for step in (3, 4, 2):
        journal.crash_after = step
        journal._asked = 0
        journal.crashing_process("Graph")
    assert len(journal.rows) == 9
    assert journal.process("Graph") == expected


def test_listeners_start_after_their_step_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal()
    journal.delays = dict.fromkeys(("one", "two", "three"), 0.03)
    began: list[list[str]] = []

    def record(step: dict[str, Any]) -> "Future[None]":
        committed = Journal.record(journal, step)
        committed.add_done_callback(lambda _: began.append(list(Flows().ran)))
        return committed

    monkeypatch.setattr(journal, "record", record)
    journal.process("Linear")
    assert began == [MARKS["Linear"][: step + 1] for step in range(4)]


def test_who_was_first_stays_first() -> None:
    journal = Journal()
    journal.process("Starts")
    assert journal.names()[:2] == ["c", "winner"]
    assert journal.rows[2]["result"] == "c"
    journal.rows = {at: row for at, row in journal.rows.items() if at == 1}
    journal.process("Starts")
    assert journal.rows[2]["result"] == "c"


def test_steps_go_on_in_the_order_in_which_they_were_numbered() -> None:
    journal = Journal()
    journal.delays = {"c": 0.05}
    journal.process("Starts")
    winner = next(row for row in journal.rows.values() if row["name"] == "winner")
    assert (journal.rows[1]["name"], winner["result"]) == ("c", "c")


def test_a_step_says_when_it_ran() -> None:
    journal = Journal()
    journal.process("Starts")
    took = {row["name"]: row["ended"] - row["started"] for row in journal.rows.values()}
    assert took["a"] > 0.025 > took["c"] >= 0


def test_each_step_asks_first_whether_it_may_begin() -> None:
    journal = Journal()
    journal.process("Linear")
    assert journal.checks == 4

    def refuse() -> None:
        raise Flows().Crash

    journal = Journal()
    journal.check = refuse  # type: ignore[method-assign]
    journal.crashing_process("Linear")
    assert not Flows().ran["one"] - 1
    assert journal.rows == {}


def test_a_result_that_cannot_be_kept_is_a_problem_and_runs_again() -> None:
    journal = Journal()
    assert journal.process("Locks") == "locked"
    row = journal.rows[2]
    assert row["problem"] == "result.lock cannot be kept: it is a _thread:lock"
    assert (row["result"], row["state"]) == (None, None)
    assert journal.rows[3]["problem"] is None
    assert journal.process("Locks") == "locked"
    assert Flows().ran == {"one": 1, "lock": 2, "use": 2, "last": 2}
    assert sorted(journal.rows) == [1, 2, 3, 4]


def test_a_state_that_cannot_be_kept_is_a_problem_of_the_step() -> None:
    journal = Journal()
    assert journal.process("HidesLock") == 2
    problem = "state.lock cannot be kept: it is a _thread:lock"
    assert [journal.rows[at]["problem"] for at in (1, 2)] == [problem, None]
    assert journal.process("HidesLock") == 2
    assert Flows().ran == {"one": 2, "two": 2}


def test_a_step_that_fails_is_not_kept() -> None:
    journal = Journal()
    with pytest.raises(OSError, match="the line is dead"):
        journal.process("Fails")
    assert journal.names() == ["one"]
    assert journal.process("Fails") == 2
    assert Flows().ran == {"one": 1, "two": 2}


@pytest.mark.parametrize(("first", "second"), [("left", "right"), ("right", "left")])
def test_a_branch_that_was_interrupted_writes_to_shared_state_again(
    first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit that the docs state. Its first write is in the state that its sibling left."""
    monkeypatch.setattr(Flows().Shared, "order", (first, second))
    assert Journal().process("Shared") == ["left", "right"]
    journal = Journal()
    Flows().ran.clear()
    Flows().die_in.add(second)
    journal.crashing_process("Shared")
    assert journal.names() == [first]
    assert journal.process("Shared") == sorted([first, second, second])
    assert Flows().ran == {first: 1, second: 2, "join": 1}


def test_inputs_are_those_of_the_state_that_was_kept() -> None:
    journal = Journal()
    journal.crash_after = 2
    with pytest.raises(Flows().Crash):
        journal.process("Linear", inputs={"total": 10})
    journal.crash_after = None
    assert journal.process("Linear", inputs={"total": 10})[2] == 14


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_answers_of_a_person_are_kept(step: int) -> None:
    expected = ["draft: well done", "yes", ["draft", "review"], True]
    Flows().Says.answer = "well done"
    journal = Journal()
    journal.crash_after = step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crewai.flow.flow.Flow._collapse_to_outcome", lambda *_, **__: "yes")
        journal.crashing_process("Reviewed")
        assert journal.process("Reviewed") == expected
    assert Flows().ran["asked"] == 2


def test_a_step_that_waits_for_a_person_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flows().Says, "answer", None)
    journal = Journal()
    pending = journal.process("Reviewed")
    assert type(pending).__name__ == "HumanFeedbackPending"
    assert journal.rows == {}


def test_a_flow_that_persists_its_state_does_so_still() -> None:
    journal = Journal()
    journal.crash_after = 1
    journal.crashing_process("Persisted")
    assert journal.process("Persisted") == 2
    from crewai.flow.persistence.factory import default_flow_persistence

    persisted = default_flow_persistence().load_state(ID)
    assert persisted is not None
    assert persisted["total"] == 2


def test_code_that_has_changed_runs_again_from_where_it_differs() -> None:
    """The host asks before it lets this happen."""
    journal = Journal()
    expected = journal.process("Linear")
    journal.rows[2]["name"] = "was_called_otherwise"
    Flows().ran.clear()
    assert journal.process("Linear") == expected
    assert Flows().ran == {"two": 1, "three": 1, "four": 1}
    assert journal.names() == ["one", "two", "three", "four"]


def test_a_result_whose_class_is_gone_runs_again_if_changes_are_accepted() -> None:
    journal = Journal()
    expected = journal.process("Linear")
    text = json.dumps(journal.rows[2]["result"]).replace("LongNote", "Gone")
    journal.rows[2]["result"] = json.loads(text)
    Flows().ran.clear()
    from crewserve.crew.codec import NotDecodable

    with pytest.raises(NotDecodable):
        journal.process("Linear")
    assert Flows().ran == {}
    journal.accepts_changes = True
    assert journal.process("Linear") == expected
    assert Flows().ran == {"two": 1, "three": 1, "four": 1}
