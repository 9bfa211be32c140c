"""Suites that leak on purpose, judged by the plugin in a process of their own."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

_ORDER = (["-p", "no:cacheprovider", "-p", "no:randomly"], ["-p", "no:cacheprovider"])
_NOT_NEEDED = ["-p", "no:hypothesispytest", "-p", "no:benchmark"]
"""Plugins that take two thirds of a second to load, in each of two hundred runs."""
CAN_JUDGE = hasattr(gc, "freeze") and hasattr(gc, "set_debug")


@pytest.fixture
def judges() -> None:
    """Skip where the plugin says that it can't judge."""
    if not CAN_JUDGE:
        pytest.skip("this collector has no gc.freeze, and the plugin says so")


class Judged:
    """One finished run of pytest, with what it reported as JSON."""

    def __init__(self, result: pytest.RunResult, data: dict[str, Any]) -> None:
        self.ret = result.ret
        self.text = result.stdout.str()
        self.errors = result.stderr.str()
        self.outcomes = _outcomes(result)
        self.data = data

    @property
    def leaks(self) -> list[dict[str, Any]]:
        return [group for group in self.data["groups"] if group["kind"] == "leak"]

    @property
    def cycles(self) -> list[dict[str, Any]]:
        return [group for group in self.data["groups"] if group["kind"] == "cycle"]

    @property
    def line(self) -> str:
        found = re.search(r"^deathwatch: .*$", self.text, re.MULTILINE)
        assert found, self.text + self.errors
        return found[0]


@pytest.fixture
def judge(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Judged]:
    """`judge(source, *options)`: run a suite with the plugin on, in another process."""
    for name in ("CI", "GITHUB_ACTIONS", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)

    def run(source: str | None, *options: str, shuffle: bool = False) -> Judged:
        if source is not None:
            pytester.makepyfile(test_it=source)
        report = pytester.path / "report.json"
        report.unlink(missing_ok=True)
        plugin = [] if _is_installed() else ["-p", "pytest_deathwatch"]
        if "hypothesis" not in _sources(pytester.path):
            plugin += _NOT_NEEDED
        result = pytester.runpytest_subprocess(
            *plugin, *_ORDER[shuffle], "--deathwatch", f"--deathwatch-report={report}", *options
        )
        data = json.loads(report.read_text()) if report.exists() else {"groups": []}
        return Judged(result, data)

    return run


@pytest.fixture
def plugin(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """`plugin(source, *options)`: run a suite with the plugin there, but not turned on."""

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=source)
        plugin = [] if _is_installed() else ["-p", "pytest_deathwatch"]
        return pytester.runpytest_subprocess(*plugin, *_ORDER[False], *options)

    return run


def _sources(folder: Path) -> str:
    return "".join(file.read_text() for file in folder.rglob("*.py"))


def _outcomes(result: pytest.RunResult) -> dict[str, int]:
    """Return the numbers of the last line; there are none after a usage error."""
    return {} if result.ret == pytest.ExitCode.USAGE_ERROR else result.parseoutcomes()


def _is_installed() -> bool:
    """Tell whether pytest finds the plugin by itself: an editable install may be older."""
    from importlib.metadata import entry_points

    return any(e.name == "pytest_deathwatch" for e in entry_points(group="pytest11"))
