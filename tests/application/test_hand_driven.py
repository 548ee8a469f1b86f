"""What hand-written routers may say, and what becomes of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from crewserve.application.hand_driven import HandDriven
from crewserve.domain.access_errors import ScopeMissing
from crewserve.domain.errors import ExecutionNotFound, ValueRefused
from crewserve.domain.failure import FailureCode
from crewserve.domain.ids import ExecutionId, FlowName, Tenant, WorkerName
from crewserve.domain.principal import ANYBODY, Principal
from crewserve.domain.status import Status
from crewserve.storage.memory import MemoryStore
from crewserve.testing.builders import a_new_id
from crewserve.testing.fakes import FrozenClock
from crewserve.testing.refusals import with_no_json

TOPIC = FlowName("topic_flow")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def by_hand(store: MemoryStore) -> HandDriven:
    return HandDriven(
        store=store,
        owner=WorkerName("ann:1:0:00"),
        lease=timedelta(seconds=30),
        hold=lambda _: None,
        release=lambda _: None,
        new_id=a_new_id,
        clock=FrozenClock(),
    )


def asked_by(by_hand: HandDriven, principal: Principal) -> HandDriven:
    return replace(by_hand, asking=lambda: principal)


def test_what_is_created_belongs_to_whoever_asks(by_hand: HandDriven) -> None:
    acme = Principal(tenant=Tenant("acme"), scopes=frozenset({"flows:topic_flow:execute"}))
    created = str(asked_by(by_hand, acme).create(TOPIC, {}))
    assert by_hand.get(created) is not None  # the deployment's own code
    assert asked_by(by_hand, acme).get(created) is not None
    other = asked_by(by_hand, ANYBODY)
    assert other.get(created) is None
    with pytest.raises(ExecutionNotFound):
        other.update(created, Status.RUNNING)
    with pytest.raises(ScopeMissing):
        asked_by(by_hand, acme).create(FlowName("other_flow"), {})


def running(by_hand: HandDriven) -> ExecutionId:
    execution = by_hand.create(TOPIC, {})
    by_hand.update(str(execution), Status.RUNNING)
    return execution


async def test_a_result_is_kept(by_hand: HandDriven, store: MemoryStore) -> None:
    execution = running(by_hand)
    by_hand.update(str(execution), Status.COMPLETED, result={"poem": "roses"})
    found = await store.get(execution)
    assert (found.status, found.result) == (Status.COMPLETED, {"poem": "roses"})


@with_no_json
async def test_a_result_that_cannot_be_stored_ends_it_as_a_failure(
    by_hand: HandDriven, store: MemoryStore, value: Any
) -> None:
    execution = running(by_hand)
    by_hand.update(str(execution), Status.COMPLETED, result=value)
    found = await store.get(execution)
    assert found.status is Status.FAILED
    assert found.failure is not None
    assert found.failure.code is FailureCode.INVALID_OUTPUT


@with_no_json
def test_inputs_that_cannot_be_stored_are_refused(by_hand: HandDriven, value: Any) -> None:
    with pytest.raises(ValueRefused):
        by_hand.create(TOPIC, {"value": value})


def test_half_characters_are_refused_too(by_hand: HandDriven) -> None:
    with pytest.raises(ValueRefused):
        by_hand.create(TOPIC, {"file": "caf\udce9"})


async def test_an_error_may_say_anything(by_hand: HandDriven, store: MemoryStore) -> None:
    execution = running(by_hand)
    by_hand.update(str(execution), Status.FAILED, error="no file caf\udce9")
    found = await store.get(execution)
    assert found.failure is not None
    assert found.failure.message == "no file caf\\udce9"
