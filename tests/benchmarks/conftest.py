"""Ratios of one run: ours and its rival in alternating rounds of one process.

A benchmark here never fails for being slow: the machines are shared. It reports a median of
pair ratios, with its quartiles, in `extra_info` (so that `--benchmark-json` carries it) and in
the terminal summary.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

Batch = Callable[[], object]
ROUNDS = 60

_lines = pytest.StashKey[list[str]]()


@pytest.fixture
def versus(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Callable[..., float]:
    """`versus(ours, rival, floor=3.0, operations=1000)`: how many times faster ours is.

    Both arguments are batches: callables that do `operations` operations each. `floor` is the
    figure asked for; it is reported beside the ratio and decides nothing. Use `ceiling` where
    the figure asked for is ours divided by the rival.
    """

    def run(
        ours: Batch,
        rival: Batch,
        *,
        operations: int,
        name: str,
        floor: float | None = None,
        ceiling: float | None = None,
        rounds: int = ROUNDS,
        before: Batch | None = None,
    ) -> float:
        rivals: list[float] = []

        def rival_round() -> None:
            if before is not None:
                before()
            start = time.perf_counter()
            rival()
            rivals.append(time.perf_counter() - start)
            if before is not None:
                before()

        enabled = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            ours()
            rival_round()
            rivals.clear()
            benchmark.pedantic(ours, setup=rival_round, rounds=rounds)
        finally:
            if enabled:
                gc.enable()
        mine = list(benchmark.stats.stats.data)
        pairs = [r / m for r, m in zip(rivals, mine, strict=True)]
        low, ratio, high = statistics.quantiles(pairs, n=4)
        benchmark.extra_info.update(
            rivals={name: [seconds / operations * 1e9 for seconds in rivals]},
            operations=operations,
            ratio=ratio,
            quartiles=[low, high],
            floor=floor,
            ceiling=ceiling,
        )
        ours_ns, rival_ns = (statistics.median(s) / operations * 1e9 for s in (mine, rivals))
        if ceiling is not None:
            shown, asked = f"{1 / ratio:5.2f} x the time of", f"(asked: at most {ceiling:g})"
        else:
            shown, asked = (
                f"{ratio:5.2f} x as fast as",
                f"(asked: at least {floor:g})" if floor else "",
            )
        request.config.stash.setdefault(_lines, []).append(
            f"{request.node.name:44} {shown} {name:34} {asked}  [{ours_ns:.0f} ns :"
            f" {rival_ns:.0f} ns]"
        )
        return ratio

    return run


@pytest.fixture
def report_line(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """`report_line(text)`: a figure that is no ratio, for the terminal summary."""
    return request.config.stash.setdefault(_lines, []).append


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Which build it was: pytest-benchmark calls one with the GIL and one without it the same."""
    from deathwatch.measure import machine

    machine_info["deathwatch"] = f"{machine.python_short()} ({sys.version.split()[0]})"


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: object, output_json: dict[str, Any]
) -> None:
    """Whose machine it was stays there."""
    output_json["machine_info"].pop("node", None)
    output_json.get("commit_info", {}).pop("author_time", None)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash.get(_lines, [])
    if lines:
        terminalreporter.section("ratios of alternating rounds, median of pairs")
        for line in lines:
            terminalreporter.write_line(line)
