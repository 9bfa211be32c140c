"""Leaks that real packages had: found in the release that leaks, and not in the one that doesn't.

The releases are installed from the package index, one environment each, and kept in pytest's
cache. That is why this folder is no part of the fast suite: run it with `nox -s leaks`.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
VERDICTS = ("immortal", "needs the collector", "outside the collector's view")


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One row of corpus.toml."""

    name: str
    package: str
    leaks: str
    mended: str
    issue: str
    kind: str
    verdict: str
    mended_by: str
    names: list[str]
    also: tuple[str, ...] = ()
    residue: str = ""
    bounded: bool = False

    def __str__(self) -> str:
        return f"{self.name}-{self.leaks}"


LEAKS = [Leak(**row) for row in tomllib.loads((HERE / "corpus.toml").read_text())["leak"]]

each_leak = pytest.mark.parametrize("leak", LEAKS, ids=str)
on_one_interpreter = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or sys.platform != "linux",
    reason="the releases are those that have packages for Python 3.11 on Linux",
)


@pytest.fixture
def said(leak: Leak, install: Callable[..., Path], probe: Callable[..., Any]) -> dict[str, Any]:
    """What the harness says of the release that leaks."""
    packages = install(f"{leak.package}=={leak.leaks}", *leak.also)
    return probe(packages, leak.name, leak.mended_by)


@on_one_interpreter
@each_leak
def test_a_published_leak_is_flagged(leak: Leak, said: dict[str, Any]) -> None:
    """The assertion that holds of the mended release fails for the one that leaks."""
    assert said["failure"], f"no failure, and the victim's fate is: {said['fate']}"


@on_one_interpreter
@each_leak
def test_the_class_of_the_leak_is_right(leak: Leak, said: dict[str, Any]) -> None:
    """The verdict is the expected one, and agrees with what a collection does to the victim."""
    assert said["verdict"] == leak.verdict, said["text"]
    assert said["fate"] == ("collector" if leak.verdict == "needs the collector" else "alive")


@on_one_interpreter
@each_leak
def test_the_message_names_the_culprit(leak: Leak, said: dict[str, Any]) -> None:
    """The failure and the explanation both name what has to be changed."""
    for text in (said["failure"], said["text"]):
        missing = [
            name
            for name in leak.names
            if not any(_squeezed(word) in _squeezed(text) for word in name.split(" or "))
        ]
        assert not missing, f"{missing} not named in:\n{text}"


def _squeezed(text: str) -> str:
    """Leave out white space: lines are broken where the terminal ends."""
    return "".join(text.split())


@on_one_interpreter
@each_leak
def test_one_leak_has_one_fingerprint(
    leak: Leak, said: dict[str, Any], install: Callable[..., Path], probe: Callable[..., Any]
) -> None:
    """The same leak in another process, with other hashes, has the same fingerprint."""
    packages = install(f"{leak.package}=={leak.leaks}", *leak.also)
    again = probe(packages, leak.name, leak.mended_by, seed=42)
    assert again["fingerprint"] == said["fingerprint"], f"{said['text']}\n\n{again['text']}"


@on_one_interpreter
@each_leak
def test_the_mended_release_is_not_flagged(
    leak: Leak, install: Callable[..., Path], probe: Callable[..., Any]
) -> None:
    """What was mended passes the same assertion."""
    packages = install(f"{leak.package}=={leak.mended}", *leak.also)
    said = probe(packages, leak.name, leak.mended_by)
    assert said["failure"] is None, said["failure"]
    assert said["fate"] == leak.mended_by


@on_one_interpreter
@pytest.mark.parametrize("leak", [leak for leak in LEAKS if not leak.bounded], ids=str)
def test_a_suite_finds_the_leak_without_a_marker(
    leak: Leak, install: Callable[..., Path], run_suite: Callable[..., Any]
) -> None:
    """One test that uses the package is enough for --deathwatch, in a suite that says nothing.

    A leak fails the run. A cycle that only the collector frees is reported, and doesn't.
    """
    status, groups = run_suite(install(f"{leak.package}=={leak.leaks}", *leak.also), leak.name)
    if leak.verdict == "needs the collector":
        assert "cycle" in [group["kind"] for group in groups]
        return
    assert status == 1
    told = json.dumps([group for group in groups if group["kind"] == "leak"], ensure_ascii=False)
    assert any(_squeezed(name) in _squeezed(told) for name in leak.names), told


@on_one_interpreter
@pytest.mark.parametrize("leak", [leak for leak in LEAKS if not leak.bounded], ids=str)
def test_a_suite_reports_no_leak_of_the_mended_release(
    leak: Leak, install: Callable[..., Path], run_suite: Callable[..., Any]
) -> None:
    """No group, but for what some mended releases do leak still."""
    status, groups = run_suite(install(f"{leak.package}=={leak.mended}", *leak.also), leak.name)
    leaks = [group for group in groups if group["kind"] == "leak"]
    others = [group for group in leaks if leak.residue not in group["summary"]]
    assert not (others if leak.residue else leaks)
    assert status == (1 if leaks else 0)


@on_one_interpreter
@pytest.mark.parametrize("leak", [leak for leak in LEAKS if leak.mended_by == "collector"], ids=str)
def test_a_harmless_cycle_is_called_one(
    leak: Leak, install: Callable[..., Path], probe: Callable[..., Any]
) -> None:
    """Where the mended release leaves a cycle, the verdict is that it needs the collector."""
    packages = install(f"{leak.package}=={leak.mended}", *leak.also)
    said = probe(packages, leak.name, leak.mended_by)
    assert said["verdict"] == "needs the collector", said["text"]


def test_every_row_has_a_reproducer_and_every_reproducer_a_row() -> None:
    """Nothing is listed that can't be run, and nothing is left out."""
    assert {leak.name for leak in LEAKS} == {path.stem for path in HERE.glob("reproducers/*.py")}
    assert {leak.verdict for leak in LEAKS} == set(VERDICTS)


def test_the_readme_lists_every_leak() -> None:
    """The table in README.md is that of corpus.toml."""
    listed = (HERE / "README.md").read_text()
    for leak in LEAKS:
        row = f"| {leak.kind} | {leak.package} | {leak.leaks} | {leak.mended} | {leak.issue} |"
        assert row in listed
