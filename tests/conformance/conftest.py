"""Makes the scenarios importable, and runs them as the matrix does: a process for each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


@pytest.fixture
def observe() -> Callable[[str, str], dict[str, str]]:
    """`observe(binding, id)`: what the scenario saw, or the reason why it can't be tried here."""
    from scenarios.catalogue import catalogue

    def observe(binding: str, name: str) -> dict[str, str]:
        module = catalogue()[name].observe.__module__.rpartition(".")[2]
        done = subprocess.run(
            [sys.executable, str(HERE / "cell.py"), binding, module, name],
            capture_output=True,
            text=True,
            timeout=120,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("@{")]
        assert lines, done.stderr
        found: dict[str, str] = json.loads(lines[-1][1:])
        return found

    return observe
