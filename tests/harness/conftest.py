"""Offenders that the harness has to catch, and what the interpreter can't do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def refcounts() -> None:
    """Skip where nothing dies by a reference count."""
    if sys.implementation.name != "cpython":
        pytest.skip("objects die by the collector alone on this interpreter")


@pytest.fixture
def run_python() -> Callable[..., str]:
    """`run_python(code, *options)`: the output of another process, which must succeed."""

    def run(code: str, *options: str) -> str:
        done = subprocess.run(
            [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
