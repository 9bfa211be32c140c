"""`collect()` really collects, and leaves the collector as it was."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from deathwatch import collect
from deathwatch.watch.collecting import collector_state
from deathwatch.watch.snapshot import INTERPRETERS_OWN


class Victim:
    def __init__(self, then: Callable[[], object] | None = None) -> None:
        self.me = self
        self.then = then

    def __del__(self) -> None:
        if self.then is not None:
            self.then()


def make_cycle() -> weakref.ref[Victim]:
    return weakref.ref(Victim())


def make_chain(length: int) -> weakref.ref[Victim]:
    """A cycle whose finalizer leaves another cycle behind, `length` times over."""
    first = Victim()
    wr = weakref.ref(first)
    held = [first]
    for _ in range(length - 1):
        held = [Victim(held.clear)]
    return wr


State = tuple[object, ...]


def state() -> State:
    found: list[object] = [gc.isenabled()]
    for name in ("get_threshold", "get_debug"):
        if hasattr(gc, name):
            found.append(getattr(gc, name)())
    if hasattr(gc, "freeze"):
        found.append(gc.get_freeze_count() > INTERPRETERS_OWN)
    found.append(list(getattr(gc, "callbacks", [])))
    return tuple(found)


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """Every test here must leave the collector as it found it."""
    before = state()
    yield
    assert state() == before


def test_frees_a_cycle_while_automatic_collection_is_off() -> None:
    """One call frees what only the collector can, and leaves it disabled."""
    with collector_state(enabled=False):
        wr = make_cycle()
        assert wr() is not None
        collect()
        assert wr() is None
        assert not gc.isenabled()


def test_follows_chains_of_finalizers_to_their_end() -> None:
    """A chain of finalizers needs as many collections as it is deep (testing, 4)."""
    wr = make_chain(4)
    collect()
    assert wr() is None


@pytest.mark.skipif(not hasattr(gc, "set_debug"), reason="this collector has no debug flags")
def test_saveall_does_not_keep_the_dead() -> None:
    """DEBUG_SAVEALL is off meanwhile and on again after."""
    with collector_state(debug=gc.DEBUG_SAVEALL):
        wr = make_cycle()
        before = len(gc.garbage)
        collect()
        assert wr() is None
        assert len(gc.garbage) == before
        assert gc.get_debug() == gc.DEBUG_SAVEALL


@pytest.mark.skipif(not hasattr(gc, "freeze"), reason="this collector can't freeze a heap")
def test_frozen_heap_stays_frozen() -> None:
    """What the program has frozen is neither unfrozen nor collected."""
    collect()
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        wr = make_cycle()
        collect()
        assert wr() is None
        # objects may die by their reference count, none is thawed wholesale
        assert 0 < gc.get_freeze_count() <= frozen
    finally:
        gc.unfreeze()


def test_collects_although_other_threads_are_collecting() -> None:
    """A collection that returned at once because of another one is tried again (testing, 6)."""
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            make_cycle()
            gc.collect()

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(6):
            wr = make_cycle()
            collect(timeout=0.1)
            assert wr() is None
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_says_so_when_no_collection_can_run(run_python: Callable[..., str]) -> None:
    """From a weak-reference callback that a collection runs, there is one sentence, no hang."""
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        pytest.skip("a collection can run from a callback on this interpreter")
    out = run_python(
        """
import gc, weakref, deathwatch
from deathwatch.watch import collecting
collecting.PATIENCE = 0.05
class Victim: pass
def callback(wr):
    try:
        deathwatch.collect(timeout=0.05)
    except RuntimeError as error:
        print(error)
victim = Victim(); victim.me = victim
wr = weakref.ref(victim, callback)
del victim
gc.collect()
"""
    )
    assert "call it from ordinary code" in out


def test_state_is_restored_after_an_exception() -> None:
    """Every way out of a block restores enabled, thresholds and flags."""
    before = state()
    with pytest.raises(ZeroDivisionError), collector_state(enabled=not gc.isenabled()):
        if hasattr(gc, "set_threshold"):
            gc.set_threshold(11, 12, 13)
        1 / 0  # noqa: B018
    assert state() == before
