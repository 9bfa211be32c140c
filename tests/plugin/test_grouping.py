"""Who holds what survived, over a few objects made here."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest

from deathwatch.explain.walk import COUNTED
from pytest_deathwatch import grouping
from pytest_deathwatch.heap import _is_bookkeeping

pytestmark = pytest.mark.usefixtures("judges")


class Widget:
    pass


@pytest.mark.skipif(
    sys.implementation.name != "cpython" or not COUNTED,
    reason="gc.get_referrers finds too little (cpython#118522)",
)
def test_of_several_objects_each_is_told_whether_another_holds_it() -> None:
    """Held by what is known alone; held elsewhere; led to by one that is held elsewhere."""
    owner, owned, alone = Widget(), Widget(), Widget()
    owner.widget = owned  # type: ignore[attr-defined]
    elsewhere = [owner]
    asked: list[object] = [owned, alone]
    everything = [owner, owned, alone]
    heap = grouping.Heap(everything)
    known = [everything, heap.objects]
    alone_id = id(alone)
    del owner, owned, alone
    assert grouping.only_held_by(heap, asked, known) == {alone_id}
    elsewhere.clear()
    assert grouping.only_held_by(heap, asked, known) == set(map(id, asked))
    assert grouping.only_held_by(heap, [], known) == set()


@pytest.mark.skipif(not COUNTED, reason="references are not counted")
def test_one_reference_more_is_held_elsewhere() -> None:
    """However often a holder is named, among the survivors or not."""
    one, other = Widget(), Widget()
    one.other = [other]  # type: ignore[attr-defined]
    everything = [one, one.other, other]  # type: ignore[attr-defined]
    heap = grouping.Heap(everything)
    ids = set(heap.objects)
    known = [everything, heap.objects, everything, one.other]  # type: ignore[attr-defined]
    known.append(known)
    local = id(other)
    del one
    assert [id(obj) for obj in heap.held_elsewhere(ids, known)] == [local]
    del other
    assert heap.held_elsewhere(ids, known) == ()


def test_a_test_is_not_blamed_for_what_another_leaks(judge) -> None:
    """What a registry keeps once, or in the place of the last, is none of what it only adds to;
    nor is what has no registry: a variable of a thread that waits."""
    run = judge(
        """
        import queue, threading
        class Job: pass
        class Connection: pass
        REGISTRY, CURRENT = {}, {}
        def worker(q):
            connection = Connection()
            q.get()
        def test_adds(): REGISTRY[object()] = Job()
        def test_keeps_the_latest(): REGISTRY["latest"] = Job()
        def test_keeps_one(): REGISTRY.setdefault("the only one", Job())
        def test_leaves_a_thread():
            threading.Thread(target=worker, args=(queue.Queue(),), daemon=True).start()
        def test_sets_the_current(): CURRENT["it"] = Connection()
        """
    )
    shown = {test.partition("::")[2] for leak in run.leaks for test in leak["tests"]}
    assert shown == {"test_adds", "test_leaves_a_thread"}, run.text


def test_a_part_of_a_leak_is_not_its_holder(judge, pytester) -> None:
    """It would keep the leak alive once the registry is cleared."""
    pytester.makepyfile(
        conftest="""
        import gc, sys
        def pytest_sessionfinish():
            gc.collect()
            print("alive:", len(sys.modules["test_it"].ALIVE))
        """
    )
    run = judge(
        """
        import weakref
        REGISTRY, ALIVE = {}, weakref.WeakSet()
        class Child:
            def __init__(self, parent): self.parent = parent
        class Node:
            def __init__(self): self.child = Child(self); ALIVE.add(self)
        def test_leaks():
            node = Node(); REGISTRY[id(node)] = node
        def test_clears(): REGISTRY.clear()
        """,
        "-s",
    )
    assert run.outcomes == {"passed": 2, "leaked": 1}, run.text
    assert "alive: 0" in run.text


def test_what_a_class_keeps_of_its_subclasses_says_nothing() -> None:
    """A dict that no object refers to, for the collector; one with weak references is a cache."""

    class Base:
        pass

    class First(Base):
        pass

    class Second(Base):
        pass

    kept = [
        each
        for each in gc.get_objects()
        if type(each) is dict and isinstance(each.get(id(First)), weakref.ref)
    ]
    assert kept
    assert all(map(_is_bookkeeping, kept))
    assert not _is_bookkeeping({"first": weakref.ref(Second())})
    assert not _is_bookkeeping({"first": weakref.ref(First)})
    assert not _is_bookkeeping({1: weakref.ref(First)})
    assert not _is_bookkeeping({"first": First})


def test_classes_of_different_tests_in_one_registry_are_one_leak(judge) -> None:
    run = judge(
        """
        REGISTRY = {}
        class Entry: pass
        def test_a():
            class Foo: pass
            REGISTRY[Foo] = Entry()
        def test_b():
            class Bar: pass
            REGISTRY[Bar] = Entry()
        """
    )
    (leak,) = run.leaks
    assert len(leak["tests"]) == 2, run.text


def test_a_list_in_a_leak_is_no_reason_to_suspect_another(judge) -> None:
    """Nor is what replaces its like at the same addresses, and can't be weakly referenced."""
    run = judge(
        """
        from typing import NamedTuple
        class Actions(NamedTuple): calls: list
        class Thing:
            def __init__(self): self.parts = Actions([self.__init__])
        KEPT, SLOT, TABLE = [], {}, {}
        def test_it():
            KEPT.append(Thing())
            SLOT["previous"] = SLOT.get("latest")
            SLOT["latest"] = [test_it]
            TABLE.clear()
            TABLE.update({number: Thing() for number in range(5)})
        """
    )
    (leak,) = run.leaks
    assert "KEPT" in leak["summary"], run.text


@pytest.mark.skipif(not COUNTED, reason="what C alone holds is only told by reference counts")
def test_an_idle_callback_does_not_hide_a_leak_beside_it(judge) -> None:
    """Both are in one list in C, which the plugin knows by then."""
    run = judge(
        """
        import os
        class Session:
            def child(self): pass
        def test_plain(): os.register_at_fork(after_in_child=lambda: None)
        def test_session(): os.register_at_fork(after_in_child=Session().child)
        """
    )
    (leak,) = run.leaks
    assert leak["tests"].keys() == {"test_it.py::test_session"}, run.text


MEMO = """
import pytest
MEMO, CALLS = {}, []
class ParseError(Exception): pass
def parse(text):
    MEMO.clear()
    if text == "fine": return
    error = MEMO[0] = ParseError(text)
    raise error
def fails():
    try: parse("x")
    except ParseError: pass
"""
BESIDE = {
    "in the module": """
def test_before(): parse("fine")
def test_parse(): fails()
""",
    "in the class before": """
class TestBefore:
    def setup_class(cls): CALLS.append("set up before")
    def teardown_class(cls): CALLS.append("torn down before")
    def test_before(self): parse("fine")
class TestParse:
    def setup_class(cls): CALLS.append("set up")
    def teardown_class(cls): CALLS.append("torn down")
    def test_parse(self): fails()
def test_calls():
    assert CALLS[:4] == ["set up before", "torn down before", "set up", "torn down"]
    assert CALLS[-4:] == ["set up", "torn down", "set up before", "torn down before"]
""",
    "nowhere that can be run": """
class TestBefore:
    def test_before(self): parse("fine")
class TestParse:
    def teardown_class(cls): CALLS.append("torn down")
    @pytest.mark.leaks(reason="no test that can be run lets go of it")
    def test_parse(self): fails()
    class TestInside:
        def test_inside(self): assert not CALLS
""",
    "in the class before, the last": """
import unittest
class TestBefore(unittest.TestCase):
    def test_before(self): parse("fine")
class TestParse(unittest.TestCase):
    def test_parse(self): fails()
""",
}


@pytest.mark.parametrize("tests", BESIDE.values(), ids=BESIDE)
def test_a_memo_that_is_cleared_before_it_is_filled_is_none(judge, tests) -> None:
    """Another test lets go of the exception in it."""
    run = judge(MEMO + tests)
    assert run.outcomes.keys() == {"passed"}, run.text
    assert not [leak for leak in run.leaks if leak["status"] != "expected"], run.text


@pytest.mark.skipif(not COUNTED, reason="what C alone holds is only told by reference counts")
def test_a_thread_that_waits_is_one_leak(judge) -> None:
    """With its first call, which C holds, and the functions in its calls; also in a second test."""
    run = judge(
        """
        import queue, threading
        class Watcher:
            def __init__(self):
                self.events = queue.Queue()
                self.thread = threading.Thread(target=self.run, daemon=True)
                self.thread.start()
            def run(self):
                any(self.events.get() for _ in range(3))
        def test_watches(): Watcher()
        def test_watches_too(): Watcher()
        """
    )
    (leak,) = run.leaks
    assert leak["tests"].keys() == {"test_it.py::test_watches", "test_it.py::test_watches_too"}


@pytest.mark.skipif(not COUNTED, reason="what C alone holds is only told by reference counts")
def test_what_c_holds_and_leads_to_a_leak_is_a_leak_of_its_own(judge) -> None:
    """Of two causes, each is named, also where one is known, and of a later test with one alone."""
    run = judge(
        """
        import ctypes
        REGISTRY = []
        class Connection: pass
        class Buffer:
            def __init__(self, connection): self.connection = connection
        def leak(obj): ctypes.pythonapi.Py_IncRef(ctypes.py_object(obj))
        def test_one():
            REGISTRY.append(Connection())
        def test_both():
            REGISTRY.append(Connection())
            leak(Buffer(REGISTRY[-1]))
        def test_other():
            leak(Buffer(None))
        """
    )
    shown = {leak["type"].rpartition(".")[2]: sorted(leak["tests"]) for leak in run.leaks}
    assert shown == {
        "Connection": ["test_it.py::test_both", "test_it.py::test_one"],
        "Buffer": ["test_it.py::test_both", "test_it.py::test_other"],
    }, run.text


def test_what_hangs_on_a_harmless_kind_is_one_leak_with_it(judge) -> None:
    """Of a kind that many tests leave in a cache, one is leaked with its parts."""
    run = judge(
        """
        import functools, pytest
        class Part: pass
        class Rule: pass
        @functools.lru_cache(maxsize=100)
        def cached(number): return Rule()
        KEPT = []
        @pytest.mark.parametrize("number", range(30))
        def test_cached(number): cached(number)
        def test_leaks():
            rule = Rule(); rule.part = Part()
            KEPT.append(rule)
        """
    )
    (leak,) = run.leaks
    assert leak["type"] == "test_it.Rule", run.text


def test_leaks_by_two_names_of_one_module_are_two(judge) -> None:
    """And a test that leaves the like in a third one adds to neither."""
    run = judge(
        """
        import pytest
        class A: pass
        class B: pass
        LISTENERS, HANDLERS, CURRENT = (), (), None
        @pytest.mark.parametrize("n", range(12))
        def test_both(n):
            global LISTENERS, HANDLERS
            LISTENERS, HANDLERS = LISTENERS + (A(),), HANDLERS + (B(),)
        def test_neither():
            global CURRENT
            CURRENT = [A()]
        """
    )
    assert len(run.leaks) == 2
    assert all(len(leak["tests"]) == 12 for leak in run.leaks)


def test_a_holder_is_not_kept_for_its_leak(judge) -> None:
    run = judge(
        """
        import gc, weakref
        class Item: pass
        class App: items = ()
        app = App()
        def test_leaks(): app.items = app.items + (Item(),)
        def test_dies():
            global app
            watched = weakref.ref(app)
            app = None
            gc.collect()
            assert watched() is None
        """
    )
    assert run.outcomes["passed"] == 2, run.text


def test_a_cache_of_methods_is_known_again_by_its_keys(judge) -> None:
    """Tests that leave more in it are not explained anew."""
    run = judge(
        """
        import functools, pytest
        class Store:
            @functools.lru_cache(maxsize=1000)
            def get(self): return [Value()]
        class Value: pass
        @pytest.mark.parametrize("n", range(20))
        def test_leaks(n): Store().get()
        """
    )
    (leak,) = run.leaks
    assert len(leak["tests"]) == 20
    assert len(leak["judged"]) == 1
