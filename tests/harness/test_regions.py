"""`no_survivors` and `no_cycles`: offenders are named, the collector is left alone."""

from __future__ import annotations

import gc
import sys
import unittest

import pytest

from deathwatch import no_cycles, no_survivors, watch
from deathwatch.watch.collecting import collector_state


class Widget:
    pass


class Button(Widget):
    pass


KEPT: list[object] = []


@pytest.fixture(autouse=True)
def nothing_kept():
    yield
    KEPT.clear()


def make_parent_cycle() -> None:
    parent, child = Widget(), Widget()
    parent.child, child.parent = child, parent


def make_traceback_cycle() -> None:
    try:
        raise ValueError("kept by its own frame")
    except ValueError as error:
        kept = error  # noqa: F841 - the frame holds the error, whose traceback holds the frame


def make_closure_cycle() -> None:
    def recurse() -> object:
        return recurse

    recurse()


def test_instances_that_survive_are_counted_and_explained() -> None:
    """Subclasses count; the message names how many of which type, and the holder."""
    with pytest.raises(AssertionError) as failure, no_survivors(Widget):
        KEPT.append(Button())
        KEPT.append(Button())
        KEPT.append("not a widget")
    text = str(failure.value)
    assert text.startswith("2 objects made in the region survived it")
    assert "2 x " in text
    assert "Button" in text
    assert "KEPT" in text
    assert "watch/regions.py" not in text


def test_without_types_every_class_outside_the_standard_library_counts() -> None:
    """A list kept is not a survivor, an instance of the program's own class is."""
    with no_survivors():
        KEPT.append([1, 2])
    with pytest.raises(AssertionError, match="1 objects made in the region"), no_survivors():
        KEPT.append(Widget())


def test_what_was_there_before_is_no_survivor() -> None:
    """Older instances may live on."""
    KEPT.append(Widget())
    with no_survivors(Widget):
        Widget()
        make_parent_cycle()


def test_a_reused_address_does_not_hide_a_survivor() -> None:
    """An old object that dies in the region lends its address to a new one."""
    KEPT.extend(Widget() for _ in range(50))
    with pytest.raises(AssertionError, match="50 objects"), no_survivors(Widget):
        KEPT.clear()
        KEPT.extend(Widget() for _ in range(50))


def test_regions_nest() -> None:
    """The inner region's survivor is the outer's too."""

    def nested() -> None:
        with no_survivors(Widget):
            with pytest.raises(AssertionError, match="1 objects"), no_survivors(Widget):
                KEPT.append(Widget())
            KEPT.append(Widget())

    with pytest.raises(AssertionError, match="2 objects"):
        nested()


@pytest.mark.skipif(not hasattr(gc, "freeze"), reason="this collector can't freeze a heap")
def test_a_heap_that_the_program_froze_stays_frozen() -> None:
    """Then new objects are told by their addresses, and the frozen heap is left alone."""
    KEPT.extend(Widget() for _ in range(20))
    gc.freeze()
    try:
        with pytest.raises(AssertionError, match="1 objects"), no_survivors(Widget):
            KEPT.append(Widget())
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


@pytest.mark.skipif(not hasattr(gc, "freeze"), reason="this collector can't freeze a heap")
def test_nothing_is_frozen_after_a_region() -> None:
    """On every way out."""
    with no_survivors(Widget):
        pass
    assert gc.get_freeze_count() == 0
    with pytest.raises(ZeroDivisionError), no_survivors(Widget):
        1 / 0  # noqa: B018
    assert gc.get_freeze_count() == 0


@pytest.mark.skipif(not hasattr(gc, "freeze"), reason="this collector can't freeze a heap")
def test_unfreezing_inside_a_region_is_said() -> None:
    """Old and new objects can't be told apart any more: an error, not a wrong verdict."""
    with pytest.raises(RuntimeError, match=r"gc\.unfreeze\(\) was called"), no_survivors(Widget):
        gc.unfreeze()


def test_survivors_are_not_kept_by_the_error() -> None:
    """A kept AssertionError holds text alone."""
    with pytest.raises(AssertionError) as failure, no_survivors(Widget):
        KEPT.append(Widget())
    watched = watch(KEPT[0])
    error = failure.value
    KEPT.clear()
    watched.assert_dead()
    assert "Widget" in str(error)


def test_only_classes_are_taken() -> None:
    """One sentence with the remedy."""
    with pytest.raises(TypeError, match=r"pass type\(obj\)"), no_survivors(Widget()):  # type: ignore[arg-type]
        pass


pytest_refcounts = pytest.mark.usefixtures("refcounts")


@pytest_refcounts
@pytest.mark.parametrize(
    ("make", "named"),
    [
        (make_parent_cycle, [".parent", ".child", "Widget"]),
        (make_traceback_cycle, ["ValueError", "kept", "make_traceback_cycle"]),
        (make_closure_cycle, ["closure variable 'recurse'"]),
    ],
)
def test_what_only_the_collector_could_free_is_named(make, named: list[str]) -> None:
    """Parent cycles, closures and exception-frame-traceback cycles alike."""
    with pytest.raises(AssertionError) as failure, no_cycles():
        make()
    text = str(failure.value)
    assert "could only be freed by the collector" in text
    for words in named:
        assert words in text, text


@pytest_refcounts
@pytest.mark.parametrize("make", [make_parent_cycle, make_traceback_cycle, make_closure_cycle])
def test_garbage_is_held_by_its_cycle_and_not_by_the_region(make) -> None:
    """The list in which the region keeps garbage to explain it is no holder."""
    with pytest.raises(AssertionError) as failure, no_cycles():
        make()
    text = str(failure.value)
    assert "needs the collector" in " ".join(text.split())
    assert "watch/regions.py" not in text
    assert "passing" not in text


@pytest_refcounts
def test_nothing_to_say_of_what_dies_by_reference_count() -> None:
    """No cycle, no failure; automatic collection is on again after."""
    with no_cycles():
        KEPT.append(Widget())
        KEPT.clear()
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest_refcounts
def test_a_collection_inside_the_region_hides_nothing() -> None:
    """What an explicit collection freed is counted, and the remedy given."""
    with pytest.raises(AssertionError, match="take gc.collect"), no_cycles():
        make_parent_cycle()
        gc.collect()


@pytest_refcounts
def test_the_garbage_is_freed_and_flags_restored() -> None:
    """After the failure nothing is left in gc.garbage, and nothing is alive."""
    flags, garbage = gc.get_debug(), list(gc.garbage)
    made = []

    def make() -> None:
        widget = Widget()
        widget.me = widget
        made.append(watch(widget))

    with pytest.raises(AssertionError) as failure, no_cycles():
        make()
    assert gc.get_debug() == flags
    assert gc.garbage == garbage
    assert not made[0].alive
    assert "Widget" in str(failure.value)


@pytest_refcounts
def test_state_is_the_programs_own_after_an_exception() -> None:
    """Also where the collector was off before."""
    callbacks = list(gc.callbacks)
    with collector_state(enabled=False):
        with pytest.raises(ZeroDivisionError), no_cycles():
            1 / 0  # noqa: B018
        assert not gc.isenabled()
    assert gc.callbacks == callbacks


def test_cycles_are_skipped_where_everything_needs_the_collector() -> None:
    """PyPy: a skip with a reason."""
    if sys.implementation.name == "cpython":
        with no_cycles():
            pass
        return
    with pytest.raises(unittest.SkipTest, match="by its collector"), no_cycles():
        pass
