"""Killing a child ends everything that it started; what belongs to others lives on."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from crewserve.crew import processes
from tests.support.forking import Forks
from tests.support.processes import is_alive
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

SLEEP = "import subprocess; subprocess.Popen(['sleep', '3600'], **{}); ready(); time.sleep(3600)"

DAEMONISED = """
import os, threading
def leave():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir('/')
            os.execve('/bin/sleep', ['sleep', '3600'], {{}})
        os._exit(0)
    os.wait()
thread = threading.Thread(target=leave)
thread.start()
thread.join()
ready()
time.sleep({seconds})
"""

FORKING = """
import os
def go_on():
    while True:
        if os.fork() == 0:
            os.setsid()
            time.sleep(0.003)
        else:
            time.sleep(0.003)
            os._exit(0)
for _ in range(5):
    if os.fork() == 0:
        go_on()
time.sleep(0.1)
ready()
time.sleep(3600)
"""

STUCK = {
    "a sleep": "ready(); time.sleep(3600)",
    "a socket": "import socket; ready(); a, b = socket.socketpair(); a.recv(1)",
    "a loop in C": "ready(); sum(range(10**12))",
    "C with the GIL held": "ready(); x = 3 ** (10**9)",
    "many threads": (
        "import threading\n"
        "for _ in range(70): threading.Thread(target=time.sleep, args=(3600,)).start()\n"
        "ready(); time.sleep(3600)"
    ),
    "a deaf process": (
        "import signal\n"
        "for n in (1, 2, 3, 15, 20): signal.signal(n, signal.SIG_IGN)\n"
        "ready(); time.sleep(3600)"
    ),
    "a process of its own": SLEEP.format({}),
    "a process in another session": SLEEP.format({"start_new_session": True}),
    "a process without our environment": SLEEP.format({"start_new_session": True, "env": {}}),
    "a daemon": DAEMONISED.format(seconds=3600),
    "processes that fork all the time": FORKING,
}


@pytest.fixture(scope="module")
def owner() -> str:
    return uuid4().hex


@pytest.fixture(scope="module")
def forks(owner: str) -> Iterator[Forks]:
    running = Forks.start(owner)
    yield running
    running.close()


def of_owner(owner: str) -> set[int]:
    return {pid for pid in processes._processes() if processes._belongs(pid, owner)}


def descendants(root: int) -> set[int]:
    found, new = set[int](), {root}
    while new:
        found |= new
        new = {child for pid in new for child in processes.children(pid)} - found
    return {pid for pid in found if is_alive(pid)}


@pytest.mark.parametrize("how", STUCK)
def test_nothing_is_left_of_a_child_that_is_killed(forks: Forks, owner: str, how: str) -> None:
    before = of_owner(owner)
    number, pid = forks.fork(STUCK[how])
    assert pid in descendants(forks.process.pid)
    begin = time.perf_counter()
    forks.kill(number)
    assert forks.wait_for_end(number) == -signal.SIGKILL
    seconds = time.perf_counter() - begin
    left = of_owner(owner) - before
    assert not {one for one in left if is_alive(one)}
    assert seconds < 1


def test_what_a_child_leaves_behind_lives_as_long_as_the_child(forks: Forks) -> None:
    _, other = forks.fork(DAEMONISED.format(seconds=3600))
    [theirs] = eventually(lambda: descendants(other) - {other})
    number, pid = forks.fork(DAEMONISED.format(seconds=0.5))
    [stray] = eventually(lambda: descendants(pid) - {pid})
    assert forks.wait_for_end(number) == 0
    assert not is_alive(stray)
    assert is_alive(theirs)


def test_children_of_all_threads_are_seen() -> None:
    done = threading.Event()
    started: list[subprocess.Popen[bytes]] = []

    def spawn() -> None:
        started.append(subprocess.Popen(["sleep", "3600"]))
        done.wait()

    thread = threading.Thread(target=spawn)
    thread.start()
    [process] = eventually(lambda: started)
    assert process.pid in processes.children()
    done.set()
    thread.join()
    process.kill()
    process.wait()


def test_at_the_deadline_all_children_end(owner: str) -> None:
    own = uuid4().hex
    forks = Forks.start(own)
    numbers = [forks.fork(STUCK["a daemon"])[0] for _ in range(5)]
    forks.live_until(time.clock_gettime(time.CLOCK_BOOTTIME) - 1)
    assert {forks.wait_for_end(number) for number in numbers} == {-signal.SIGKILL}
    assert of_owner(own) == {forks.process.pid}
    forks.close()


def test_nobody_is_born_after_the_deadline_until_there_is_another() -> None:
    own = uuid4().hex
    forks = Forks.start(own)
    forks.live_until(0)
    with pytest.raises(ConnectionError):
        forks.fork(STUCK["a sleep"])
    assert forks.wait_for_end(1) == 1
    forks.live_until(time.clock_gettime(time.CLOCK_BOOTTIME) + 60)
    number, pid = forks.fork(STUCK["a sleep"])
    assert is_alive(pid)
    forks.live_until(0)
    assert forks.wait_for_end(number) == -signal.SIGKILL
    forks.close()


def test_nothing_outlives_a_host_that_ends() -> None:
    owner = uuid4().hex
    forks = Forks.start(owner)
    for how in ("a daemon", "a process without our environment", "a sleep"):
        forks.fork(STUCK[how])
    assert len(of_owner(owner)) == 6
    forks.close()
    assert not of_owner(owner)


@pytest.mark.parametrize("how", ["a daemon", "a process without our environment"])
def test_strays_of_a_template_that_was_killed_are_found(how: str) -> None:
    owner = uuid4().hex
    forks = Forks.start(owner)
    _, pid = forks.fork(STUCK[how])
    [stray] = descendants(pid) - {pid}
    forks.process.kill()
    forks.process.wait()
    eventually(lambda: not is_alive(pid))
    assert of_owner(owner) == {stray}
    processes.kill_strays("somebody else")
    assert is_alive(stray)
    processes.kill_strays(owner)
    eventually(lambda: not is_alive(stray), within=1)
    forks.close()


def test_strays_that_fork_all_the_time_are_found() -> None:
    owner = uuid4().hex
    forks = Forks.start(owner)
    forks.fork(FORKING)
    forks.process.kill()
    forks.process.wait()
    processes.kill_strays(owner)
    eventually(lambda: not of_owner(owner), within=1)
    forks.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs flows as other users")
def test_strays_of_other_users_are_found_by_the_root_of_a_container() -> None:
    owner = uuid4().hex
    forks = Forks.start(owner)
    _, pid = forks.fork(SLEEP.format({"start_new_session": True, "env": {}, "user": 200_001}))
    [stray] = descendants(pid) - {pid}
    forks.process.kill()
    forks.process.wait()
    eventually(lambda: not is_alive(pid))
    code = "from crewserve.crew import privileges, processes; import sys; privileges.weaken_root();"
    code += "processes.kill_strays(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, owner], check=True)
    eventually(lambda: not is_alive(stray), within=1)
    forks.close()


@pytest.mark.parametrize("how", ["a daemon", "a process without our environment"])
def test_strays_of_one_template_are_told_from_those_of_its_successor(how: str) -> None:
    owner = uuid4().hex
    old, new = (Forks.start(owner, generation) for generation in (1, 2))
    _, child = old.fork(STUCK[how])
    new.fork(STUCK[how])
    old.process.kill()
    old.process.wait()
    eventually(lambda: not is_alive(child))
    processes.kill_strays(owner, 1)
    eventually(lambda: of_owner(owner) == {new.process.pid, *descendants(new.process.pid)})
    assert len(of_owner(owner)) == 3
    new.close()
    old.close()
