"""Counters in the JSON of pytest-benchmark, read back by its own command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TEST = """
import os

class Node:
    pass

def test_counted(benchmark, deathwatch_counters, tmp_path):
    path = os.fspath(tmp_path / "file")
    with open(path, "wb") as file:
        file.write(b"content")
    held = [Node() for _ in range(7)]
    benchmark.pedantic(lambda: open(path).close(), rounds=3)
    deathwatch_counters.live(Node)
    deathwatch_counters.requests(lambda: open(path).close(), [path])
    deathwatch_counters.allocation(lambda: [bytes(100) for _ in range(500)])
    deathwatch_counters.calls(lambda: open(path).close(), "openat")
"""


def test_counters_are_in_the_json_of_pytest_benchmark(tmp_path: Path) -> None:
    """Known truths come back: 7 live objects, one request, 500 blocks; or why they can't be had.

    `pytest-benchmark compare` still reads the file.
    """
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
    (tmp_path / "test_it.py").write_text(TEST, encoding="utf-8")
    output = tmp_path / "out.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, "-p", "pytest_deathwatch", "test_it.py", "--benchmark-json", str(output)],
        cwd=tmp_path,
        env={name: os.environ[name] for name in os.environ if name != "PYTEST_XDIST_WORKER"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (entry,) = json.loads(output.read_text(encoding="utf-8"))["benchmarks"]
    found = entry["extra_info"]["deathwatch"]
    assert (found["live"], found["open requests"], found["mmap requests"]) == (7, 1, 0)
    if found["blocks"] is None:
        assert "the allocation counters" in found["unavailable"]
    else:
        assert 500 <= found["blocks"] <= 510
        assert found["bytes"] >= 500 * sys.getsizeof(bytes(100))
    if found["openat calls"] is None:
        assert "perf tracepoints unavailable, because" in found["unavailable"]["perf tracepoints"]
    else:
        assert found["openat calls"] == 1
    compare = "import sys; from pytest_benchmark.cli import main; sys.exit(main())"
    read = subprocess.run(
        [sys.executable, "-c", compare, "compare", str(output)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert "test_counted" in read.stdout + read.stderr, read.stderr


ALONE = """
from deathwatch.measure import selftest

def test_counted(deathwatch_counters, tmp_path):
    path = (tmp_path / "file").resolve()
    path.write_bytes(b"content")
    job = {"job": "maps", "path": str(path)}
    deathwatch_counters.traced(selftest.__name__, job, [str(path)])
    deathwatch_counters.instructions(
        "deathwatch.measure.instructions", {"job": "known", "operations": 1000}
    )
    deathwatch_counters.live(int)
"""


def test_counters_need_no_benchmark(tmp_path: Path) -> None:
    """From pytest alone: the kernel's and callgrind's counts, or why not, in the JUnit report."""
    (tmp_path / "test_it.py").write_text(ALONE, encoding="utf-8")
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, "-p", "no:benchmark", "test_it.py", "--junit-xml=out.xml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = (tmp_path / "out.xml").read_text(encoding="utf-8")
    assert "calls in self-test, by " in found or "strace unavailable, because" in found
    assert "instructions in 2N" in found or "callgrind unavailable, because" in found
    assert "live" in found
