"""What a cleanup promises (semantics C1 to C16), dying both ways. Go's own tests are named."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import lastref.cleanup
from deathwatch import assert_dies, collect, watch
from lastref.cleanup import Cleanup, CleanupQueue, add_cleanup, cleanup_stats, drain, keep_alive

PYPY = sys.implementation.name == "pypy"
DEADLINE = 120.0
QUIET = CleanupQueue(workers=0, at_exit="nothing")


def register(
    death: Any, *pairs: tuple[Callable[[Any], object], Any], queue: CleanupQueue | None = None
) -> list[Cleanup]:
    """Register on a victim that dies with this frame."""
    victim = death.make()
    return [add_cleanup(victim, func, arg, queue=queue) for func, arg in pairs]


def test_a_cleanup_runs_with_its_argument_once_its_object_died(death: Any) -> None:
    """C1. Go: TestCleanup."""
    seen: list[int] = []
    register(death, (seen.append, 97531))
    death.settle()
    assert drain(DEADLINE)
    assert seen == [97531]
    collect()
    assert drain(DEADLINE)
    assert seen == [97531]


def test_a_cleanup_does_not_run_while_its_object_lives(death: Any) -> None:
    """C1."""
    seen: list[int] = []
    victim = death.make()
    add_cleanup(victim, seen.append, 1)
    collect()
    assert drain(DEADLINE)
    assert seen == []
    keep_alive(victim)


def test_a_cleanup_runs_in_another_thread(death: Any) -> None:
    """C1: a worker's, not the one that dropped or collected the object."""
    threads: list[threading.Thread] = []
    register(death, (lambda _: threads.append(threading.current_thread()), None))
    death.settle()
    assert drain(DEADLINE)
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon


def test_several_cleanups_of_one_object_all_run(death: Any) -> None:
    """C3. Go: TestCleanupMultiple."""
    seen: list[int] = []
    register(death, *[(seen.append, 97531)] * 3)
    death.settle()
    assert drain(DEADLINE)
    assert seen == [97531] * 3


def test_an_object_without_attributes_has_cleanups(death: Any) -> None:
    """C13. Go: TestCleanupZeroSizedStruct, where it may never run; in Python it does."""

    class Empty:
        __slots__ = ("__weakref__",)

    seen: list[str] = []

    def make() -> None:
        add_cleanup(Empty(), seen.append, "foo")

    make()
    collect()
    assert drain(DEADLINE)
    assert seen == ["foo"]


def test_the_argument_may_be_none(death: Any) -> None:
    """C1."""
    seen: list[None] = []
    register(death, (seen.append, None))
    death.settle()
    assert drain(DEADLINE)
    assert seen == [None]


def test_members_of_a_cycle_each_have_their_cleanups(death: Any) -> None:
    """C4: unlike Go's finalizers, cleanups don't mind cycles."""
    seen: list[int] = []

    def make() -> None:
        ring = [death.make() for _ in range(10)]
        for i, victim in enumerate(ring):
            victim.itself = ring[i - 1]
            add_cleanup(victim, seen.append, i)

    make()
    collect()
    assert drain(DEADLINE)
    assert sorted(seen) == list(range(10))


def test_a_handle_that_is_garbage_with_its_object_does_not_lose_the_cleanup() -> None:
    """C4: a callback whose weak reference is garbage itself is skipped; the registry roots it."""
    seen: list[int] = []
    lost: list[int] = []

    def make() -> None:
        victim = type("V", (), {})()
        victim.cycle = victim
        victim.handle = add_cleanup(victim, seen.append, 1)
        victim.wr = weakref.ref(victim, lost.append)

    make()
    collect()
    assert drain(DEADLINE)
    assert seen == [1]
    assert lost == []  # what the standard library's reference does there


@pytest.mark.skipif(PYPY, reason="PyPy counts no references")
def test_by_refcount_the_finalizer_runs_before_the_cleanup(run_order: Any) -> None:
    """C9, Go's order. Go: TestCleanupAfterFinalizer."""
    assert run_order(cycle=False) == ["__del__", "cleanup"]


@pytest.mark.skipif(PYPY, reason="PyPy counts no references")
def test_by_refcount_a_resurrected_object_keeps_its_cleanup(resurrect: Any) -> None:
    """C9: the cleanup waits until the object is unreachable for the second time."""
    assert resurrect(cycle=False) == []


def test_deviation_by_the_collector_the_cleanup_is_queued_before_the_finalizer(
    run_order: Any,
) -> None:
    """C9, a deviation: CPython's collector calls callbacks before finalizers (PEP 442).

    PyPy's calls them after.
    """
    queued_first = ["cleanup", "__del__"]
    assert run_order(cycle=True) == (queued_first[::-1] if PYPY else queued_first)


def test_deviation_by_the_collector_a_resurrected_object_loses_its_cleanup(
    resurrect: Any,
) -> None:
    """C9, a deviation, on PyPy too: the cleanup of what `__del__` resurrects has run."""
    assert resurrect(cycle=True) == ["cleanup"]


@pytest.fixture
def run_order() -> Callable[..., list[str]]:
    """In what order the finalizer and the cleanup of one object come."""

    def run(*, cycle: bool) -> list[str]:
        order: list[str] = []
        queue = CleanupQueue(workers=0)

        class Finalized:
            def __del__(self) -> None:
                queue.run_pending()  # a cleanup that is queued by now runs first
                order.append("__del__")

        def make() -> None:
            victim = Finalized()
            victim.itself = victim if cycle else None  # type: ignore[attr-defined]
            add_cleanup(victim, order.append, "cleanup", queue=queue)

        make()
        collect()
        queue.run_pending()
        return order

    return run


@pytest.fixture
def resurrect() -> Callable[..., list[str]]:
    """What has run of an object that its finalizer brought back."""

    def run(*, cycle: bool) -> list[str]:
        seen: list[str] = []
        back: list[object] = []
        queue = CleanupQueue(workers=0)

        class Phoenix:
            def __del__(self) -> None:
                back.append(self)

        def make() -> None:
            victim = Phoenix()
            victim.itself = victim if cycle else None  # type: ignore[attr-defined]
            add_cleanup(victim, seen.append, "cleanup", queue=queue)

        make()
        collect()
        queue.run_pending()
        result = seen.copy()
        assert len(back) == 1
        back[0].itself = None  # type: ignore[attr-defined]
        back.clear()
        collect()
        queue.run_pending()
        assert seen == ["cleanup"]  # once, whenever
        return result

    return run


# C10: stop


def test_a_stopped_cleanup_does_not_run(death: Any) -> None:
    """C10. Go: TestCleanupStop."""
    seen: list[int] = []

    def make() -> bool:
        victim = death.make()
        return add_cleanup(victim, seen.append, 1).stop()

    assert make()
    death.settle()
    assert drain(DEADLINE)
    assert seen == []


def test_stopping_again_does_nothing(death: Any) -> None:
    """C10. Go: TestCleanupStopMultiple."""
    seen: list[int] = []

    def make() -> list[bool]:
        victim = death.make()
        cleanup = add_cleanup(victim, seen.append, 1)
        return [cleanup.stop() for _ in range(3)]

    assert make() == [True, False, False]
    death.settle()
    assert drain(DEADLINE)
    assert seen == []


def test_stopping_one_cleanup_leaves_the_others(death: Any) -> None:
    """C3, C10. Go: TestCleanupStopinterleavedMultiple."""
    seen: list[int] = []

    def make() -> None:
        victim = death.make()
        for i in range(6):
            cleanup = add_cleanup(victim, seen.append, i)
            if i % 2:
                assert cleanup.stop()

    make()
    death.settle()
    assert drain(DEADLINE)
    assert sorted(seen) == [0, 2, 4]


def test_stopping_after_the_run_is_too_late(death: Any) -> None:
    """C10. Go: TestCleanupStopAfterCleanupRuns."""
    seen: list[int] = []
    (cleanup,) = register(death, (seen.append, 1))
    death.settle()
    assert drain(DEADLINE)
    assert cleanup.stop() is False
    assert seen == [1]


def test_stopping_what_is_queued_is_too_late(death: Any) -> None:
    """C10: from the death on, run or not."""
    seen: list[int] = []
    queue = CleanupQueue(workers=0)
    (cleanup,) = register(death, (seen.append, 1), queue=queue)
    death.settle()
    assert cleanup.stop() is False
    assert queue.run_pending() == 1
    assert seen == [1]


# C11, C12: what is kept alive


def test_the_handle_does_not_keep_the_object_alive() -> None:
    """C11."""
    handles = []

    def make() -> object:
        victim = type("V", (), {})()
        handles.append(add_cleanup(victim, print, "", queue=QUIET))
        return victim

    assert_dies(make)
    assert handles[0].stop() is False


def test_a_handle_does_not_hand_out_its_object() -> None:
    """C11: it is a weak reference, and one can't call it, copy it or pickle it."""
    victim = type("V", (), {})()
    cleanup = add_cleanup(victim, print, "", queue=QUIET)
    with pytest.raises(TypeError):
        cleanup()
    with pytest.raises(TypeError):
        copy.copy(cleanup)
    with pytest.raises(TypeError):
        pickle.dumps(cleanup)
    assert cleanup.stop()


def test_a_handle_equals_itself_alone_before_and_after_the_death() -> None:
    """Its object's `__eq__` and `__hash__` are never asked."""

    class Rude:
        def __eq__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = None  # type: ignore[assignment]

    def make() -> tuple[Cleanup, Cleanup, int]:
        victim = Rude()
        one = add_cleanup(victim, print, "", queue=QUIET)
        two = add_cleanup(victim, print, "", queue=QUIET)
        assert one == one
        assert one != two
        return one, two, hash(one)

    one, two, before = make()
    collect()
    assert hash(one) == before
    assert len({one, two, one}) == 2


def test_a_handle_says_what_it_would_run() -> None:
    """And no longer, once it was stopped."""
    victim = type("V", (), {})()
    cleanup = add_cleanup(victim, len, "", queue=QUIET)
    assert repr(cleanup) == "<Cleanup: <built-in function len>>"
    assert cleanup.stop()
    assert repr(cleanup) == "<Cleanup: stopped or run>"


class Argument:
    def __call__(self, arg: object) -> None: ...


@pytest.mark.parametrize("held_as", ["func", "arg"])
def test_function_and_argument_live_as_long_as_the_object(held_as: str) -> None:
    """C12."""
    victim: Any = type("V", (), {})()

    def make() -> weakref.ref[Any]:
        held = Argument()
        add_cleanup(victim, held if held_as == "func" else print, held, queue=QUIET)
        return weakref.ref(held)

    wr = make()
    collect()
    assert wr() is not None
    keep_alive(victim)


@pytest.mark.parametrize("held_as", ["func", "arg"])
@pytest.mark.parametrize("cause", ["stop", "run"])
def test_stopping_and_running_release_function_and_argument(held_as: str, cause: str) -> None:
    """C12: at once, though the handle is kept and nothing else is ever registered or dies."""
    queue = CleanupQueue(workers=0 if held_as == "func" else 1)
    handles = []

    def make() -> object:
        held = Argument()
        victim = type("V", (), {})()
        func: Any = held if held_as == "func" else id
        handles.append(add_cleanup(victim, func, held if held_as == "arg" else 1, queue=queue))
        if cause == "stop":
            assert handles[0].stop()
        return held

    held = make()
    seen = watch(held)
    collect()
    assert queue.drain(DEADLINE)
    del held
    seen.assert_dead(timeout=DEADLINE)


@pytest.mark.skipif(PYPY, reason="PyPy counts no references")
def test_a_function_dies_with_its_last_cleanup() -> None:
    """C12: also one that is known to hold nothing, which is remembered weakly."""

    def make() -> object:
        def func(arg: object) -> None: ...

        victim = type("V", (), {})()
        first = add_cleanup(victim, func, 1)
        second = add_cleanup(victim, func, 1)
        assert first.stop()
        assert second.stop()
        return func

    assert_dies(make, cause="refcount")


# C13: what has no cleanups


class Slotted:
    __slots__ = ()


class Pair(tuple[int, int]):
    __slots__ = ()


@pytest.mark.parametrize(
    "obj", [1, "", (), [], {}, b"", 1.5, None, object()], ids=lambda obj: type(obj).__name__
)
@pytest.mark.skipif(PYPY, reason="everything has weak references there, or dies by value")
def test_an_object_without_weak_references_is_refused_by_name(obj: object) -> None:
    """C13. Go: an object that is nil, or not allocated in a supported way, panics (C7)."""
    with pytest.raises(TypeError, match=rf"^'{type(obj).__name__}' objects .* wrapper"):
        add_cleanup(obj, print, 1)


@pytest.mark.skipif(PYPY, reason="everything has weak references there, or dies by value")
def test_the_remedy_is_named_that_helps() -> None:
    """C13: a slot where a slot can be added, a wrapper elsewhere."""
    with pytest.raises(TypeError, match=r"^'Slotted' .*'__weakref__' to its __slots__$"):
        add_cleanup(Slotted(), print, 1)
    with pytest.raises(TypeError, match=r"^'Pair' .* wrapper"):
        add_cleanup(Pair(), print, 1)


def test_a_refusal_registers_nothing() -> None:
    """C7, C13."""
    before = cleanup_stats().registered
    refused: list[tuple[object, Any, object]] = [(1, print, 1), (Argument(), 5, 1)]
    for obj, func, arg in refused:
        with pytest.raises(TypeError):
            add_cleanup(obj, func, arg)
    assert cleanup_stats().registered == before


@pytest.mark.parametrize("func", [None, 5, "print"], ids=repr)
def test_a_function_that_is_not_callable_is_refused_at_the_call(func: Any) -> None:
    """Also None after a cleanup that has run: its place is not taken for the function."""
    victim = Argument()
    assert add_cleanup(victim, len, "").stop()
    for _ in range(2):
        with pytest.raises(TypeError, match=f"callable, not {type(func).__name__!r}"):
            add_cleanup(victim, func, "")


# C14


def test_keep_alive_keeps_up_to_the_call(death: Any) -> None:
    """C14. In Python an unused local lives as long."""
    seen: list[int] = []

    def make() -> None:
        victim = death.make()
        add_cleanup(victim, seen.append, 1)
        collect()
        assert drain(DEADLINE)
        assert seen == []
        keep_alive(victim)

    make()
    death.settle()
    assert drain(DEADLINE)
    assert seen == [1]


# C16: counters


def test_counters_rise_by_exactly_what_happened(death: Any) -> None:
    """C16. Go: TestReadMetricsCleanups."""
    before = cleanup_stats()
    register(death, *[(id, 1)] * 10)
    death.settle()
    assert drain(DEADLINE)
    after = cleanup_stats()
    rise = [b - a for a, b in zip(before, after, strict=True)]
    assert rise == [10, 0, 10, 10, 0]
    assert after._fields == ("registered", "stopped", "queued", "executed", "failed")


def test_a_stopped_handle_whose_object_dies_later_is_not_counted(death: Any) -> None:
    """C16: it dies into the inbox like the others, and is passed by."""
    queue = CleanupQueue(workers=0)
    handles = []

    def make() -> None:
        victim = death.make()
        for _ in range(5):
            handles.append(add_cleanup(victim, id, 1, queue=queue))
            assert handles[-1].stop()

    make()
    death.settle()
    assert queue.stats() == (5, 5, 0, 0, 0)
    assert queue.run_pending() == 0
    assert queue.stats() == (5, 5, 0, 0, 0)


def test_what_waits_is_queued_and_not_executed(death: Any) -> None:
    """C16."""
    queue = CleanupQueue(workers=0)
    register(death, (id, 1), (id, 5), queue=queue)
    death.settle()
    assert queue.stats() == (2, 0, 2, 0, 0)


def test_released_registrations_are_let_go(death: Any) -> None:
    """A registry's size follows what is registered, not what ever was."""
    queue = CleanupQueue(workers=0)
    live = queue._core.books.live
    victim = death.make()
    for _ in range(20):
        for _ in range(1000):
            assert add_cleanup(victim, id, 1, queue=queue).stop()
        assert len(live) < 1500
        register(death, *[(id, 1)] * 1000, queue=queue)
        death.settle()
        assert queue.run_pending() == 1000
        assert len(live) < 1500
    assert queue.stats() == (40_000, 20_000, 20_000, 20_000, 0)
    keep_alive(victim)


@pytest.mark.skipif(PYPY, reason="PyPy has no tracemalloc")
@pytest.mark.parametrize("count", [10_000, 20_000, 40_000])
@pytest.mark.parametrize("own", [False, True], ids=["default queue", "own queue"])
def test_a_registration_takes_little(count: int, own: bool) -> None:
    """105 bytes: a reference with two slots, and its place in a list. The argument is not ours.

    Free-threaded builds have larger objects. `weakref.finalize` takes about 300.
    """
    import tracemalloc

    victims = [Argument() for _ in range(count)]
    queue = CleanupQueue(workers=0) if own else None
    with_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    if not (with_gil or own):
        pytest.skip("arrays that threads share are freed later on free-threaded builds")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for victim in victims:
            add_cleanup(victim, id, 1, queue=queue)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / count < (140 if with_gil else 160)


def test_none_is_lost_of_10_000_per_processor(death: Any) -> None:
    """C1. Go: TestCleanupLost."""
    processors = os.cpu_count() or 1
    counts = [0] * processors

    def worker(i: int) -> None:
        def done(_: object) -> None:
            counts[i] += 1  # one worker runs them all

        for _ in range(10_000):
            victim = death.make()
            add_cleanup(victim, done, None)
            del victim

    threads = [threading.Thread(target=worker, args=(i,)) for i in range(processors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    collect()
    assert drain(DEADLINE)
    assert counts == [10_000] * processors


def test_the_documented_examples_hold() -> None:
    """Every example of the module's docstrings runs."""
    import doctest

    assert doctest.testmod(lastref.cleanup).failed == 0
