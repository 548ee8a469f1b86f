"""No two children are the same user while there is another one."""

import asyncio

from crewserve.crew.generation import Lifespan
from crewserve.crew.users import Users
from tests.support.generations import a_generation

FIRST = 200_000


def test_each_has_a_turn_before_anybody_has_a_second_one() -> None:
    users = Users(FIRST, 3)
    for expected in (0, 1, 2, 0):
        user = users.take()
        assert user == FIRST + expected
        users.give_back(user)


def test_who_is_taken_is_passed_over() -> None:
    users = Users(FIRST, 3)
    kept = users.take()
    for expected in (1, 2, 1):
        user = users.take()
        assert user == FIRST + expected
        users.give_back(user)
    users.give_back(kept)
    assert users.take() == FIRST + 2
    assert users.take() == kept


def test_when_all_are_taken_those_are_shared_that_the_fewest_have() -> None:
    users = Users(FIRST, 2)
    taken = [users.take() for _ in range(4)]
    assert sorted(taken) == [FIRST, FIRST, FIRST + 1, FIRST + 1]
    users.give_back(FIRST + 1)
    assert users.take() == FIRST + 1


async def test_children_of_all_templates_of_a_host_take_turns() -> None:
    users = Users(FIRST, 100)
    generations = [await a_generation(Lifespan()) for _ in range(2)]
    children = []
    for one in generations:
        one.template.users = users
        children.append(await one.template.fork())
    assert [child.user for child in children] == [FIRST, FIRST + 1]
    for one in generations:
        listening = asyncio.create_task(one.template.listen())
        await one.template.close()
        await listening
        one.template.bury_all()
    assert not users._taken
