"""The pytest plugin: which tests leave objects behind, and who keeps them alive?

This module is what every pytest run imports. It knows options, markers and a fixture, and imports
neither `deathwatch` nor the rest of this package before one of them is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .counters import Counters
    from .fixture import Deathwatch

RERUNS = 3
BUDGET = 10

_MARKERS = (
    "no_leaks(*types): the test fails when instances made in it survive it: of these types, or of"
    " every class that is not the standard library's. One class alone is given as types=Class:"
    " pytest takes a mark's lone class for what it is to mark.",
    "no_cycles: the test fails when it drops objects that only the collector could free.",
    "leaks(reason): the test is expected to leave objects behind: with --deathwatch they are"
    " reported apart and don't fail the run, and it is said when they are gone.",
)

_INI: tuple[tuple[str, Any, Any, str], ...] = (
    ("deathwatch", "bool", False, "judge every test, like --deathwatch."),
    ("deathwatch_reruns", "string", "", f"like --deathwatch-reruns ({RERUNS})."),
    ("deathwatch_budget", "string", "", f"like --deathwatch-budget ({BUDGET})."),
    ("deathwatch_cycles", "string", "", "like --deathwatch-cycles (report)."),
    ("deathwatch_baseline", "string", "", "like --deathwatch-baseline; relative to the rootdir."),
    (
        "deathwatch_known",
        "linelist",
        [],
        "leaks that aren't yours to mend, listed apart and not failing: one a line, as"
        " 'type:PATTERN', 'module:PATTERN' or 'path:PATTERN' with shell wildcards, and after a #"
        " the reason.",
    ),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("deathwatch", "objects that outlive their test (deathwatch)")
    group.addoption(
        "--deathwatch",
        action="store_true",
        help="judge every test: report the objects that it leaves behind and leaves again"
        " whenever it is rerun, grouped by what keeps them alive. New leaks fail the run. A rerun"
        " runs the test and its function-scoped fixtures again in the same process: what it"
        " changes outside of itself changes again, and later tests see that.",
    )
    group.addoption(
        "--deathwatch-reruns",
        type=int,
        metavar="N",
        help="how often a test that leaves objects behind is rerun (default:"
        f" {RERUNS}, at least 2): it leaks when more are left after every rerun. A leak that is"
        " seen for the first time is confirmed by N further reruns, so that a cache which fills"
        " is none. A test that leaves nothing is not rerun, and one that is slow only twice. Not"
        " seen: values that the collector doesn't track, such as str and bytes, and containers of"
        " these alone, a dict of numbers say.",
    )
    group.addoption(
        "--deathwatch-budget",
        type=int,
        metavar="PERCENT",
        help="how much longer judging may make the run, about, in percent of what it takes without;"
        f" a short run may take ten seconds in all (default: {BUDGET}). Tests whose reruns don't"
        " fit in are listed as not judged, unless all that they left dies later. Cycles that are"
        " only reported get a fifth of it.",
    )
    group.addoption(
        "--deathwatch-cycles",
        choices=["report", "fail", "ignore"],
        help="what to do about objects that die only when the collector runs, made again by"
        " every rerun: report them in a section of their own (default), let them fail the run"
        " like leaks, or ignore them. Not seen: those that die while a test makes more than"
        " 20,000 containers.",
    )
    group.addoption(
        "--deathwatch-baseline",
        metavar="FILE",
        help="known leaks, one a line: they don't fail the run, and new ones do. Written when"
        " missing, except where CI is set: there a missing file is an error.",
    )
    group.addoption(
        "--deathwatch-update",
        action="store_true",
        help="write the baseline anew: mended leaks are struck out, and new ones added.",
    )
    group.addoption(
        "--deathwatch-report",
        metavar="FILE",
        help="write everything found to a .json or .html file.",
    )
    for name, kind, default, text in _INI:
        parser.addini(name, text, type=kind, default=default)


def pytest_configure(config: pytest.Config) -> None:
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    asked = ("update", "baseline", "report", "reruns", "budget", "cycles")
    if (
        config.getoption("--deathwatch")
        or config.getini("deathwatch")
        or any(_is_given(config.getoption(f"--deathwatch-{name}")) for name in asked)
    ):
        from . import configuring

        configuring.configure(config)


def _is_given(value: object) -> bool:
    """Tell whether an option was given: 0 is a value."""
    return value is not None and value is not False and value != ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Hold a marked test to its markers."""
    if item.get_closest_marker("no_leaks") or item.get_closest_marker("no_cycles"):
        from .markers import demanded

        with demanded(item):
            return (yield)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Look again at what fixtures of a test with `no_leaks` still held."""
    result = yield
    if item.get_closest_marker("no_leaks"):
        from .markers import check_pending

        check_pending(item)
    return result


@pytest.fixture
def deathwatch(request: pytest.FixtureRequest) -> Iterator[Deathwatch]:
    """The functions of deathwatch, bound to this test.

    `collect`, `assert_dies`, `expect_death`, `no_survivors`, `no_cycles` and `why_alive` are the
    library's. `watch(obj)` is too, and what it watches must be dead when this fixture ends, after
    the test's own locals are gone; fixtures that were set up before it may still hold it. Nothing
    is demanded of a test that failed: its traceback keeps its locals.
    """
    from .fixture import bound

    yield from bound(request)


@pytest.fixture
def deathwatch_counters(request: pytest.FixtureRequest) -> Counters:
    """Counters beside a test: in the `extra_info` of pytest-benchmark, else in the JUnit report.

    Into `extra_info` they go where the test uses `benchmark` too.
    """
    from .counters import Counters

    if "benchmark" in request.fixturenames:
        return Counters(request.getfixturevalue("benchmark").extra_info)
    figures: dict[str, object] = {}
    request.node.user_properties.append(("deathwatch", figures))
    return Counters({"deathwatch": figures})
