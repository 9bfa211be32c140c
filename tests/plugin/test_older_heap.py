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


ASKING = {
    "the test": "def test_it(): assert holders(OLD) == [HOLDER]",
    "by another name": """
import gc as collector
def test_it(): assert HOLDER in collector.get_referrers(OLD)
""",
    "through a module": "def test_it(): assert helping.holders(OLD) == [HOLDER]",
    "imported in the test": """
def test_it():
    from gc import get_referrers
    assert HOLDER in get_referrers(OLD)
""",
    "a function in the test": """
def test_it():
    def look(): return [each for each in gc.get_objects() if each is OLD]
    assert look() == [OLD]
""",
    "decorated": """
def again(function):
    @functools.wraps(function)
    def call(): function(); function()
    return call
@again
def test_it(): assert holders(OLD) == [HOLDER]
""",
    "a fixture": """
@pytest.fixture
def found(): return holders(OLD)
def test_it(found): assert found == [HOLDER]
""",
    "an autouse fixture": """
@pytest.fixture(autouse=True)
def found():
    yield
    assert holders(OLD) == [HOLDER]
def test_it(): pass
""",
    "a method": """
class TestIt:
    def test_it(self): assert holders(OLD) == [HOLDER]
""",
    "unittest": """
class TestIt(unittest.TestCase):
    def test_it(self): self.assertEqual(holders(OLD), [HOLDER])
""",
    "unittest's setUp": """
class TestIt(unittest.TestCase):
    def setUp(self): self.found = holders(OLD)
    def test_it(self): self.assertEqual(self.found, [HOLDER])
""",
    "two calls away": """
def helper(): return holders(OLD)
def test_it(): assert helper() == [HOLDER]
""",
    "imported as another name": """
from gc import get_referrers as users
def test_it(): assert HOLDER in users(OLD)
""",
    "a cached helper": """
@functools.lru_cache
def found(): return gc.get_referrers(OLD)
def test_it(): assert HOLDER in found()
""",
    "Hypothesis": """
from hypothesis import given, settings, strategies
@settings(max_examples=2)
@given(strategies.integers())
def test_it(number): assert holders(OLD) == [HOLDER]
""",
    "a fixture of a doctest": """
@pytest.fixture(autouse=True)
def found():
    yield
    assert holders(OLD) == [HOLDER]
def test_it():
    '''
    >>> 1 + 1
    2
    '''
""",
    "a doctest with a helper": """
def test_it():
    '''
    >>> holders(OLD) == [HOLDER]
    True
    '''
""",
    "a doctest": '''
def test_it():
    """
    >>> HOLDER in gc.get_referrers(OLD)
    True
    """
''',
}


@pytest.mark.parametrize("source", ASKING.values(), ids=ASKING)
def test_a_test_that_asks_for_the_heap_gets_it(judge, pytester, source) -> None:
    pytester.makepyfile(
        helping="""
        import gc
        def holders(obj):
            return [each for each in gc.get_referrers(obj) if isinstance(each, list)]
        """
    )
    run = judge(
        f"""
import functools, gc, unittest, helping, pytest
from helping import holders
class Old: pass
OLD = Old()
HOLDER = [OLD]
{source}
""",
        "--doctest-modules",
    )
    assert set(run.outcomes) == {"passed"}, run.text
    assert run.leaks == [], run.text


def test_who_asks_for_the_heap_is_not_judged(judge) -> None:
    """What is only seen by looking at all objects; the others' heap is frozen."""
    run = judge(
        """
        import gc, pytest
        from gc import get_freeze_count as frozen
        class Job: pass
        JOBS = []
        @pytest.fixture(scope="module")
        def jobs():
            gc.get_objects(); JOBS.append(Job())
        def test_asks():
            JOBS.append(Job()); gc.get_objects()
        def test_asks_by_its_fixture(jobs): pass
        class Store:
            def get_objects(self): return JOBS
        def test_leaks():
            Store().get_objects().append(Job())
            assert frozen() > 4000
        @pytest.mark.skip
        def test_would_ask(): gc.get_objects()
        """
    )
    assert run.outcomes == {"passed": 3, "leaked": 1, "skipped": 1}, run.text
    (leak,) = run.leaks
    assert leak["tests"].keys() == {"test_it.py::test_leaks"}, run.text
    assert run.data["unjudged"].keys() == {
        "test_it.py::test_asks",
        "test_it.py::test_asks_by_its_fixture",
    }
    assert "looks at the whole heap" in run.text


def test_a_test_that_asks_for_the_heap_may_thaw_it(judge, pytester) -> None:
    """What the program has frozen stays thawed after it."""
    pytester.makeconftest(
        """
        import gc
        def pytest_collection_finish(): gc.freeze()
        """
    )
    run = judge(
        """
        import gc
        def test_is_frozen():
            assert len(gc.get_objects()) < 1000 and gc.get_freeze_count() > 4000
        def test_thaws(): gc.unfreeze(); gc.get_objects()
        def test_nothing(): pass
        def test_is_thawed():
            assert len(gc.get_objects()) > 4000 and gc.get_freeze_count() < 1000
        """
    )
    assert run.outcomes == {"passed": 4}, run.text


def test_an_item_of_another_kind_is_run_as_ever(judge, pytester) -> None:
    """What it has in the place of pytest's own attributes is no reason to end the run."""
    pytester.makeconftest(
        """
        import pytest, types
        class Item(pytest.Item):
            _fixtureinfo = types.SimpleNamespace(name2fixturedefs=None)
            def runtest(self): pass
        class File(pytest.File):
            def collect(self): yield Item.from_parent(self, name="it")
        def pytest_collect_file(file_path, parent):
            if file_path.suffix == ".odd": return File.from_parent(parent, path=file_path)
        """
    )
    pytester.makefile(".odd", it="")
    run = judge("def test_it(): pass", "-ppytester")
    assert run.outcomes == {"passed": 2}, run.text


def test_a_test_that_runs_pytest_where_hypothesis_is(judge) -> None:
    """Hypothesis asks for the referrers of a generator that is older than the test."""
    pytest.importorskip("hypothesis")
    run = judge(
        """
        import random
        class Job: pass
        GENERATOR, JOBS = random.Random(), []
        class Holder:
            generator = GENERATOR
        def test_runs_pytest(pytester):
            JOBS.append(Job())
            pytester.makeconftest('''
        import hypothesis, test_it
        def pytest_configure(): hypothesis.register_random(test_it.GENERATOR)
        ''')
            pytester.makepyfile(test_inner="def test_inner(): pass")
            options = ["-W", "error", "-p", "no:asyncio"]
            result = pytester.runpytest_inprocess(*options, "test_inner.py")
            result.assert_outcomes(passed=1)
        def test_leaks():
            JOBS.append(Job())
        """,
        "-ppytester",
    )
    assert run.outcomes == {"passed": 2, "leaked": 1}, run.text
    (reason,) = run.data["unjudged"].values()
    assert "loads Hypothesis anew" in reason
