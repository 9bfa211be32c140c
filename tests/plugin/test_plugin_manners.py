"""Manners: nothing where it isn't used, and the collector as it was found."""

from __future__ import annotations

import os
import sys

import pytest

STATE = """
    import gc
    def state():  # CPython 3.12 starts with 375 frozen objects of its own
        frozen = gc.get_freeze_count() > 2000
        return gc.isenabled(), gc.get_threshold(), gc.get_debug(), frozen
    def pytest_configure(config):
        gc.set_threshold(701, 11, 12)
        config.before = state()
    def pytest_unconfigure(config):
        print("restored", state() == config.before, state())
"""

HEAD = """
class Widget: pass
KEPT = []
def interrupt(): raise KeyboardInterrupt
"""


def test_a_suite_that_does_not_use_it_imports_nothing(plugin) -> None:
    """Neither package, nor any other module of the plugin."""
    result = plugin(
        """
        import sys
        def test_it():
            ours = [m for m in sys.modules if m.partition('.')[0] in ('deathwatch', 'lastref')]
            assert ours == []
            assert [m for m in sys.modules if m.startswith('pytest_deathwatch.')] == []
        """
    )
    assert result.parseoutcomes() == {"passed": 1}, result.stdout.str()


@pytest.mark.parametrize("name", ["deathwatch", "pytest_deathwatch"])
def test_it_can_be_left_out(pytester, monkeypatch, name: str) -> None:
    """By either name, where it is installed: the options are unknown then."""
    info = pytester.path / "installed" / "deathwatch-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: deathwatch\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[pytest11]\npytest_deathwatch = pytest_deathwatch\n")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(info.parent), os.environ.get("PYTHONPATH", "")])
    )
    pytester.makepyfile("def test_it(): pass")
    assert pytester.runpytest_subprocess("--deathwatch").ret == 0
    result = pytester.runpytest_subprocess("-p", f"no:{name}", "--deathwatch")
    assert result.ret == 4
    assert "--deathwatch" in result.stderr.str()


@pytest.mark.usefixtures("judges")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("KEPT.append(Widget())", 1),
        ("raise KeyboardInterrupt", 2),
        ("import pytest; pytest.exit('enough', returncode=7)", 7),
        ("KEPT.append(Widget()); len(KEPT) < 2 or interrupt()", 2),
    ],
)
def test_the_collector_is_the_users_own_on_every_way_out(
    judge, pytester, body: str, status: int
) -> None:
    """Enabled, thresholds, debug flags, frozen heap: also when a rerun is interrupted."""
    pytester.makeconftest(STATE)
    run = judge(HEAD + f"def test_it():\n    {body}\n", "-s")
    assert run.ret == status, run.text
    assert "restored True" in run.text, run.text


@pytest.mark.usefixtures("judges")
def test_the_collector_a_test_sees_is_on(judge) -> None:
    """Enabled, and set to run later: what a test changes itself stays changed."""
    run = judge(
        """
        import gc
        def test_enabled(): assert gc.isenabled()
        def test_changes(): gc.set_threshold(55, 5, 5); gc.disable()
        def test_sees(): assert gc.get_threshold()[1:] == (5, 5) and not gc.isenabled()
        """
    )
    assert run.ret == 0, run.text


@pytest.mark.usefixtures("judges")
@pytest.mark.parametrize("call", ["gc.unfreeze()", "gc.freeze()"])
def test_a_test_that_freezes_the_heap_itself_cannot_be_judged(judge, call: str) -> None:
    """Old and new can't be told apart: said, and no verdict."""
    run = judge(
        f"""
        import gc
        class Widget: pass
        KEPT = []
        def test_it():
            KEPT.append(Widget()); {call}
        """
    )
    assert run.leaks == []
    assert "was called in the region" in run.data["unjudged"]["test_it.py::test_it"]


@pytest.mark.skipif(sys.implementation.name == "cpython", reason="CPython can be judged")
def test_what_cannot_be_judged_is_said(judge) -> None:
    """On PyPy no verdict is given, and the run says why."""
    run = judge("def test_it(): pass")
    assert run.ret == 0
    assert "not judged: this interpreter's collector has no gc.freeze" in run.text


@pytest.mark.usefixtures("judges")
def test_every_kind_of_test_is_judged(judge, pytester) -> None:
    """Functions, classes, unittest, subtests, doctests, Hypothesis."""
    pytest.importorskip("hypothesis")
    pytester.makepyfile(
        documented='''
        KEPT = []
        class Widget: pass
        def keep():
            """
            >>> keep()
            """
            KEPT.append(Widget())
        '''
    )
    run = judge(
        """
        import unittest
        from hypothesis import given, strategies
        class Widget: pass
        KEPT, UNIT, CLASS = [], [], []
        class Case(unittest.TestCase):
            @classmethod
            def setUpClass(cls): cls.shared = []
            def test_unit(self): UNIT.append(Widget()); self.shared.append(Widget())
        class TestClass:
            def test_method(self): CLASS.append(Widget())
        @given(strategies.integers())
        def test_property(n): KEPT.append(Widget())
        """,
        "--doctest-modules",
    )
    shown = {test.rpartition("::")[2] for leak in run.leaks for test in leak["tests"]}
    assert shown == {"test_unit", "test_method", "test_property", "documented.keep"}, run.text
    assert all(leak["type"].endswith("Widget") for leak in run.leaks), run.text


@pytest.mark.usefixtures("judges")
def test_state_machines_are_rerun_with_few_examples(judge) -> None:
    """As properties are; the settings are the user's own again afterwards."""
    pytest.importorskip("hypothesis")
    run = judge(
        """
        from hypothesis import settings
        from hypothesis.stateful import RuleBasedStateMachine, rule
        class Widget: pass
        CACHE, STARTS = {}, []
        class Machine(RuleBasedStateMachine):
            def __init__(self): super().__init__(); STARTS.append(0); CACHE[0] = Widget()
            @rule()
            def step(self): pass
        Machine.TestCase.settings = settings(max_examples=200, stateful_step_count=1)
        TestMachine = Machine.TestCase
        def test_last():
            print("STARTS", len(STARTS))
            assert TestMachine.settings.max_examples == 200
        """,
        "-s",
    )
    assert run.outcomes == {"passed": 2}, run.text
    starts = int(run.text.partition("STARTS ")[2].split()[0])
    assert starts < 300, "200 of the test, and a few of each rerun"


@pytest.mark.usefixtures("judges")
def test_workers_findings_are_merged(judge) -> None:
    """pytest-xdist: one group, one letter for each test, one exit status."""
    pytest.importorskip("xdist")
    run = judge(
        """
        import pytest
        class Widget: pass
        KEPT = []
        @pytest.mark.parametrize("n", range(8))
        def test_leaks(n): KEPT.append(Widget())
        def test_fine(): pass
        """,
        "-n2",
    )
    assert run.ret == 1, run.text + run.errors
    assert run.outcomes == {"passed": 9, "leaked": 8}
    (leak,) = run.leaks
    assert len(leak["tests"]) == 8
    assert run.data["tests"] == 9


@pytest.mark.usefixtures("judges")
def test_a_scope_that_leaks_in_a_worker_has_its_outcome(judge) -> None:
    """It belongs to the first test of the scope, which is over: a worker must not report that."""
    pytest.importorskip("xdist")
    run = judge(
        """
        import pytest
        class Widget: pass
        KEPT = []
        @pytest.fixture(scope="module")
        def leaky(): KEPT.append(Widget()); return KEPT[-1]
        def test_first(leaky): pass
        def test_last(leaky): pass
        """,
        "-n1",
        "-v",
    )
    assert run.outcomes == {"passed": 2, "leaked": 1}, run.text + run.errors
    assert run.data["unjudged"] == {}
    assert [list(leak["tests"]) for leak in run.leaks] == [["test_it.py::test_first"]]


@pytest.mark.usefixtures("judges")
@pytest.mark.parametrize(
    ("plugin_name", "body"),
    [
        ("pytest_asyncio", "@pytest.mark.asyncio\nasync def test_it(): {}"),
        ("anyio", "@pytest.mark.anyio\nasync def test_it(): {}"),
        ("pytest_trio", "@pytest.mark.trio\nasync def test_it(): {}"),
        ("pytest_randomly", "def test_it(): {}"),
    ],
)
def test_other_peoples_plugins(judge, plugin_name: str, body: str) -> None:
    """A leak is found in their tests, and there is none in those that don't leak."""
    pytest.importorskip(plugin_name)
    head = "import pytest\nclass Widget: pass\nKEPT = []\n"
    leaking = judge(head + body.format("KEPT.append(Widget())"), shuffle=True)
    assert [leak["type"] for leak in leaking.leaks] == ["test_it.Widget"], leaking.text
    fine = judge(head + body.format("Widget()"), shuffle=True)
    assert fine.leaks == [], fine.text
    assert fine.outcomes["passed"] >= 1


@pytest.mark.usefixtures("judges")
def test_a_tracer_of_coverage_is_none_of_the_program(judge) -> None:
    """It has one for each thread, and the collector can't see into those that are written in C."""
    pytest.importorskip("pytest_cov")
    run = judge(
        """
        import threading
        class Widget: pass
        KEPT = []
        def in_a_thread(function):
            thread = threading.Thread(target=function); thread.start(); thread.join()
        def test_is_fine(): in_a_thread(lambda: None)
        def test_leaks(): in_a_thread(lambda: KEPT.append(Widget()))
        """,
        "--cov=.",
    )
    assert [leak["type"] for leak in run.leaks] == ["test_it.Widget"], run.text


@pytest.mark.usefixtures("judges")
def test_no_code_of_the_objects_runs(judge) -> None:
    """A proxy may raise for its class, equality, hash, truth and repr; its class for the same."""
    run = judge(
        """
        def refuse(self, *_): raise SystemError("asked")
        class Meta(type):
            __eq__ = __hash__ = __bool__ = __repr__ = __len__ = __iter__ = refuse
        class Hostile(metaclass=Meta):
            __class__ = property(refuse)
            __eq__ = __hash__ = __bool__ = __repr__ = __len__ = __iter__ = refuse
        KEPT = []
        def test_leaks(): KEPT.append(Hostile())
        def test_cycle():
            hostile = Hostile(); hostile.itself = hostile
        """
    )
    assert [leak["type"] for leak in run.leaks] == ["test_it.Hostile"], run.text
    assert len(run.cycles) == 1
    assert run.data["unjudged"] == {}


@pytest.mark.usefixtures("judges")
def test_what_a_fixture_held_dies_with_it(judge) -> None:
    """What the judge remembers of a fixture's list does not keep the list alive."""
    run = judge(
        """
        import gc, pytest, weakref
        class Widget: pass
        WEAK = []
        @pytest.fixture(scope="class")
        def held(): return []
        class TestFirst:
            @pytest.mark.parametrize("n", range(3))
            def test_it(self, held, n):
                held.append(Widget()); WEAK.append(weakref.ref(held[-1]))
        def test_after():
            gc.collect()
            assert [wr for wr in WEAK if wr() is not None] == []
        """
    )
    assert run.leaks == [], run.text
    assert run.outcomes == {"passed": 4}, run.text
