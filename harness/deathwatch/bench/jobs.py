"""What is measured, each in a fresh process: a job comes in as JSON, its figures go out as JSON.

Counting, memory, deaths and time are different runs of one schedule, because each would falsify
the others: nothing is timed under a trace, and watching an object costs memory.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from deathwatch import Watch, collect, watch
from deathwatch.measure import listening, snapshot, span
from deathwatch.measure.memory import live_mappings
from deathwatch.measure.processes import Json, serve

from .contenders import CONTENDERS, LIVES, map_naive, map_untracked
from .overlaps import Get, Outcome, Overlap, orders, run, touch

PATIENCE = 1.0
"""Seconds to wait for deaths after release, before what is alive counts as left."""

SPARE = 200
"""Descriptors left to the interpreter beside those of the mappings."""


def _life(job: Json) -> Json:
    """One mapping's life of each kind, between markers."""
    for _, make in LIVES.values():
        make(job["path"])  # what only happens once in a process is not of a mapping's life
    collect()
    for name, (_, make) in LIVES.items():
        with span(name):
            make(job["path"])
            collect()
    return {}


def _count(job: Json) -> Json:
    """The schedule between markers, release and a collection included."""
    get, overlap, asked = _prepare(job)
    with span("run"):
        outcome = run(get, overlap, asked)
        _await_release(job, lambda: live_mappings(job["files"]) or 0)
    return _summary(outcome)


def _requests(job: Json) -> Json:
    """The schedule, heard by the audit hook."""
    get, overlap, asked = _prepare(job)
    with listening(job["files"]) as heard:
        outcome = run(get, overlap, asked)
        collect()
    return {**_summary(outcome), "requests": heard.counts}


def _memory(job: Json) -> Json:
    """What the process is made of before, at the peak, and after release and a collection."""
    get, overlap, asked = _prepare(job)
    files: list[str] = job["files"]
    collect()
    before = snapshot(files)
    outcome = run(get, overlap, asked, use=touch, at_peak=lambda: snapshot(files))
    _await_release(job, lambda: live_mappings(files) or 0)
    after = snapshot(files)
    return {
        **_summary(outcome),
        "before": before.to_dict(),
        "peak": outcome.peak.to_dict(),
        "after": after.to_dict(),
    }


def _deaths(job: Json) -> Json:
    """How many of the mapped files that were handed out died after release, and of what."""
    get, overlap, asked = _prepare(job)
    watches: list[Watch] = []
    outcome = run(_watching(get, watches), overlap, asked, at_peak=lambda: _alive(watches))
    uncollected = _alive(watches)
    _await_release(job, lambda: _alive(watches))
    causes = Counter(watched.cause for watched in watches if not watched.alive)
    return {
        **_summary(outcome),
        "handed_out": len(watches),
        "alive_at_peak": outcome.peak,
        "alive_before_collecting": uncollected,
        "died": {str(cause): number for cause, number in causes.items()},
        "left": _alive(watches),
    }


def _time(job: Json) -> Json:
    """Seconds of the schedule, release included: rounds that alternate with the naive contender."""
    _, overlap, asked = _prepare(job)
    make = CONTENDERS[job["contender"]].make
    naive: list[float] = []
    own: list[float] = []
    for _ in range(job["rounds"]):
        for seconds, making in ((naive, CONTENDERS["naive"].make), (own, make)):
            outcome = run(making(), overlap, asked, use=touch)
            collect()  # not timed
            if outcome.errors:
                return {"errors": dict(outcome.errors)}
            seconds.append(outcome.seconds)
    return {"errors": {}, "naive_seconds": naive, "seconds": own}


def _limit(job: Json) -> Json:
    """Everything held under a lowered descriptor limit, until something breaks."""
    import resource

    get, overlap, asked = _prepare(job)
    limit: int = job["descriptor_limit"]
    snapshot([])  # its self-test takes descriptors, of which there will be none
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    outcome = run(get, overlap, asked, at_peak=lambda: snapshot(job["files"]))
    return {**_summary(outcome), "descriptor_limit": limit, "peak": outcome.peak.to_dict()}


def _exhaust(job: Json) -> Json:
    """Maps of one file without descriptors or a cache, until the kernel gives no more."""
    held = []
    try:
        for _ in range(job["most"]):
            held.append(map_untracked(job["path"]))
    except OSError as error:
        number = error.errno
    else:
        number = None
    opened = len(held)
    held.clear()  # first of all: nothing else can be allocated now
    import errno

    return {"opened": opened, "error": None if number is None else errno.errorcode[number]}


def _prepare(job: Json) -> tuple[Get, Overlap, list[list[str]]]:
    overlap = Overlap(job["overlap"], job["threads"], job["ring"])
    files: list[str] = job["files"]
    _make_room(job["opens"] + SPARE)
    map_naive(files[0])  # what only happens once in a process
    make = CONTENDERS[job["contender"]].make
    get = make()
    get(files[0])
    del get
    gc.collect()
    return make(), overlap, orders(overlap, files, job["opens"])


def _await_release(job: Json, left: Callable[[], int]) -> None:
    """Collect until no more is left than the contender may keep, or the time is over.

    Collecting once is not enough to judge by: on PyPy, and on free-threaded builds, another thread
    may be running the finalizers that the collection found.
    """
    allowed = CONTENDERS[job["contender"]].keeps(len(job["files"]))
    deadline = time.monotonic() + PATIENCE
    while True:
        collect()
        if left() <= allowed or time.monotonic() > deadline:
            return
        time.sleep(0.01)


def _make_room(descriptors: int) -> None:
    """Raise the soft limit of descriptors, as far as it goes: no contender may break by it here."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = descriptors if hard == resource.RLIM_INFINITY else min(descriptors, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _watching(get: Get, watches: list[Watch]) -> Get:
    """`get`, with each object that it hands out watched once."""
    seen: dict[int, Watch] = {}
    lock = threading.Lock()

    def getting(path: str) -> Any:
        mapped = get(path)
        with lock:
            known = seen.get(id(mapped))
            if known is None or not known.alive:  # alive: it is this one, since we hold this one
                seen[id(mapped)] = watched = watch(mapped)
                watches.append(watched)
        return mapped

    return getting


def _alive(watches: list[Watch]) -> int:
    return sum(watched.alive for watched in watches)


def _summary(outcome: Outcome) -> Json:
    return {"opened": outcome.opened, "errors": dict(outcome.errors)}


JOBS: dict[str, Callable[[Json], Json]] = {
    "life": _life,
    "count": _count,
    "requests": _requests,
    "memory": _memory,
    "deaths": _deaths,
    "time": _time,
    "limit": _limit,
    "exhaust": _exhaust,
}

if __name__ == "__main__":
    serve(JOBS)
