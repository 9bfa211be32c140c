"""Who keeps an object alive, on a large heap: beside the peers, and beside one collection.

Every figure is of the first call in a process of its own; the contenders take turns. The peers
are installed by `nox -s peers`; one that is missing is skipped.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

PROGRAM = Path(__file__).with_name("explain_once.py")
SIZES = [127_000, 1_030_000]
ROUNDS = int(os.environ.get("EXPLAIN_ROUNDS", "5"))
PEERS = {"guppy3": "guppy", "objgraph": "objgraph", "referrers": "referrers"}
PRESENT = [name for name, package in PEERS.items() if find_spec(package)]
FLOORS = {("guppy3", "chain"): 1.5, ("guppy3", "tree"): 1.5, ("objgraph", "tree"): 15.0}


class Clock:
    """Seconds that other processes have measured, for pytest-benchmark."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


clock = Clock()


def once(shape: str, size: int, who: str, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, PROGRAM, shape, str(size), who, *options],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


@pytest.mark.benchmark(timer=clock)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", ["chain", "tree"])
def test_explaining(
    benchmark: BenchmarkFixture, report_line: Callable[[str], None], shape: str, size: int
) -> None:
    """The first question in a process."""
    others: dict[str, list[float]] = {name: [] for name in [*PRESENT, "gc.collect()"]}
    lost: set[str] = set()

    def rivals() -> None:
        for name, seconds in others.items():
            measured = once(shape, size, name)
            seconds.append(measured["seconds"])
            lost.update([name] * (not measured["found"]))

    def ours() -> None:
        measured = once(shape, size, "deathwatch")
        assert measured["found"]
        clock.seconds += measured["seconds"]

    benchmark.pedantic(ours, setup=rivals, rounds=ROUNDS)
    mine = list(benchmark.stats.stats.data)
    ratios = {
        name: statistics.median([t / m for t, m in zip(seconds, mine, strict=True)])
        for name, seconds in others.items()
    }
    peak = once(shape, size, "deathwatch", "--traced")
    benchmark.extra_info.update(
        size=size,
        kind=shape,
        contender="deathwatch.why_alive",
        rivals={name: [s * 1e9 for s in seconds] for name, seconds in others.items()},
        ratios=ratios,
        root_not_found=sorted(lost),
        bytes_per_object=peak["peak"] / peak["objects"],
    )
    report_line(
        f"{shape} of {peak['objects']:,} objects: {statistics.median(mine):.3f} s, at most"
        f" {peak['peak'] / peak['objects']:.0f} bytes per object (asked: at most 160)"
    )
    for name, ratio in ratios.items():
        floor = FLOORS.get((name, shape))
        asked = f" (asked: at least {floor:g})" if floor and size == SIZES[-1] else ""
        blind = ", which does not find the root" if name in lost else ""
        report_line(f"    {ratio:6.2f} x as fast as {name}{blind}{asked}")


def test_a_tree_costs_what_a_chain_does(report_line: Callable[[str], None]) -> None:
    """However many objects point back at it."""
    pairs = [
        [once(shape, SIZES[-1], "deathwatch")["seconds"] for shape in ("tree", "chain")]
        for _ in range(ROUNDS)
    ]
    ratio = statistics.median([tree / chain for tree, chain in pairs])
    report_line(f"tree / chain, 1.03 million objects: {ratio:.2f} (asked: at most 1.2)")


HEALTHY = """
import gc, time, json
import deathwatch

class Session:
    pass

gc.collect()
gc.collect()
start = time.perf_counter()
gc.collect()
middle = time.perf_counter()
deathwatch.assert_dies(Session)
print(json.dumps([middle - start, time.perf_counter() - middle]))
"""


def test_a_healthy_object_costs_little(report_line: Callable[[str], None]) -> None:
    """`assert_dies` for the first time in a process, beside one collection there."""
    beyond = []
    for _ in range(20):
        done = subprocess.run(
            [sys.executable, "-c", HEALTHY], capture_output=True, text=True, check=True
        )
        collection, healthy = json.loads(done.stdout)
        beyond.append((healthy - collection) * 1000)
    low, median, high = statistics.quantiles(beyond, n=4)
    report_line(
        f"assert_dies beyond one gc.collect(): {median:.2f} ms [{low:.2f}, {high:.2f}]"
        " (asked: less than 1)"
    )
