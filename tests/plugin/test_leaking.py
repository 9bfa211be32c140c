"""`--deathwatch`: real leaks are found and named, and nothing else is."""

from __future__ import annotations

import sys

import pytest

pytestmark = pytest.mark.usefixtures("judges")

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

LEAKS = """
    class Widget: pass
    KEPT = []
    def test_leaks(): KEPT.append(Widget())
    def test_leaks_too(): KEPT.append(Widget())
    def test_is_fine(): Widget()
"""


def test_a_leak_is_an_outcome_of_its_own(judge) -> None:
    """The tests keep theirs: all passed, two leaked, and the run fails."""
    run = judge(LEAKS)
    assert run.ret == 1
    assert run.outcomes == {"passed": 3, "leaked": 2}
    assert ".L.L." in run.text


def test_one_cause_is_one_group(judge) -> None:
    """With the path, the tests that show it, the number of objects, and what they hold."""
    run = judge(LEAKS)
    (leak,) = run.leaks
    assert leak["type"] == "test_it.Widget"
    assert "test_it.KEPT[" in leak["summary"]
    assert sorted(leak["tests"]) == ["test_it.py::test_leaks", "test_it.py::test_leaks_too"]
    assert leak["objects"] == 1
    assert leak["size"] >= sys.getsizeof(object())
    assert leak["types"] == {"test_it.Widget": 1}
    assert f"[{leak['fingerprint']}]" in run.text
    assert "shown by 2 tests" in run.text


def test_an_object_that_two_keep_in_bounds_is_no_leak(judge) -> None:
    """Whichever of the two was met before; what is held without bounds beside it is one."""
    run = judge(
        """
        import collections, functools
        class Request: pass
        class Session: pass
        registry, history = [], collections.deque(maxlen=100)
        @functools.lru_cache(maxsize=1024)
        def cached(x): return 1
        def test_cached(): cached(Request())
        def test_cached_and_in_a_queue():
            request = Request()
            cached(request)
            history.append(request)
        def test_leaks():
            session, request = Session(), Request()
            registry.append(session)
            cached(request)
            history.append(request)
        """
    )
    (leak,) = run.leaks
    assert leak["type"] == "test_it.Session"
    assert sorted(leak["tests"]) == ["test_it.py::test_leaks"]


def test_classes_that_refuse_to_be_compared_are_judged(judge) -> None:
    """By their metaclass, or by that one's own."""
    run = judge(
        """
        import pytest
        class Unhashable(type): __hash__ = None
        class Meta(type, metaclass=Unhashable): pass
        class Raising(type):
            def __hash__(cls): raise RuntimeError
            def __eq__(cls, other): raise RuntimeError
        class First(metaclass=Meta): pass
        class Second(metaclass=Raising): pass
        kept = []
        @pytest.fixture(scope="module")
        def made(): return First()
        @pytest.mark.parametrize("cls", [First, Second])
        def test_cycle(cls):
            one = cls()
            one.me = one
        def test_leaks(made): kept.append(Second())
        """
    )
    assert run.outcomes == {"passed": 3, "leaked": 1}
    assert [leak["type"] for leak in run.leaks] == ["test_it.Second"]
    assert len(run.cycles) == 2
    assert run.data["unjudged"] == {}


def test_a_fingerprint_holds_in_another_process(judge) -> None:
    """And in another order of tests."""
    (one,) = judge(LEAKS).leaks
    (other,) = judge(LEAKS, "test_it.py::test_leaks_too").leaks
    assert one["fingerprint"] == other["fingerprint"]


def test_a_leak_of_the_same_class_by_another_path_is_another(judge) -> None:
    """What is known of one registry doesn't hide a leak through the next."""
    run = judge(
        """
        class Widget: pass
        class Registry: held = {}
        KEPT = []
        def test_one(): KEPT.append(Widget())
        def test_other(): Registry.held[len(Registry.held)] = Widget()
        """
    )
    assert len(run.leaks) == 2
    texts = " ".join(leak["summary"] for leak in run.leaks)
    assert "KEPT" in texts
    assert "Registry.held" in texts


GROWS = {
    "function": "KEPT.append(lambda: 1)",
    "generator": "KEPT.append(x for x in [Widget()])",
    "two": "KEPT.append([Widget(), Widget()])",
    "class": "KEPT.append(type('Made', (), {}))",
    "container": "KEPT.append([[1]])",
    "stream": "import io; KEPT.append(io.StringIO())",
    "weak": "import weakref; KEPT.append((weakref.ref(Widget()), 'x' * 1_000))",
    "dead": "import weakref; KEPT.append([weakref.ref(Widget())])",
    "module": "import types; module = types.ModuleType('pytest.mine'); KEPT.append(module)",
    "fork": "import os; os.register_at_fork(before=Widget().method)",
    "exit": "import atexit; atexit.register(Widget().method)",
    "logger": "import logging; logging.getLogger(f'x{len(KEPT)}{id(object())}'); KEPT.append([1])",
    "lru": "unbounded(Widget())",
}


def test_everything_that_grows_is_found(judge) -> None:
    """Instances, functions, generators, classes, containers, the library's own objects."""
    tests = "\n".join(f"def test_{name}():\n    {body}" for name, body in GROWS.items())
    run = judge(
        "import functools\n"
        "class Widget:\n    def method(self): pass\n"
        "KEPT = []\n"
        "@functools.lru_cache(maxsize=None)\ndef unbounded(widget): return 1\n" + tests
    )
    found = {test.rpartition("::test_")[2] for leak in run.leaks for test in leak["tests"]}
    assert found == set(GROWS), run.text


HARMLESS = [
    "CACHE.setdefault('key', Widget())",
    "import xml.dom.minidom",
    "import re; re.compile('some (pattern|other)')",
    "import re; re.compile(f'some {id(object())} pattern {next(COUNT)}')",
    "global LAST; LAST = Widget()",
    "RING.append(Widget())",
    "from typing import Optional; Optional[Widget]",
    "from typing import Optional; Optional[type('C', (), {'held': Widget()})]",
    "import abc; isinstance(Widget(), abc.ABC); issubclass(type('C', (), {}), Iterable)",
    "cached(Widget())",
    "sys.intern('some string that is new')",
    "class Local: pass",
    "import weakref; WEAK[Widget()] = 1",
    "import warnings; warnings.warn('something')",
    "import logging; logging.getLogger('one').warning('something')",
    "import functools; functools.partial(len)",
    "enum.Enum('Local', 'A B')",
    "import asyncio; asyncio.run(asyncio.sleep(0))",
    "with pytest.raises(ValueError) as caught: int('x')",
    "import pkgutil, tempfile; pkgutil.get_importer(tempfile.mkdtemp())",
]


def test_caches_and_the_like_do_not_count(judge) -> None:
    """Filled once, lazy, interned, bounded, the latest of its kind, weakly held, or local."""
    tests = "\n".join(f"def test_{n}():\n    {body}" for n, body in enumerate(HARMLESS))
    run = judge(
        "import collections, enum, functools, itertools, pytest, sys, weakref\n"
        "from collections.abc import Iterable\n"
        "class Widget: pass\n"
        "CACHE, RING, LAST = {}, collections.deque(maxlen=2), None\n"
        "WEAK, COUNT = weakref.WeakKeyDictionary(), itertools.count()\n"
        "@functools.lru_cache(maxsize=64)\ndef cached(widget): return 1\n" + tests,
        "-W",
        "ignore",
    )
    assert run.leaks == [], run.text
    assert run.ret == 0
    assert run.outcomes == {"passed": len(HARMLESS)}


def test_queues_with_a_bound_do_not_count(judge) -> None:
    """However large it is; those without one do, also for what a bounded one holds too."""
    run = judge(
        """
        import collections, queue
        class Widget: pass
        RING, QUEUE = collections.deque(maxlen=100), queue.Queue(maxsize=100)
        ENDLESS, LIST = collections.deque(), []
        def test_ring(): RING.append({"widget": Widget()})
        def test_queue(): QUEUE.put(Widget())
        def test_endless(): ENDLESS.append(Widget())
        def test_both(): RING.append(Widget()); LIST.append(RING[-1])
        def test_rings(): LIST.append(collections.deque([Widget()], maxlen=2))
        """
    )
    found = {test.rpartition("::test_")[2] for leak in run.leaks for test in leak["tests"]}
    assert found == {"endless", "both", "rings"}, run.text


@pytest.mark.parametrize("kept", ["widget", "[widget]"])
def test_what_a_bounded_cache_and_another_hold_counts(judge, kept: str) -> None:
    """The cache would let go of it in the end; the other one doesn't."""
    run = judge(
        f"""
        import functools
        class Widget: pass
        KEPT = []
        @functools.lru_cache(maxsize=64)
        def cached(widget): return 1
        def test_it():
            widget = Widget(); cached(widget); KEPT.append({kept})
        """
    )
    (leak,) = run.leaks
    assert leak["type"] == "test_it.Widget"
    assert "test_it.KEPT" in leak["summary"]


@pytest.mark.skipif(not GIL, reason="references are not counted")
@pytest.mark.parametrize("bound", ["CACHE(next(NUMBERS))", "RING.append(Request())"])
def test_what_hangs_on_something_bounded_and_is_held_elsewhere_counts(judge, bound: str) -> None:
    """It goes with the entry of the cache, if nothing else has it."""
    run = judge(
        f"""
        import collections, functools, itertools
        class Session: pass
        class Request:
            def __init__(self):
                self.session, self.other = Session(), [self]
                SESSIONS.append(self.session)
        SESSIONS, NUMBERS = [], itertools.count()
        CACHE = functools.lru_cache(maxsize=64)(lambda number: Request())
        RING = collections.deque(maxlen=64)
        def test_it(): {bound}
        """
    )
    (leak,) = run.leaks
    assert leak["type"] == "test_it.Session"
    assert "test_it.SESSIONS" in leak["summary"]


def test_a_cache_that_excused_before_spares_reruns(judge) -> None:
    """But not where something else holds it too."""
    run = judge(
        """
        import functools
        class First: pass
        class Second: pass
        class Third: pass
        KEPT = []
        @functools.lru_cache(maxsize=64)
        def cached(one): return 1
        def test_first(): cached(First())
        def test_second(): cached(Second())
        def test_third():
            third = Third(); cached(third); KEPT.append(third)
        """
    )
    (leak,) = run.leaks
    assert leak["type"] == "test_it.Third"
    assert run.data["reruns"] == 6 + (3 if GIL else 6) + 6


def test_a_cache_that_excused_before_stands_for_those_of_its_module(judge) -> None:
    run = judge(
        """
        import functools
        class First: pass
        class Second: pass
        @functools.lru_cache(maxsize=64)
        def cached(one): return 1
        @functools.lru_cache(maxsize=64)
        def another(one): return 1
        def test_first(): cached(First())
        def test_second(): another(Second())
        """
    )
    assert run.leaks == []
    assert run.data["reruns"] == 6 + (3 if GIL else 6)


CACHED_BEFORE = """
        import functools, itertools
        KEPT = []
        class First: pass
        class Item: pass
        count = itertools.count(2**40)
        @functools.lru_cache(maxsize=40)
        def make(cls, number): return cls()
        def test_first(): make(First, next(count))
        {more}
        """
MORE = {
    "the same kind": """
        def test_many():
            for _ in range(5): make(Item, next(count))
            KEPT.append(Item())
        """,
    "another than so many": """
        KINDS = [type(f"K{i}", (), {}) for i in range(8)]
        def test_many():
            for cls in KINDS: make(cls, next(count))
            KEPT.append(Item())
        """,
    "a suspended generator": """
        def handle(owner, item): pass
        class Item:
            def __init__(self):
                self.inlet = self.work()
                next(self.inlet)
            def work(self):
                while True: handle(self, (yield))
        @functools.lru_cache(maxsize=64)
        def cached(item): return 1
        def test_many():
            item = Item()
            cached(item)
            KEPT.append(item)
        """,
}


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
def test_what_caches_hold_hides_no_leak_beside_it(judge, more: str) -> None:
    """Of its own kind; the ninth of many kinds; which shows more references than it has."""
    run = judge(CACHED_BEFORE.format(more=more))
    (leak,) = run.leaks
    assert leak["type"] == "test_it.Item"
    assert "test_it.KEPT" in leak["summary"]


def test_what_caches_hold_is_acquitted_in_the_end(judge) -> None:
    run = judge(
        CACHED_BEFORE.format(
            more="""
        import pytest
        @pytest.mark.parametrize("n", range(50))
        def test_many(n):
            for _ in range(10): make(Item, next(count))
        """
        )
    )
    assert run.leaks == []
    assert run.data["rerun"] < 30


def test_what_runners_and_abstract_classes_keep_is_no_reason_to_rerun(judge) -> None:
    """Hypothesis keeps a module for each signature, and strategies what they were drawn from."""
    pytest.importorskip("hypothesis")
    run = judge(
        """
        import abc
        from hypothesis import given, settings, strategies
        class Base(abc.ABC): pass
        integers = strategies.integers()
        def trees(): return strategies.recursive(integers, strategies.lists, max_leaves=3)
        @settings(max_examples=5)
        @given(trees())
        def test_imports(one): pass
        @settings(max_examples=5)
        @given(trees())
        def test_tree(one): pass
        @settings(max_examples=5)
        @given(trees(), trees())
        def test_trees(one, two): pass
        def test_abstract(): isinstance(0j, Base)
        """
    )
    assert run.leaks == []
    assert run.data["rerun"] <= 2  # of four: the first of Hypothesis imports things, perhaps two


BESIDE = {
    "a part": ("KEPT.append(io.TextIOWrapper(Raw(), 'utf-8', newline='\\n'))", 1),
    "in a list": ("OTHERS.append(logging.Logger('x'))", 2),
    "in a generator": ("OTHERS.append(run(logging.Logger('x'))); next(OTHERS[-1])", 2),
    "in a thread": ("start(logging.Logger('x'))", 2),
}


@pytest.mark.parametrize(("more", "leaks"), BESIDE.values(), ids=BESIDE)
def test_the_standard_librarys_beside_a_leak_is_a_part_of_it_or_another(
    judge, more: str, leaks: int
) -> None:
    """A stream's decoder is a part: by a type that the collector skips. One with a path is not."""
    run = judge(
        f"""
        import io, logging, threading, time
        KEPT, OTHERS = [], []
        class Raw(io.BytesIO): pass
        class Item: pass
        def run(logger):
            yield
            return logger
        def start(logger):
            started = threading.Event()
            def work(logger):
                started.set()
                while True: time.sleep(1)
            threading.Thread(target=work, args=(logger,), daemon=True).start()
            started.wait()
        def test_it():
            KEPT.append(Item())
            {more}
        """
    )
    assert len(run.leaks) == leaks, run.text
    assert "test_it.KEPT" in " ".join(leak["summary"] for leak in run.leaks)


def test_no_metaclass_is_asked(judge) -> None:
    run = judge(
        """
        import pytest
        class Meta(type):
            def __hash__(cls): pytest.fail("hashed")
            def __eq__(cls, other): pytest.fail("compared")
        latest = {}
        class Item(metaclass=Meta): pass
        def test_it(): latest["x"] = Item()
        """
    )
    assert run.outcomes == {"passed": 1}
    assert run.data["unjudged"] == {}


def test_instances_in_the_cache_of_their_own_method_count(judge) -> None:
    """Though the cache is bounded: it keeps alive what no one asked it to."""
    run = judge(
        """
        import functools
        class Schema:
            @functools.lru_cache(maxsize=2)
            def has(self, tag): return tag
        def test_it(): Schema().has(1)
        """
    )
    (leak,) = run.leaks
    assert leak["type"] == "test_it.Schema"
    assert "Schema.has" in leak["summary"]


def test_a_kept_exception_counts_though_it_is_the_only_one(judge) -> None:
    """Its traceback keeps the locals of every frame: only the next failure frees it."""
    run = judge(
        """
        class Payload: pass
        FAILED = {}
        def fetch():
            payload = Payload()
            raise ValueError
        def test_it():
            try: fetch()
            except ValueError as error: FAILED['key'] = error
        """
    )
    (leak,) = run.leaks
    assert "FAILED['key']" in leak["summary"]
    assert leak["types"]["test_it.Payload"] == 1


def test_a_failed_test_is_not_reported_on_top(judge) -> None:
    """Its traceback, sys.last_value and reports keep everything; so they do for later tests."""
    run = judge(
        """
        import pytest
        class Widget: pass
        KEPT = []
        def test_fails():
            widget = Widget(); KEPT.append(widget)
            assert widget is None
        @pytest.mark.xfail
        def test_is_expected_to():
            KEPT.append(Widget()); assert 0
        def test_skips():
            KEPT.append(Widget()); pytest.skip()
        def test_after(): pass
        """
    )
    assert run.leaks == []
    assert run.outcomes == {"failed": 1, "passed": 1, "skipped": 1, "xfailed": 1}


def test_the_last_error_that_a_console_showed_is_none(judge) -> None:
    """There is one at a time; what a registry holds too is a leak."""
    run = judge(
        """
        import code, sys
        class Payload: pass
        class Failure(Exception): pass
        KEPT = []
        def fail():
            payload = Payload()
            raise Failure
        def show():
            code.InteractiveInterpreter({"fail": fail}).runcode("fail()")
        def test_shows(): show()
        def test_keeps():
            show()
            KEPT.append(sys.last_value)
            show()
        """
    )
    found = {test for leak in run.leaks for test in leak["tests"]}
    assert found == {"test_it.py::test_keeps"}, run.text
    assert all("sys.last" not in leak["summary"] for leak in run.leaks)


def test_a_test_that_cannot_be_repeated_is_not_judged(judge) -> None:
    """It failed when it was rerun: said, and not counted as anything."""
    run = judge(
        """
        class Widget: pass
        KEPT = []
        def test_once():
            assert not KEPT
            KEPT.append(Widget())
        """
    )
    assert run.ret == 0
    assert run.leaks == []
    assert run.outcomes == {"passed": 1}
    assert "1 tests could not be judged" in run.text
    assert run.data["unjudged"] == {"test_it.py::test_once": "a rerun AssertionError in call"}


def test_reruns_are_told_to_no_one(judge, pytester) -> None:
    """No outcome, no output, no log, no warning, no subtest, no JUnit case of a rerun."""
    run = judge(
        """
        import logging, unittest, warnings
        class Widget: pass
        KEPT = []
        class Case(unittest.TestCase):
            def test_it(self):
                KEPT.append(Widget())
                print("printed once")
                logging.getLogger("x").error("logged once")
                warnings.warn("warned once")
                for i in range(2):
                    with self.subTest(i=i): pass
        """,
        "-rA",
        "--junitxml=junit.xml",
        "-o",
        "log_cli=true",
    )
    assert len(run.leaks) == 1
    assert run.data["reruns"] >= 2
    assert run.outcomes["passed"] == 1
    assert run.outcomes["warnings"] == 1
    assert run.text.count("printed once") == 1
    assert run.text.count("logged once") <= 2, "live, and in the summary"
    assert (pytester.path / "junit.xml").read_text().count("<testcase") == 1


def test_reruns_are_silent_without_capture(judge) -> None:
    """With -s the output of the test itself is all there is."""
    run = judge(LEAKS.replace("def test_leaks():", "def test_leaks(): print('said');"), "-s")
    assert run.text.count("said") == 1


def test_reruns_get_fresh_fixtures(judge) -> None:
    """Function-scoped fixtures are set up and torn down each time; module-scoped ones stay."""
    run = judge(
        """
        import pytest
        class Widget: pass
        KEPT, LOG = [], []
        @pytest.fixture(scope="module")
        def shared():
            LOG.append("module up"); yield; LOG.append("module down")
        @pytest.fixture
        def own(tmp_path):
            LOG.append("up"); yield tmp_path; LOG.append("down")
        def test_leaks(own, shared):
            assert not list(own.iterdir())
            (own / "file").touch()
            KEPT.append(Widget())
        def test_log(shared):
            assert LOG.count("up") == LOG.count("down") > 3
            assert LOG.count("module up") == 1 and "module down" not in LOG
        """
    )
    assert run.outcomes == {"passed": 2, "leaked": 1}, run.text


def test_what_a_module_fixture_holds_is_no_leak_of_the_tests_between(judge) -> None:
    """It goes when the scope ends: classes, modules, parameters, the session."""
    run = judge(
        """
        import pytest
        class Widget: pass
        @pytest.fixture(scope="session")
        def of_session(): return []
        @pytest.fixture(scope="module", params=[1, 2])
        def of_module(request): return [request.param]
        @pytest.fixture(scope="class")
        def of_class(): return []
        class TestIt:
            @pytest.mark.parametrize("n", range(4))
            def test_it(self, n, of_class, of_module, of_session):
                for fixture in (of_class, of_module, of_session): fixture.append(Widget())
        """
    )
    assert run.leaks == [], run.text
    assert run.ret == 0


@pytest.mark.parametrize("scope", ["class", "module"])
def test_what_a_scope_leaves_is_found_when_it_ends(judge, scope: str) -> None:
    """A fixture of a class or a module that leaves something each time it is set up."""
    run = judge(
        f"""
        import pytest
        class Widget: pass
        KEPT = []
        @pytest.fixture(scope="{scope}", params=["a", "b"])
        def leaky(request):
            widget = Widget(); KEPT.append(widget); return widget
        class TestIt:
            def test_other(self): pass
            def test_it(self, leaky): pass
            def test_again(self, leaky): pass
        class TestNext:
            def test_next(self): pass
        """
    )
    (leak,) = run.leaks
    assert "KEPT" in leak["summary"]
    assert all("TestIt::test_it" in test for test in leak["tests"])
    assert run.outcomes["passed"] == 6 if scope == "class" else True


def test_finalizers_of_a_session_fixture_are_pytests_own(judge) -> None:
    """It gets one with every fixture that asks for it: no reason to rerun a test."""
    run = judge(
        """
        import pytest
        @pytest.fixture(scope="session")
        def whole(): return object()
        @pytest.fixture
        def part(whole): return [whole]
        def test_one(part): pass
        def test_two(part): pass
        def test_three(part): pass
        """
    )
    assert run.data["rerun"] == 0


def test_a_thread_that_runs_on_is_named(judge) -> None:
    """Not its bound method, nor what it waits in: a test that leaves another bound method would be
    accused of the first, too."""
    run = judge(
        """
        import threading, time
        KEPT = {}
        class Watcher(threading.Thread):
            def run(self): any(self.wait() for _ in [1])
            def wait(self): time.sleep(1000)
        def test_starts(): Watcher(daemon=True).start()
        def test_other(): KEPT["latest"] = threading.Event().is_set
        """
    )
    (leak,) = run.leaks
    assert leak["type"] == "test_it.Watcher"
    # without the GIL, frames of running threads can't be read
    assert ("in thread" if GIL else "threading._active[") in leak["summary"]
    assert list(leak["tests"]) == ["test_it.py::test_starts"]


def test_many_tests_of_one_leak_are_not_all_rerun(judge) -> None:
    """One is judged; the others leave the same kind of object with the same holder."""
    run = judge(
        """
        import pytest
        class Widget: pass
        KEPT = []
        @pytest.mark.parametrize("n", range(50))
        def test_leaks(n): KEPT.append(Widget())
        """
    )
    (leak,) = run.leaks
    assert len(leak["tests"]) == 50
    assert len(leak["judged"]) == 1
    assert run.data["rerun"] == 1


@pytest.mark.skipif(
    not GIL,
    reason="on free-threaded builds reference counts are not exact, and tell nothing",
)
def test_a_value_with_a_leaked_reference_count_is_found(judge) -> None:
    """Held by no object that the collector knows: outside its view."""
    run = judge(
        """
        import ctypes
        class Value: pass
        def test_it():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(Value()))
        """
    )
    (leak,) = run.leaks
    assert leak["type"] == "test_it.Value"
    assert "outside the collector's view" in leak["summary"]
    # the run's own references are none of the program's
    unseen = "1 of 1 references is held outside the collector's view"
    assert unseen in leak["text"] or not GIL


def test_the_number_of_reruns_can_be_set(judge, pytester) -> None:
    """By option and by configuration, twice as many for a leak that is news; one for a known leak.
    --help says the default; fewer than two can't be."""
    assert judge(LEAKS, "--deathwatch-reruns=4").data["reruns"] == 8 + 1
    pytester.makeini("[pytest]\ndeathwatch_reruns = 2\n")
    assert judge(LEAKS).data["reruns"] == 4 + 1
    bad = judge(LEAKS, "--deathwatch-reruns=1")
    assert bad.ret == 4
    assert "fewer than 2 reruns" in bad.errors


def test_a_leak_of_another_thread_that_lets_go_is_none(judge) -> None:
    """Threads get three seconds."""
    run = judge(
        """
        import threading, time
        class Widget: pass
        def hold(widget): time.sleep(0.8)
        def test_it():
            threading.Thread(target=hold, args=[Widget()]).start()
        """
    )
    assert run.leaks == [], run.text


def test_harmless_tests_acquit_no_other_file(judge, pytester) -> None:
    """However many tests of a file leave a kind of object in a cache, one of another leaks it."""
    pytester.makepyfile(
        kinds="class Foo: pass",
        test_before="""
        import pytest
        from kinds import Foo
        C = {}
        @pytest.mark.parametrize("k", range(25))
        def test_cache(k): C.setdefault(k, Foo())
        """,
    )
    run = judge(
        """
        from kinds import Foo
        L = []
        def test_leak(): L.append(Foo())
        """
    )
    assert [list(leak["tests"]) for leak in run.leaks] == [["test_it.py::test_leak"]], run.text
    assert run.data["rerun"] < 25, "one file's tests are not rerun for ever"


def test_what_is_dear_is_rerun_twice(judge) -> None:
    """A test that is slow, or keeps very many objects: found all the same, and said."""
    run = judge(
        """
        import time
        class Slow: pass
        class Many: pass
        SLOW, MANY, N = [], [], []
        def test_slow(): SLOW.append(Slow()); time.sleep(1.05)
        def test_many(): MANY.extend([Many() for _ in range(20_001)])
        def test_light(): N.append(Slow())
        """
    )
    texts = {
        leak["type"].rpartition(".")[2]: leak["text"]
        for leak in run.leaks
        if "N[" not in leak["summary"]
    }
    assert "rerun twice only: a rerun took " in texts["Slow"]
    assert "rerun twice only: a rerun left 200" in texts["Many"]
    assert run.data["reruns"] <= 2 + 2 + 6, "and the light one as often as ever"


SLOW = {
    "a fixture of the session": """
@pytest.fixture(scope="session")
def db(): time.sleep(0.5)
def test_leaks(db): JOBS.append(Job())
""",
    "a fixture that is torn down": """
@pytest.fixture(scope="module")
def db():
    yield
    time.sleep(0.5)
def test_leaks(db): JOBS.append(Job())
""",
    "a fixture of the session, beside one of the module": """
@pytest.fixture(scope="session")
def db(): time.sleep(0.5)
@pytest.fixture(scope="module")
def job(db): JOBS.append(Job())
def test_leaks(job): pass
""",
    "the test after the leak of a fixture": """
@pytest.fixture(scope="module")
def job(): JOBS.append(Job())
def test_leaks(job): pass
def test_slow(): time.sleep(0.5)
""",
}


@pytest.mark.parametrize("tests", SLOW.values(), ids=SLOW)
def test_what_reruns_do_not_repeat_is_not_in_their_budget(judge, pytester, tests) -> None:
    pytester.makeconftest("from pytest_deathwatch import budget; budget._FREE = 0.5")
    run = judge(f"""
import pytest, time
class Job: pass
JOBS = []
{tests}""")
    (leak,) = run.leaks
    assert leak["tests"].keys() == {"test_it.py::test_leaks"}, run.text


def test_waiting_for_threads_is_not_in_the_budget(judge, pytester) -> None:
    """Each leak that another thread holds takes three seconds."""
    pytester.makeconftest("from pytest_deathwatch import budget; budget._FREE = 2.0")
    run = judge(
        """
        import queue, threading
        class Job: pass
        class Held: pass
        JOBS, HERE = [], queue.Queue()
        def hold(held): HERE.get()
        def test_thread():
            threading.Thread(target=hold, args=(Held(),), daemon=True).start()
        def test_leaks(): JOBS.append(Job())
        """
    )
    assert not run.data["unjudged"], run.text
    assert {test for leak in run.leaks for test in leak["tests"]} == {
        "test_it.py::test_thread",
        "test_it.py::test_leaks",
    }


def test_a_scope_is_in_the_budget_with_its_fixtures(judge, pytester) -> None:
    """What is not judged for that is not said to leak no longer."""
    pytester.makeconftest("from pytest_deathwatch import budget; budget._FREE = 0.5")
    run = judge(
        """
        import pytest, time
        class Job: pass
        JOBS = []
        @pytest.fixture(scope="module")
        def job(): JOBS.append(Job()); time.sleep(0.5)
        @pytest.mark.leaks(reason="known")
        def test_leaks(job): pass
        def test_last(): pass
        """
    )
    assert run.data["unjudged"].keys() == {"test_it.py::test_leaks"}, run.text
    assert "leaks no longer" not in run.text


def test_what_too_few_reruns_fit_in_for_is_not_judged(judge, pytester) -> None:
    """A cache that is full after five runs is none of a leak's first six."""
    pytester.makeconftest(
        """
        from pytest_deathwatch import budget
        expect, budget._FREE = budget.Pace.expect, 0.0
        budget.Pace.expect = lambda pace, session, seconds: expect(pace, session, 0.0)
        """
    )
    run = judge(
        """
        import itertools, time
        class Entry: pass
        CACHE, N = {}, itertools.count()
        def test_fills():
            time.sleep(0.2)
            CACHE[next(N) % 5] = Entry()
        """,
        "--deathwatch-budget=420",
    )
    assert run.leaks == [], run.text
    assert "more don't fit in" in run.data["unjudged"]["test_it.py::test_fills"]


def test_what_does_not_fit_in_the_budget_is_said(judge, pytester) -> None:
    """Such a test is not judged; a baseline keeps what it didn't show, and its marker may stay."""
    pytester.makefile(".txt", base="0123456789abcdef  Job held by it\n")
    pytester.makeconftest("from pytest_deathwatch import budget; budget._FREE = 0.0")
    run = judge(
        """
        import pytest
        class Job: pass
        JOBS = []
        def test_leaks(): JOBS.append(Job())
        @pytest.mark.leaks(reason="known")
        def test_leaks_too(): JOBS.append(Job())
        """,
        "--deathwatch-budget=0",
        "--deathwatch-baseline=base.txt",
        "--deathwatch-update",
    )
    assert run.leaks == [], run.text
    assert "its reruns don't fit in 0 % of what the run takes" in run.text
    assert "leaks no longer" not in run.text
    assert "0123456789abcdef" in (pytester.path / "base.txt").read_text()
    bad = judge(LEAKS, "--deathwatch-budget=-1")
    assert bad.ret == 4
    assert "give a percentage" in bad.errors


def test_odd_classes_are_judged(judge) -> None:
    """One without a module, and one whose size is an error."""
    run = judge(
        """
        Homeless = eval("type('Homeless', (), {})", {"type": type})
        assert "__module__" not in vars(Homeless)
        class Immeasurable:
            def __sizeof__(self): raise RuntimeError
        HOMELESS, IMMEASURABLE = [], []
        def test_homeless(): HOMELESS.append(Homeless())
        def test_immeasurable(): IMMEASURABLE.append(Immeasurable())
        """
    )
    assert run.data["unjudged"] == {}, run.text
    assert {leak["summary"].split()[0].rpartition(".")[2] for leak in run.leaks} == {
        "Homeless",
        "Immeasurable",
    }
