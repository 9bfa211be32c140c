"""Tests for whose reruns there is no time: judged by what dies while others run."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("judges")

SUITE = """
import functools, pytest
class Value: pass
class Slot:
    __slots__ = ("found",)
    def __init__(self): self.found = Value()
class Other:
    __slots__ = ("found",)
class Cyclic:
    def __init__(self, found): self.me, self.found = self, found
class Pooled(Cyclic):
    def __init__(self): self.me = self
    def __del__(self): KEPT.append(self)
class Registry: current = None
KEPT = []
for number in range(100):
    globals()[f"late{number}"] = pytest.fixture(scope="session", name=f"late{number}")(lambda: 1)
def test_first(): Registry.current = Cyclic([Value()])
"""

ENDING = """
def test_leaves_another(): Registry.current = 1
"""

REPLACED = {
    "an instance": "Registry.current = Value()",
    "a cycle": "Registry.current = Cyclic([Value()])",
    "what can't be weakly referenced": "Registry.current = [Slot(), (Slot(), Slot())]",
    "a function": "Registry.current = lambda value=Value(): value",
}

KEPT = {
    "an instance": "KEPT.append(Value())",
    "instances in a list": "KEPT.append([Value()])",
    "what can't be weakly referenced": "KEPT.append(Slot())",
    "the older value": "KEPT.append(Registry.current); Registry.current = Cyclic([Value()])",
    "a part of the older value":
        "KEPT.append(Registry.current.found); Registry.current = Cyclic([Value()])",
    "a part of the newer value":
        "Registry.current = Cyclic([Slot()]); KEPT.append(Registry.current.found[0])",
    "what comes back": "Registry.current = Pooled()",
    "what changes its class": "KEPT.append(Slot())\n"
        "    if len(KEPT) > 1: KEPT[-2].__class__ = Other",
    "what the runner holds first": "Registry.current = Value(); request.node.value = Value()\n"
        "    KEPT.append(request.node.value)",
    "what is there before a fixture of the session": "KEPT.append(Value())\n"
        "    request.getfixturevalue(f'late{len(KEPT)}')\n"
        "    Registry.current = Value()",
    "what loses what hung on it": "KEPT.append(Slot()); Registry.current = KEPT[-1].found\n"
        "    if len(KEPT) > 1: KEPT[-2].found = None",
    "a part of the older value that holds nothing":
        "KEPT.append(getattr(Registry.current, 'found', 0))\n"
        "    Registry.current = Cyclic([Slot()]); Registry.current.found[0].found = None",
}  # fmt: skip


def suite(bodies: dict[str, str]) -> str:
    """Return a suite of tests that do this, each three times; what follows leaves nothing."""
    tests = [
        f"def test_{number}_{time}(request):\n    {body}\n"
        for number, body in enumerate(bodies.values())
        for time in range(3)
    ]
    return SUITE + "".join(tests) + ENDING


@pytest.fixture
def hurry(judge, pytester):
    """`hurry(source, *options)`: judge a suite with no time for reruns."""

    def run(source, *options):
        pytester.makeconftest("from pytest_deathwatch import budget; budget._FREE = 0.0")
        return judge(source, "--deathwatch-budget=0", *options)

    return run


def test_what_died_by_the_end_was_no_leak(hurry) -> None:
    """Whether a count or the collector frees it: the next test takes its place. Where something
    else is by then at the same address, that may be taken for it."""
    run = hurry(suite(REPLACED))
    assert (run.leaks, run.data["reruns"]) == ([], 0), run.text
    died = run.data["outlived"]
    assert died == 3 * len(REPLACED) + 1 - len(run.data["unjudged"])
    assert died >= 3, run.text
    assert f"0 of them by reruns, {died} by what died later)" in run.line


def test_what_lives_to_the_end_is_not_judged(hurry) -> None:
    """It may be a leak: that none was found is not said of it."""
    run = hurry(suite(KEPT))
    leaking = {f"test_it.py::test_{n}_{time}" for n in range(len(KEPT)) for time in range(2)}
    assert leaking <= run.data["unjudged"].keys(), leaking - run.data["unjudged"].keys()
    assert run.leaks == [], run.text


def test_the_last_value_is_not_judged(hurry) -> None:
    """Nothing tells whether it would be let go of."""
    run = hurry(SUITE)
    assert run.data["unjudged"].keys() == {"test_it.py::test_first"}, run.text


def test_where_the_heap_is_frozen_nothing_is_known_to_be_dead(hurry) -> None:
    """What is frozen is not listed, and may be alive."""
    run = hurry("import gc; gc.freeze()" + suite({"no weak reference": "KEPT.append(Slot())"}))
    leaking = {f"test_it.py::test_0_{time}" for time in range(3)}
    assert leaking <= run.data["unjudged"].keys(), run.text


def test_the_cache_of_a_method_keeps_instances_one_at_a_time(hurry) -> None:
    """Each is let go of for the next, and no one asked to keep any: that is judged by reruns."""
    run = hurry(
        SUITE
        + """
class Service:
    @functools.lru_cache(maxsize=1)
    def answer(self): return 42
def test_one(): Service().answer()
def test_two(): Service().answer()
def test_three(): Service().answer()
"""
    )
    assert run.data["unjudged"].keys() >= {f"test_it.py::test_{n}" for n in ("one", "two")}


def test_a_suite_that_turned_collection_off_finds_it_so(hurry) -> None:
    """No cycle is collected for the sake of judging: of such, nothing is known."""
    run = hurry("import gc; gc.disable()" + suite({"a cycle": REPLACED["a cycle"]}))
    assert "test_it.py::test_0_1" in run.data["unjudged"], run.text


def test_a_leak_of_a_kind_that_died_often_is_not_taken_for_judged(hurry) -> None:
    """Forty of them are known to be no leak by then: a collection between tests has freed them."""
    run = hurry(
        """
import gc, pytest
from pytest_deathwatch import collecting
collecting._FIRST, collecting._SHARE = 0.0, 0
class Value: pass
class Registry: current, kept = None, []
@pytest.mark.parametrize("n", range(40))
def test_rebinds(n): Registry.current = Value()
def test_leaks(): Registry.kept.append(Value())
def test_last(): Registry.current = None
"""
    )
    assert "test_it.py::test_leaks" in run.data["unjudged"], run.text
    assert run.data["outlived"] > 20, run.text


def test_cycles_that_were_not_searched_for_are_not_judged_by_it(hurry) -> None:
    """Where cycles fail the run, no test is judged that may drop one."""
    run = hurry(suite({"a cycle": REPLACED["a cycle"]}), "--deathwatch-cycles=fail")
    assert "test_it.py::test_0_1" in run.data["unjudged"], run.text


def test_kept_exceptions_are_not_judged_by_what_died(hurry) -> None:
    """One that is kept with its frames is a leak for all that these hold, even one at a time."""
    run = hurry(
        SUITE
        + """
def fail(): raise ValueError(Value())
def test_keeps():
    try: fail()
    except ValueError as error: Registry.current = error
"""
        + ENDING,
        *("-p", "no:asyncio"),  # it sets a fixture of the module up late for the first test
    )
    assert run.data["unjudged"].keys() == {"test_it.py::test_keeps"}, run.text


def test_a_program_counts_its_own_weak_references_alone(hurry) -> None:
    run = hurry(
        """
import weakref
class Value: pass
class Registry: current = None
def test_one(): Registry.current = Value()
def test_two(): assert weakref.getweakrefcount(Registry.current) == 0
"""
    )
    assert run.outcomes == {"passed": 2}, run.text


def test_a_baseline_keeps_what_reruns_had_no_time_for(judge, hurry, pytester) -> None:
    """What someone clears in the end is a leak to reruns alone."""
    source = "class Value: pass\nKEPT = []\ndef test_a(): KEPT.append(Value())\n"
    source += "def test_b(): KEPT.append(Value())\ndef test_last(): KEPT.clear()\n"
    judge(source, "--deathwatch-baseline=base.txt")
    known = (pytester.path / "base.txt").read_text()
    assert "Value held by test_it.KEPT" in known
    run = hurry(source, "--deathwatch-baseline=base.txt", "--deathwatch-update")
    assert (pytester.path / "base.txt").read_text() == known, run.text
    assert run.data["outlived"] or run.data["unjudged"]
    assert "1 that were not shown were kept" in run.text
