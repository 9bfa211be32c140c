"""Jobs that say what an operation costs: allocations, instructions, time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from deathwatch.measure.instructions import marked
from deathwatch.measure.objects import allocation
from deathwatch.measure.processes import Json, serve

from . import subject
from .workloads import Node, Work, Workload, release, workloads

HELD = 10_000
"""Things held at once where the bytes of one are asked for."""

HITS = 2_000
INSTRUCTIONS = 1_000
SETTLES = 0.1
"""Seconds in which the workers that were started go to sleep. One that doesn't makes the base
differ from itself, which is inconclusive and no failure."""

BATCH = 10_000
BATCHES = 7


def _allocations(job: Json) -> Json:
    """Bytes and blocks per thing that is held, and blocks that are left behind per hit."""
    lib = subject.load(job["source"])
    found: Json = {}
    for name, make in _things(lib).items():
        cost = allocation(make, partial(_settle, lib))
        found[f"{name}.bytes"] = round(cost.bytes / HELD, 1)
        found[f"{name}.blocks"] = round(cost.blocks / HELD, 2)
        found[f"{name}.peak"] = round(cost.peak / HELD, 1)
    for name, prepare in workloads(job["path"]).items():
        if name.endswith((".hit", ".value")):
            found[f"{name}.blocks"] = round(allocation(prepare(lib, HITS)).blocks / HITS, 2)
    return found


def _settle(lib: Any) -> None:
    """Wait for the evictions of what died: how large a table grows depends on what is still in."""
    lib.drain()
    time.sleep(SETTLES)


def _things(lib: Any) -> dict[str, Callable[[], object]]:
    """What makes `HELD` of each thing, and holds it."""
    nodes = [Node() for _ in range(HELD)]
    keys = [f"key {number}" for number in range(HELD)]

    def cleanups() -> object:
        queue = lib.CleanupQueue(workers=0)
        for node in nodes:
            lib.add_cleanup(node, release, 1, queue=queue)
        return queue

    def entries() -> object:
        cache = lib.WeakCache(dict(zip(keys, nodes, strict=True)).__getitem__)
        for key in keys:
            cache.get(key)
        return cache

    return {
        "cleanup": cleanups,
        "cache.entry": entries,
        "pointer": lambda: [lib.weak.make(node) for node in nodes],
        "handle": lambda: [lib.unique.make(key) for key in keys],
    }


def _instructions(job: Json) -> Json:
    """Every workload between markers, N and 2N times. The collector is off."""
    lib = subject.load(job["source"])
    gc.disable()
    prepares = {name: partial(load, lib) for name, load in workloads(job["path"]).items()}
    started = [_settled(prepare) for prepare in prepares.values()]
    _settle(lib)  # drained is not yet asleep
    found = marked(INSTRUCTIONS, prepares)
    lib.keep_alive(started)
    return found


def _settled(prepare: Callable[[int], Work]) -> object:
    """Do a workload once, for the threads that it starts; None where the library lacks it."""
    with suppress(Exception):  # which `marked` reports
        work = prepare(1)
        return work, work()
    return None


def _quietly(lib: Any, prepare: Workload, operations: int) -> Work:
    """Prepare once the cleanups of what came before have run: their thread must sleep now."""
    lib.drain()
    return prepare(lib, operations)


def _times(job: Json) -> Json:
    """Nanoseconds of an operation, by the clock and by the process's CPU: the best of batches."""
    lib = subject.load(job["source"])
    found: Json = {}
    gc.disable()
    for name, prepare in workloads(job["path"]).items():
        if name in job["names"]:
            found[name] = _best(lib, prepare)
    return found


def _best(lib: Any, prepare: Workload) -> list[float]:
    wall, processor = [], []
    for _ in range(BATCHES):
        work = _quietly(lib, prepare, BATCH)
        began, used = time.perf_counter_ns(), time.process_time_ns()
        work()
        processor.append(time.process_time_ns() - used)
        wall.append(time.perf_counter_ns() - began)
        del work
    return [min(wall) / BATCH, min(processor) / BATCH]


JOBS = {"allocations": _allocations, "instructions": _instructions, "times": _times}

if __name__ == "__main__":
    serve(JOBS)
