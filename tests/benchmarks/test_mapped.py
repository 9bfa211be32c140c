"""Mapped files: every contender at the stated overlaps, with 1 to 16 threads, over more files.

Cost against threads and against files, for the report to draw; the calls and the memory of the
same schedules are `deathwatch bench mmap`'s.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from deathwatch.bench.contenders import CONTENDERS
from deathwatch.bench.overlaps import Overlap, orders, run

OPENS = 800
"""Below the usual limit of 1,024 descriptors, which naive mappings would meet."""

ROUNDS = 7


@pytest.fixture
def files(tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    """Private files of 16 KB, as many as asked for."""
    paths = []
    for number in range(getattr(request, "param", 20)):
        path = tmp_path / f"{number:04}"
        path.write_bytes(bytes([number % 255]) * 16_384)
        paths.append(os.path.realpath(path))
    return paths


def measure(
    benchmark: BenchmarkFixture, contender: str, overlap: Overlap, files: list[str]
) -> None:
    asked = orders(overlap, files, OPENS)

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (CONTENDERS[contender].make(), overlap, asked), {}

    outcome = benchmark.pedantic(run, setup=setup, rounds=ROUNDS)
    assert not outcome.errors
    benchmark.extra_info.update(operations=OPENS, contender=CONTENDERS[contender].title)


@pytest.mark.parametrize("threads", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("contender", CONTENDERS)
def test_opens_all_held(
    benchmark: BenchmarkFixture,
    deathwatch_counters: Any,
    contender: str,
    threads: int,
    files: list[str],
) -> None:
    """Everything held: each file is mapped once, naively at each open."""
    overlap = Overlap("held", threads, None)
    measure(benchmark, contender, overlap, files)
    benchmark.extra_info["threads"] = threads
    asked = orders(overlap, files, OPENS)
    deathwatch_counters.requests(lambda: run(CONTENDERS[contender].make(), overlap, asked), files)


@pytest.mark.parametrize("files", [10, 50, 250], indirect=True)
@pytest.mark.parametrize("contender", CONTENDERS)
def test_opens_in_a_ring(benchmark: BenchmarkFixture, contender: str, files: list[str]) -> None:
    """One thread holds the last 16: the more files there are, the less overlaps."""
    measure(benchmark, contender, Overlap("ring", 1, 16), files)
    benchmark.extra_info["size"] = len(files)
