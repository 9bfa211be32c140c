"""`watch`, `assert_dies` and `expect_death`: the death, its cause, and who is blamed."""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable

import pytest

from deathwatch import assert_dies, expect_death, watch
from deathwatch.watch.collecting import collector_state


class Victim:
    def __init__(self) -> None:
        self.partner: object = None


class Slotted:
    __slots__ = ("x",)


REGISTRY: dict[str, object] = {}


def make_cycle() -> Victim:
    victim = Victim()
    victim.partner = Victim()
    victim.partner.partner = victim
    return victim


def make_registered() -> Victim:
    victim = REGISTRY["user:42"] = Victim()
    return victim


@pytest.fixture(autouse=True)
def empty_registry():
    yield
    REGISTRY.clear()


def drop(make: Callable[[], object]):
    """Watch what `make` returns; no frame holds it any more."""
    return watch(make())


@pytest.mark.usefixtures("refcounts")
def test_cause_is_refcount_where_the_last_reference_goes() -> None:
    """An object without cycles dies where it is dropped."""
    watched = drop(Victim)
    assert not watched.alive
    assert watched.cause == "refcount"


def test_cause_is_collector_for_a_cycle() -> None:
    """A cycle dies by the collector, and the watch says so."""
    with collector_state(enabled=False):
        watched = drop(make_cycle)
        assert watched.alive
        assert watched.cause is None
        gc.collect()
        assert not watched.alive
        assert watched.cause == "collector"


def test_looking_never_collects() -> None:
    """`alive` and `cause` change nothing."""
    with collector_state(enabled=False):
        watched = drop(make_cycle)
        for _ in range(3):
            assert (watched.alive, watched.cause) == (True, None)
        watched.assert_dead()


@pytest.mark.usefixtures("refcounts")
def test_no_trace_is_left_on_the_collector_when_the_last_watch_is_over() -> None:
    """The collector's callback is there while something is watched, and not after."""
    before = list(gc.callbacks)
    kept = Victim()
    watched = watch(kept)
    dropped = watch(kept)
    assert len(gc.callbacks) == len(before) + 1
    del dropped
    assert len(gc.callbacks) == len(before) + 1
    del kept
    assert gc.callbacks == before
    assert watched.cause == "refcount"


def test_a_watch_does_not_keep_its_object_alive() -> None:
    """Neither does the set in which deaths are awaited."""
    watched = drop(Victim)
    watched.assert_dead()


@pytest.mark.parametrize(
    ("victim", "remedy"),
    [
        ([], "watch the object that owns it"),
        (1.5, "watch the object that owns it"),
        (None, "watch the object that owns it"),
        pytest.param(
            Slotted(),
            "add '__weakref__' to the __slots__ of Slotted",
            marks=pytest.mark.skipif(
                sys.implementation.name == "pypy", reason="slots keep no weak reference out there"
            ),
        ),
    ],
)
def test_objects_without_weak_references_are_refused_with_the_remedy(
    victim: object, remedy: str
) -> None:
    """C13: the message names the type and says what to watch instead."""
    with pytest.raises(TypeError, match=type(victim).__name__) as refusal:
        watch(victim)
    assert remedy in str(refusal.value)
    with pytest.raises(TypeError, match=type(victim).__name__):
        assert_dies(lambda: victim)


def test_assert_dies_passes_for_both_ways_to_die() -> None:
    """Without a cause, by reference count or by the collector."""
    assert_dies(Victim)
    assert_dies(make_cycle)


@pytest.mark.usefixtures("refcounts")
def test_a_cause_is_demanded() -> None:
    """Each cause refuses the other one, and says which it was."""
    assert_dies(Victim, cause="refcount")
    assert_dies(make_cycle, cause="collector")
    with pytest.raises(AssertionError, match="was to die by collector, but died by refcount"):
        assert_dies(Victim, cause="collector")
    with pytest.raises(AssertionError, match="should have died by its reference count"):
        assert_dies(make_cycle, cause="refcount")


@pytest.mark.usefixtures("refcounts")
def test_the_cycle_is_printed() -> None:
    """A refcount claim that fails shows the edges of the cycle."""
    with pytest.raises(AssertionError) as failure:
        assert_dies(make_cycle, cause="refcount")
    assert "partner" in str(failure.value)
    assert "cycle" in str(failure.value)


def test_a_refcount_claim_is_skipped_where_nothing_counts() -> None:
    """PyPy: a skip with a reason, which test runners understand."""
    if sys.implementation.name == "cpython":
        assert_dies(Victim, cause="refcount")
        return
    import unittest

    with pytest.raises(unittest.SkipTest, match="by its collector alone"):
        assert_dies(Victim, cause="refcount")


def test_an_unknown_cause_is_refused() -> None:
    """One sentence, before anything is made."""
    with pytest.raises(ValueError, match="not 'magic'"):
        assert_dies(lambda: pytest.fail("made"), cause="magic")  # type: ignore[arg-type]


def test_the_holder_is_named() -> None:
    """A registry that keeps the victim is named with the key."""
    with pytest.raises(AssertionError) as failure:
        assert_dies(make_registered)
    assert "REGISTRY['user:42']" in str(failure.value)


def test_a_kept_error_does_not_keep_the_object() -> None:
    """The AssertionError and its traceback hold text alone."""
    with pytest.raises(AssertionError) as failure:
        assert_dies(make_registered)
    watched = watch(REGISTRY["user:42"])
    error = failure.value
    REGISTRY.clear()
    if sys.implementation.name == "cpython":
        assert not watched.alive
        assert watched.cause == "refcount"
    else:
        watched.assert_dead()
    assert "Victim" in "".join(traceback.format_exception(error))


def test_a_thread_that_lets_go_in_time_is_waited_for() -> None:
    """The deadline is for a condition that another thread brings about."""
    box = [make_cycle()]
    let_go = threading.Event()

    def hold() -> None:
        let_go.wait()
        time.sleep(0.05)
        box.clear()

    watched = watch(box[0])
    thread = threading.Thread(target=hold)
    thread.start()
    let_go.set()
    watched.assert_dead(timeout=30)
    thread.join()
    assert not watched.alive


@pytest.mark.usefixtures("refcounts")
def test_a_thread_that_lets_go_in_time_is_waited_for_without_the_collector() -> None:
    """A worker's frame may hold what it raised a moment longer than its caller: no leak."""
    threads = []

    def make() -> Victim:
        box = [Victim()]

        def hold() -> None:
            time.sleep(0.05)
            box.clear()

        threads.append(threading.Thread(target=hold))
        threads[0].start()
        return box[0]

    assert_dies(make, cause="refcount", timeout=30)
    threads[0].join()


@pytest.mark.usefixtures("refcounts")
def test_a_cycle_beside_a_thread_fails_a_refcount_claim() -> None:
    """Waiting for other threads collects nothing."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        with pytest.raises(AssertionError, match="should have died by its reference count"):
            assert_dies(make_cycle, cause="refcount", timeout=0.1)
    finally:
        done.set()
        thread.join()


def test_nobody_is_waited_for_where_nobody_could_let_go(run_python: Callable[..., str]) -> None:
    """With one thread, a failing assertion doesn't wait for its deadline."""
    out = run_python(
        """
import time, deathwatch
class Victim: pass
kept = Victim()
slept = []
time.sleep = slept.append
try:
    deathwatch.watch(kept).assert_dead(timeout=3600)
except AssertionError as error:
    print("kept" in str(error), slept)
"""
    )
    assert out.strip() == "True []"


def test_assertions_hold_without_assert_statements(run_python: Callable[..., str]) -> None:
    """`python -O` changes nothing."""
    code = """
import deathwatch
class Victim: pass
kept = []
def make():
    kept.append(Victim())
    return kept[0]
try:
    deathwatch.assert_dies(make)
except AssertionError as error:
    print("kept" in str(error))
"""
    assert run_python(code, "-O").strip() == "True"


def test_everything_watched_in_a_region_must_be_dead() -> None:
    """Survivors are named, each with what keeps it."""

    def region_with_survivor() -> None:
        with expect_death() as region:
            region.watch(make_cycle())
            region.watch(make_registered())

    with pytest.raises(AssertionError) as failure:
        region_with_survivor()
    assert str(failure.value).count("should be dead") == 1
    assert "REGISTRY['user:42']" in str(failure.value)

    with expect_death() as region:
        region.watch(make_cycle())
        region.watch(Victim())


def test_a_local_variable_that_still_holds_it_is_named() -> None:
    """A region's block shares its frame: the variable to delete is in the message."""
    with pytest.raises(AssertionError, match="'still_here'"), expect_death() as region:
        still_here = Victim()
        region.watch(still_here)


def test_an_exception_in_a_region_passes_through() -> None:
    """Its traceback holds the locals, so nothing is demanded."""
    with pytest.raises(ZeroDivisionError), expect_death() as region:
        victim = Victim()
        region.watch(victim)
        1 / 0  # noqa: B018


@pytest.mark.usefixtures("refcounts")
def test_explaining_does_not_change_how_it_dies() -> None:
    """After a failed claim the object dies by its reference count, right when it is let go."""
    watched = drop(make_registered)
    with pytest.raises(AssertionError), collector_state(enabled=False):
        watched.assert_dead()
    REGISTRY.clear()
    assert watched.cause == "refcount"


@pytest.mark.usefixtures("refcounts")
def test_resurrection_counts_as_the_docstring_says() -> None:
    """By the collector, weak references go before `__del__` up to 3.13 and for refs with
    callbacks after it too (C9, W5)."""
    risen: list[object] = []

    class Phoenix:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            risen.append(self)

    watched = drop(Phoenix)
    gc.collect()
    assert risen
    assert (watched.alive, watched.cause) == (False, "collector")
    risen.clear()
    gc.collect()


def test_many_threads_watch_at_once() -> None:
    """Every death is noted once, by its own thread's cause, however many threads watch."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(200 if sys.implementation.name == "cpython" else 5):
                assert_dies(Victim)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_weak_references_of_the_program_are_left_alone() -> None:
    """A program's own callback on the same object still runs, once."""
    ran: list[object] = []
    victim = make_cycle()
    wr = weakref.ref(victim, ran.append)
    watched = watch(victim)
    del victim
    watched.assert_dead()
    assert ran == [wr]


def test_a_type_that_cannot_be_watched_has_its_article() -> None:
    """The message reads as a sentence, whatever letter the type begins with."""
    with pytest.raises(TypeError, match="no weak references to an int,"):
        watch(1)
    with pytest.raises(TypeError, match="no weak references to a str,"):
        watch("text")
