"""What is older than a test: frozen while it runs, and the program's own between tests."""

from __future__ import annotations

import sys

import pytest

pytestmark = pytest.mark.usefixtures("judges")


@pytest.mark.skipif(sys.platform != "linux", reason="the size of the process is not asked there")
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
