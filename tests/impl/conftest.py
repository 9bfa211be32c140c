"""Ways to die, and processes to die in."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest

from deathwatch import collect
from lastref.cleanup import drain

PYPY = sys.implementation.name == "pypy"
DEADLINE = 120.0
"""Seconds after which a process counts as hung. Only a hang takes that long."""


class Victim:
    """Something that dies, alone or in a cycle with itself."""

    def __init__(self) -> None:
        self.itself: Victim | None = None


class Death:
    """One way to die: `make` victims in a helper's frame, drop them, `settle`."""

    def __init__(self, way: str) -> None:
        self.way = way

    def make(self, kind: type[Victim] = Victim) -> Victim:
        victim = kind()
        if self.way == "collector":
            victim.itself = victim
        return victim

    def settle(self) -> None:
        if self.way == "collector" or PYPY:
            collect()


@pytest.fixture(
    params=[
        pytest.param(
            "refcount", marks=pytest.mark.skipif(PYPY, reason="PyPy counts no references")
        ),
        "collector",
    ]
)
def death(request: pytest.FixtureRequest) -> Death:
    """Both ways to die (semantics: testing object death, 8), from a collected heap (2)."""
    collect()
    assert drain(DEADLINE)
    return Death(request.param)


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in an interpreter of its own; a hang is `subprocess.TimeoutExpired`."""

    def run(script: str, *, timeout: float = DEADLINE) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
