"""Tests whose objects are of the same classes: passed at once, where they leave nothing new."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("judges")

REBINDING = """
import pytest
class Value: pass
class Cyclic:
    def __init__(self): self.me, self.found = self, [Value()]
class Registry: current = None
OLDER = []
@pytest.mark.parametrize("n", range(12))
def test_rebinds(n):
    Registry.current = Cyclic()
"""


KEEPING = {
    "copies": """
def test_leaks():
    older = Registry.current
    Registry.current = [*(older if type(older) is list else []), Value()]
""",
    "a chain": """
class Link:
    def __init__(self, link): self.link = link
def test_leaks(): Registry.current = Link(Registry.current)
""",
    "what was there before": """
def test_leaks():
    OLDER.append(Registry.current)
    Registry.current = Cyclic()
""",
    "what hung on it": """
def test_leaks():
    OLDER.extend(Registry.current.found)
    Registry.current = Cyclic()
""",
    "the new": """
def test_leaks():
    Registry.current = Cyclic()
    OLDER.append(Registry.current)
""",
    "what hangs on the new": """
def test_leaks():
    Registry.current = Cyclic()
    OLDER.append(Registry.current.found[0])
""",
}


def test_what_is_kept_beside_a_name_that_is_bound_anew_is_found(judge, pytester) -> None:
    files = {f"test_{number}": REBINDING + leak for number, leak in enumerate(KEEPING.values())}
    pytester.makepyfile(**files)
    run = judge(None)
    found = {test for each in run.leaks for test in each["tests"]}
    assert found == {f"{file}.py::test_leaks" for file in files}, list(KEEPING)


def test_tests_alike_are_told_by_what_they_leave(judge) -> None:
    """Those that leave nothing are passed at once, and those between that leak are all named."""
    run = judge(
        """
        import pytest, types
        KEPT = []
        @pytest.mark.parametrize("n", range(40))
        def test_quiet(n): pass
        @pytest.mark.parametrize("n", range(40))
        def test_leaks(n):
            made = types.SimpleNamespace(n=n)
            if n % 2: KEPT.append(made)
        @pytest.mark.parametrize("n", range(40))
        def test_quiet_too(n): pass
        """
    )
    (leak,) = run.leaks
    assert sorted(leak["tests"]) == sorted(f"test_it.py::test_leaks[{n}]" for n in range(1, 40, 2))


ALIKE = {
    "another place": """
CURRENT, KEPT = None, []
def rebind():
    global CURRENT
    CURRENT = functools.partial(print)
def test_1(): rebind()
def test_2(): rebind()
def test_3(): rebind()
def test_leaks(): KEPT.append(functools.partial(print))
""",
    "an owner that goes with the test": """
KEPT = []
def test_1(request): request.node.extra = types.SimpleNamespace()
def test_2(request): request.node.extra = types.SimpleNamespace()
def test_3(request): request.node.extra = types.SimpleNamespace()
def test_leaks(request): KEPT.append(types.SimpleNamespace())
""",
    "other contents": """
ONE, NUMBERS, KEPT = types.SimpleNamespace(), [], []
def test_1(): NUMBERS.append([1])
def test_2(): NUMBERS.append([1])
def test_3(): NUMBERS.append([1])
def test_leaks(): KEPT.append([ONE])
""",
    "a class of the program's own": """
class Value: pass
CURRENT, KEPT = None, []
def rebind():
    global CURRENT
    CURRENT = Value()
def test_1(): rebind()
def test_2(): rebind()
def test_3(): rebind()
def test_leaks(): KEPT.append(Value())
""",
}


@pytest.mark.parametrize("cycles", ["report", "ignore"])
def test_what_is_of_the_same_classes_is_not_the_same(judge, pytester, cycles) -> None:
    head = "import functools, types\n"
    files = {f"test_{number}": head + tests for number, tests in enumerate(ALIKE.values())}
    pytester.makepyfile(**files)
    run = judge(None, f"--deathwatch-cycles={cycles}")
    found = {test for each in run.leaks for test in each["tests"]}
    assert found == {f"{file}.py::test_leaks" for file in files}, list(ALIKE)


def test_what_a_known_leak_adds_to_is_named_after_tests_alike(judge) -> None:
    run = judge(
        """
        import types
        CURRENT, KEPT = None, []
        def rebind():
            global CURRENT
            CURRENT = types.SimpleNamespace()
        def test_leaks(): KEPT.append(types.SimpleNamespace())
        def test_1(): rebind()
        def test_2(): rebind()
        def test_3(): rebind()
        def test_leaks_too(): KEPT.append(types.SimpleNamespace())
        """
    )
    (leak,) = run.leaks
    assert sorted(leak["tests"]) == ["test_it.py::test_leaks", "test_it.py::test_leaks_too"]


LAST = """
import pytest
class Value: pass
KEPT = []
@pytest.fixture(scope="module")
def server(): return set()
def adds(): KEPT.append(Value())
def replaces(): KEPT[:] = [Value(), Value()]
def test_leaks(): adds()
def test_uses(server): pass
"""


@pytest.mark.parametrize(
    ("last", "adds"),
    {
        "def test_last(server): adds()": True,
        "def test_last(server): replaces()": False,
        "def test_last(request): adds(); request.getfixturevalue('server')": True,
        "def test_last(request): replaces(); request.getfixturevalue('server')": False,
        """
def test_last(server):  # its second rerun fails
    assert not server
    server.add(1)
    replaces()
""": False,
    }.items(),
)
def test_the_last_test_of_a_module_that_has_a_fixture(judge, last, adds) -> None:
    """Its reruns set the fixture up again, and what it had left by then counts as old."""
    run = judge(LAST + last)
    (leak,) = run.leaks
    shown = ["test_it.py::test_last"] if adds else []
    assert sorted(leak["tests"]) == [*shown, "test_it.py::test_leaks"], run.text


def test_a_fixture_of_a_class_is_the_own_one_of_a_test_in_none(judge) -> None:
    run = judge(
        """
        import pytest
        class Value: pass
        KEPT = []
        @pytest.fixture(scope="class")
        def fixture(): return object()
        def test_leaks(fixture): KEPT.append(Value())
        def test_leaks_too(fixture): KEPT.append(Value())
        """
    )
    (leak,) = run.leaks
    assert sorted(leak["tests"]) == ["test_it.py::test_leaks", "test_it.py::test_leaks_too"]


def test_classes_of_one_name_with_other_metaclasses(judge) -> None:
    """Those of `type` are no reason to look closer by then, and those of the program's own are."""
    run = judge(
        """
        import pytest
        class Meta(type): pass
        CURRENT, KEPT = None, []
        def make(meta): return meta("Made", (), {"__module__": __name__, "__qualname__": "Made"})
        def rebind():
            global CURRENT
            CURRENT = make(type)
        @pytest.mark.parametrize("n", range(14))
        def test_rebinds(n): rebind()
        def test_leaks():
            rebind()
            KEPT.append(make(Meta))
        """
    )
    assert [sorted(leak["tests"]) for leak in run.leaks] == [["test_it.py::test_leaks"]], run.text


def test_what_the_last_errors_were_is_no_excuse_for_who_keeps_them(judge) -> None:
    run = judge(
        """
        import sys
        class Error(Exception): pass
        KEPT = []
        def fail():
            KEPT.append(getattr(sys, "last_value", None))
            sys.last_value = Error()
        def test_leaks(): fail()
        def test_leaks_too(): fail()
        """
    )
    (leak,) = run.leaks
    assert len(leak["tests"]) == 2


def test_odd_modules_and_classes_are_no_obstacle(judge) -> None:
    """A class may have a metaclass that compares, and a module its own way to its names."""
    run = judge(
        """
        import sys, types
        class Meta(type):
            def __eq__(self, other): raise ZeroDivisionError
        class Odd(metaclass=Meta): current = None
        class Value: pass
        class Module(types.ModuleType):
            def __getattribute__(self, name): raise RuntimeError
        KEPT = []
        def test_1(): Odd.current = Value()
        def test_2(): Odd.current = Value()
        def test_3(monkeypatch):
            monkeypatch.setitem(sys.modules, "odd", Module("odd"))
            Odd.current = Value()
        def test_leaks(): KEPT.append(Value())
        """
    )
    assert run.data["unjudged"] == {}, run.text
    assert {test for each in run.leaks for test in each["tests"]} == {"test_it.py::test_leaks"}
