"""Small environments with one release of a package each, and a probe to run in them."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def install(pytestconfig: pytest.Config) -> Callable[..., Path]:
    """`install(*requirements)`: a folder with these and what they need, made once and kept.

    It is named site-packages, so that its packages count as installed ones. A package that can't
    be had is a skip for a user, and an error where CI is set.
    """

    def make(*requirements: str) -> Path:
        name = re.sub(r"[^\w.-]+", "_", "-".join(requirements))
        folder = pytestconfig.cache.mkdir("published-leaks") / name
        packages = folder / "site-packages"
        if (folder / "complete").exists():
            return packages
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(packages)]
        done = subprocess.run([*command, *requirements], capture_output=True, text=True)
        if done.returncode:
            reason = f"{' '.join(requirements)} can't be had: {_last_line(done.stderr)}"
            if os.environ.get("CI"):
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        (folder / "complete").touch()
        return packages

    return make


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


@pytest.fixture(scope="session")
def probe() -> Callable[..., dict[str, Any]]:
    """`probe(packages, reproducer, cause, seed)`: what the harness says of it, in a new process.

    Asked again, it says the same without running again.
    """

    @functools.cache
    def run(packages: Path, reproducer: str, cause: str, seed: int = 0) -> dict[str, Any]:
        environment = {**os.environ, "PYTHONPATH": str(packages), "PYTHONHASHSEED": str(seed)}
        victim = HERE / "reproducers" / f"{reproducer}.py"
        command = [sys.executable, "-P", str(HERE / "probe.py"), str(victim), cause]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env=environment, cwd=packages
        )
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return said

    return run


@pytest.fixture
def run_suite(tmp_path: Path) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    """`run_suite(packages, reproducer)`: a suite of one test that uses the reproducer.

    Returns the exit status and the groups of a run with --deathwatch and no marker.
    """

    def run(packages: Path, reproducer: str) -> tuple[int, list[dict[str, Any]]]:
        source = (HERE / "reproducers" / f"{reproducer}.py").read_text()
        suite = tmp_path / f"test_with_{reproducer}.py"
        suite.write_text(f"{source}\n\ndef test_use():\n    make()\n")
        report = tmp_path / "report.json"
        command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        # named, for an environment that was made before the plugin had an entry point
        command += ["-p", "pytest_deathwatch", "--deathwatch", f"--deathwatch-report={report}"]
        done = subprocess.run(
            [*command, f"--rootdir={tmp_path}", str(suite)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": str(packages)},
            cwd=tmp_path,
        )
        assert report.exists(), done.stdout + done.stderr
        groups: list[dict[str, Any]] = json.loads(report.read_text())["groups"]
        return done.returncode, groups

    return run
