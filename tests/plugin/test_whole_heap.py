"""What is older than a test: frozen while it runs, and the program's all the same."""

from __future__ import annotations

import gc
import sys

import pytest

pytestmark = pytest.mark.usefixtures("judges")


def test_a_test_that_asks_for_the_heap_sees_all_of_it(judge) -> None:
    """Objects and referrers older than the test, and the death of older cycles in a collection."""
    run = judge(
        """
        import gc, weakref
        class Thing: pass
        THING = Thing()
        HOLDER = {"it": THING}
        class Loop:
            def __init__(self): self.me = self
        loops = [Loop()]
        watched = weakref.ref(loops[0])
        def test_objects():
            assert any(each is THING for each in gc.get_objects())
        def test_referrers():
            assert any(each is HOLDER for each in gc.get_referrers(THING))
        def test_names():
            assert gc.get_objects.__name__ == "get_objects" and not hasattr(gc, "nothing")
        def test_older_cycles_die():
            loops.clear()
            assert watched() is not None
            gc.collect()
            assert watched() is None
        def test_nothing_is_left_of_it():
            assert "__getattr__" in vars(gc)
        """
    )
    assert run.outcomes == {"passed": 5}
    assert run.leaks == [], run.text
    assert "not judged" not in run.text


@pytest.mark.parametrize("asks", ["gc.collect()", "gc.get_objects()", "gc.get_referrers(KEPT)"])
def test_a_leak_is_found_though_the_test_asks_for_the_heap(judge, asks: str) -> None:
    """Made before it asks and after it; what it only keeps until it ends is none."""
    run = judge(
        f"""
        import gc
        class Early: pass
        class Late: pass
        class Own:
            def __init__(self): self.me = self
        KEPT, ALSO = [], []
        def test_leaks():
            own = Own()
            KEPT.append(Early())
            {asks}
            ALSO.append(Late())
        def test_is_fine():
            own = Own()
            {asks}
        """
    )
    assert sorted(leak["type"] for leak in run.leaks) == ["test_it.Early", "test_it.Late"], run.text
    assert all(leak["tests"].keys() == {"test_it.py::test_leaks"} for leak in run.leaks)


@pytest.mark.skipif(sys.platform == "win32", reason="the size of the process is not asked there")
def test_what_an_older_test_made_dies_between_tests(judge) -> None:
    """A cycle that each test puts in the place of the last one's: a megabyte each."""
    run = judge(
        """
        import pytest, weakref
        ALIVE = weakref.WeakSet()
        MOST = []
        current = None
        class App:
            def __init__(self):
                self.me, self.payload = self, bytearray(1_000_000)
                ALIVE.add(self)
        @pytest.mark.parametrize("number", range(200))
        def test_app(number):
            global current
            current = App()
            MOST.append(len(ALIVE))
        def test_most():
            assert max(MOST) < 150
        """
    )
    assert run.outcomes == {"passed": 201}, run.text
    assert run.leaks == [], run.text


def test_a_program_that_froze_its_heap(judge, pytester) -> None:
    """Its caches and queues are known, its leaks are found, and it is frozen again afterwards."""
    pytester.makepyfile(
        conftest="""
        import gc
        def pytest_collection_finish(): gc.collect(); gc.freeze()
        def pytest_sessionfinish(): print("frozen:", gc.get_freeze_count() > 4000)
        """
    )
    run = judge(
        """
        import collections, functools
        class Job: pass
        REGISTRY = []
        RING = collections.deque(maxlen=10)
        @functools.lru_cache(maxsize=50)
        def cached(x): return Job()
        def test_leak(): REGISTRY.append(Job())
        def test_bounded_cache(): cached(object())
        def test_bounded_ring(): RING.append(Job())
        """,
        "-s",
    )
    (leak,) = run.leaks
    assert leak["tests"].keys() == {"test_it.py::test_leak"}, run.text
    assert "frozen: True" in run.text


def test_a_snapshot_that_lends_the_heap() -> None:
    """It tells new objects before, meanwhile and afterwards; gc sees all of them meanwhile."""
    from deathwatch.watch.snapshot import Snapshot

    class New:
        pass

    old = New()
    snapshot = Snapshot()
    try:
        first = New()
        snapshot.lend()
        second = New()
        assert any(each is old for each in gc.get_objects())
        assert _of(snapshot, New) == [first, second]
        snapshot.take_back()
        third = New()
        assert {*_of(snapshot, New)} == {first, second, third}
        assert not any(each is old for each in gc.get_objects())
        del first
        assert {*_of(snapshot, New)} == {second, third}
        snapshot.restart()
        assert _of(snapshot, New) == []
    finally:
        snapshot.release()
    assert any(each is old for each in gc.get_objects())


def _of(snapshot, cls: type) -> list[object]:
    return [obj for obj in snapshot.new() if type(obj) is cls]
