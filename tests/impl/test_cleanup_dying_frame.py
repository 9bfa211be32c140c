"""Nothing but a C-level enqueue happens where an object dies (semantics C1)."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deathwatch import collect
from lastref.cleanup import CleanupQueue, add_cleanup, cleanup_stats, drain

PYPY = sys.implementation.name == "pypy"
DEADLINE = 120.0


class Victim:
    def __init__(self) -> None:
        self.itself: Victim | None = None


@pytest.fixture(autouse=True)
def _no_callbacks_at_collections() -> Iterator[None]:
    """Other test libraries have Python functions called at each collection."""
    callbacks: list[Any] = getattr(gc, "callbacks", [])  # PyPy has none
    saved = callbacks.copy()
    callbacks.clear()
    yield
    callbacks[:] = saved


def dropped(register: Callable[[Victim], object], way: str) -> list[str]:
    """What Python functions the dropping or collecting frame calls, by `sys.setprofile`."""
    calls: list[str] = []

    def profile(frame: Any, event: str, arg: object) -> None:
        if event == "call":
            calls.append(frame.f_code.co_qualname)

    victim = Victim()
    register(victim)
    if way == "collector":
        victim.itself = victim
        del victim
        sys.setprofile(profile)
        gc.collect()
        sys.setprofile(None)
    else:
        sys.setprofile(profile)
        del victim
        sys.setprofile(None)
    return calls


@pytest.mark.skipif(PYPY, reason="a deviation there: no enqueue in C; see the next test but one")
@pytest.mark.parametrize("way", ["refcount", "collector"])
def test_no_python_function_is_called_where_the_object_dies(way: str) -> None:
    """C1: watched by the interpreter's own profiler. `weakref.finalize` is seen by it."""
    collect()
    seen: list[int] = []
    assert dropped(lambda victim: add_cleanup(victim, seen.append, 1), way) == []
    assert dropped(lambda victim: weakref.finalize(victim, id, 1), way) == ["finalize.__call__"]
    assert drain(DEADLINE)
    assert seen == [1]


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="sys.monitoring is Python 3.12's")
@pytest.mark.parametrize("way", ["refcount", "collector"])
def test_no_code_object_starts_where_the_object_dies(way: str) -> None:
    """C1: watched by `sys.monitoring`, which sees every start of Python code in any thread."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    tool, me = monitoring.PROFILER_ID, threading.get_ident()
    started: list[str] = []

    def start(code: Any, offset: int) -> None:
        if threading.get_ident() == me:
            started.append(code.co_qualname)

    def watched(register: Callable[[Victim], object]) -> list[str]:
        victim = Victim()
        register(victim)
        if way == "collector":
            victim.itself = victim
        monitoring.use_tool_id(tool, "test")
        monitoring.register_callback(tool, monitoring.events.PY_START, start)
        try:
            monitoring.set_events(tool, monitoring.events.PY_START)
            del victim
            gc.collect()
            monitoring.set_events(tool, 0)
        finally:
            monitoring.free_tool_id(tool)
        found = started.copy()
        started.clear()
        return found

    collect()
    assert watched(lambda victim: add_cleanup(victim, id, 1)) == []
    assert "finalize.__call__" in watched(lambda victim: weakref.finalize(victim, id, 1))


@pytest.mark.skipif(not PYPY, reason="CPython enqueues in C")
def test_deviation_on_pypy_the_enqueue_is_a_python_function_that_can_not_block() -> None:
    """C1, a deviation: PyPy's `SimpleQueue` is Python code and could deadlock, ours can't."""
    collect()
    calls = dropped(lambda victim: add_cleanup(victim, id, 1), "collector")
    assert set(calls) <= {"_PyInbox.put"}
    assert drain(DEADLINE)


def test_no_thread_is_started_where_the_object_dies() -> None:
    """The registration starts the worker."""
    queue = CleanupQueue(workers=2, name="early")
    victim = Victim()
    assert not [thread for thread in threading.enumerate() if thread.name == "early"]
    add_cleanup(victim, id, 1, queue=queue)
    assert len([thread for thread in threading.enumerate() if thread.name == "early"]) == 2
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "early")


@pytest.mark.parametrize("way", ["refcount", "collector"])
def test_a_cleanup_may_take_a_lock_that_the_dying_frame_holds(way: str) -> None:
    """C1: nothing hangs, though the thread holds the lock and waits for nobody to let go."""
    lock = threading.Lock()
    done = threading.Event()

    def cleanup(_: object) -> None:
        with lock:
            done.set()

    def make() -> list[Victim]:
        victim = Victim()
        victim.itself = victim if way == "collector" else None
        add_cleanup(victim, cleanup, None)
        return [victim]

    box = make()
    with lock:
        box.clear()
        collect()
        assert not done.is_set()
    assert done.wait(DEADLINE)
    assert drain(DEADLINE)


@pytest.mark.skipif(PYPY, reason="PyPy collects by the amount allocated, which no test can place")
def test_a_cleanup_may_take_a_lock_that_an_allocating_frame_holds() -> None:
    """C1: nobody drops anything here. An allocation under the lock starts a collection."""
    lock = threading.Lock()
    done = threading.Event()

    def cleanup(_: object) -> None:
        with lock:
            done.set()

    def make() -> None:
        victim = Victim()
        victim.itself = victim
        add_cleanup(victim, cleanup, None)

    collect()
    make()
    queued = cleanup_stats().queued
    with lock:
        kept: list[list[object]] = []
        while cleanup_stats().queued == queued:
            kept.append([kept])
            assert len(kept) < 10_000_000
    assert done.wait(DEADLINE)
    assert drain(DEADLINE)


DEADLOCK = """
import gc, sys, threading, weakref
from lastref.cleanup import add_cleanup, drain

lock = threading.Lock()

class Victim:
    pass

def cleanup(_):
    print("in the cleanup", flush=True)
    with lock:
        print("has the lock", flush=True)

def make():
    victim = Victim()
    victim.itself = victim
    {register}(victim, cleanup, None)

make()
with lock:
    gc.collect()
assert drain()
"""


def test_the_same_deadlocks_with_the_standard_library(run_python: Any) -> None:
    """What it is for: `weakref.finalize` waits for a lock that its own thread holds, for ever."""
    ours = run_python(DEADLOCK.format(register="add_cleanup"))
    assert ours.stdout == "in the cleanup\nhas the lock\n", ours.stderr

    import subprocess

    with pytest.raises(subprocess.TimeoutExpired) as theirs:
        run_python(DEADLOCK.format(register="weakref.finalize"), timeout=5.0)
    assert theirs.value.stdout == b"in the cleanup\n"


def test_deaths_inside_the_enqueue_nest() -> None:
    """A collection may start anywhere, also while the same queue is written to."""
    seen: list[int] = []

    def chain(i: int) -> None:
        victim, child = Victim(), Victim()
        victim.itself, child.itself = child, victim
        add_cleanup(victim, seen.append, i)
        add_cleanup(child, seen.append, i)

    threshold = gc.get_threshold() if hasattr(gc, "get_threshold") else None
    if threshold:
        gc.set_threshold(1)
    try:
        for i in range(2000):
            chain(i)
    finally:
        if threshold:
            gc.set_threshold(*threshold)
    collect()
    assert drain(DEADLINE)
    assert sorted(seen) == sorted([*range(2000)] * 2)
