"""Jobs that count: creations, deaths, requests, calls, mappings. Each runs in a fresh process."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from deathwatch import collect
from deathwatch.bench.overlaps import Overlap, orders, run, touch
from deathwatch.measure import Snapshot, Unavailable, listening, snapshot, span
from deathwatch.measure.objects import live
from deathwatch.measure.processes import Json, serve

from . import subject
from .workloads import Node, release

RING = Overlap("ring", 1, 16)
HELD = Overlap("held", 8, None)
ALONE = Overlap("held", 1, None)

OPENS = 600
"""Opens of a schedule: 20 files in a ring of 16 are mapped about 230 times."""

KEYS = 5
THREADS = 8
PATIENCE = 0.2
"""Seconds that a creation waits for a second one of its key. It decides how surely a duplicate is
caught; none is ever seen where there is none."""

CLEANUPS = 1_000


def misses(asked: Sequence[str], ring: int) -> int:
    """How often a path is asked for that is not among the last `ring` asked for: the formula."""
    held: deque[str] = deque(maxlen=ring)
    missed = 0
    for path in asked:
        missed += path not in held
        held.append(path)
    return missed


def _objects(job: Json) -> Json:
    """Creations, live objects, cleanups: what any system can count."""
    lib = subject.load(job["source"])
    return {
        "creates.contended": _contended(lib),
        "cleanups.run": _cleanups(lib, stop=False),
        "cleanups.stopped": _cleanups(lib, stop=True),
        **_survivors(lib),
    }


def _contended(lib: Any) -> int:
    """How often `create` is called by threads that miss the same keys at once."""
    created: list[int] = []
    again = {key: threading.Event() for key in range(KEYS)}
    lock = threading.Lock()

    def create(key: int) -> Node:
        with lock:
            created.append(key)
            if created.count(key) > 1:
                again[key].set()
        again[key].wait(PATIENCE)
        return Node(key)

    cache = lib.WeakCache(create)
    for key in range(KEYS):
        meeting = threading.Barrier(THREADS)
        held: list[Node] = []

        def ask(key: int = key, meeting: Any = meeting, held: list[Node] = held) -> None:
            meeting.wait()
            held.append(cache.get(key))

        _all_at_once(ask)
    return len(created)


def _all_at_once(target: Any) -> None:
    threads = [threading.Thread(target=target) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _cleanups(lib: Any, *, stop: bool) -> int:
    """How many cleanups of dead objects run, of `CLEANUPS` registered ones."""
    ran: list[object] = []
    queue = lib.CleanupQueue(workers=0)
    nodes = [Node() for _ in range(CLEANUPS)]
    handles = [lib.add_cleanup(node, ran.append, 1, queue=queue) for node in nodes]
    if stop:
        for handle in handles:
            handle.stop()
    nodes.clear()
    collect()
    queue.run_pending()
    return len(ran)


def _survivors(lib: Any) -> Json:
    """What is left of a cache's values, of handles, and of registrations, after their release."""
    collect()
    lib.drain()
    before, stats = live(Node, lib.unique.Handle), lib.cleanup_stats()
    cache = lib.WeakCache(Node)
    held: list[Any] = [cache.get(key) for key in range(CLEANUPS)]
    held += [lib.unique.make(f"value {number}") for number in range(CLEANUPS)]
    _register(lib, held[:CLEANUPS])
    held.clear()
    collect()
    lib.drain()
    after = lib.cleanup_stats()
    ended = (after.executed - stats.executed) + (after.stopped - stats.stopped)
    return {
        "objects.left": live(Node, lib.unique.Handle) - before,
        "registrations.left": after.registered - stats.registered - ended,
    }


def _register(lib: Any, nodes: list[Any]) -> None:
    """In a frame of its own, whose locals are gone with it."""
    for node in nodes:
        lib.add_cleanup(node, release, 1)


def _requests(job: Json) -> Json:
    """Opens and maps that the interpreter was asked for, by a scripted schedule."""
    lib = subject.load(job["source"])
    lib.MappedFile(job["files"][0])
    found: Json = {}
    for name, overlap in (("ring", RING), ("held", HELD)):
        with listening(job["files"]) as heard:
            _schedule(lib, overlap, job["files"])
        for request, count in heard.counts.items():
            found[f"{name}.{request}s"] = count
    return found


def _calls(job: Json) -> Json:
    """System calls between markers: of one mapping's life, and of the scripted schedules."""
    lib = subject.load(job["source"])
    lib.MappedFile(job["files"][0])
    collect()
    with span("life"):
        lib.MappedFile(job["files"][0])
        collect()
    for name, overlap in (("ring", RING), ("held", HELD)):
        with span(name):
            _schedule(lib, overlap, job["files"])
            collect()
    return {}


def _mappings(job: Json) -> Json:
    """Live mappings and descriptors at the peak, everything held; mappings after release."""
    lib = subject.load(job["source"])
    lib.MappedFile(job["files"][0])
    collect()
    before = snapshot(job["files"])
    cache = lib.MappedFileCache()
    outcome = _run(cache, HELD, job["files"], at_peak=lambda: snapshot(job["files"]))
    collect()
    after = snapshot(job["files"])
    return {
        "mappings.peak": outcome.peak.mappings,
        "descriptors.peak": _grown(outcome.peak, before, "descriptors"),
        "mappings.left": after.mappings,
        "descriptors.left": _grown(after, before, "descriptors"),
    }


def _memory(job: Json) -> Json:
    """PSS over the files' size, every page touched, every file held."""
    lib = subject.load(job["source"])
    lib.MappedFile(job["files"][0])
    collect()
    before = snapshot(job["files"])
    cache = lib.MappedFileCache()
    held = [cache.get(path) for path in job["files"]]
    for mapped in held:
        bytes(mapped.data[:: job["page"]])
    after = snapshot(job["files"])
    size = sum(len(mapped) for mapped in held)
    return {"pss": _grown(after, before, "pss") / size}


def _sharing(job: Json) -> Json:
    """Page tables and minor faults of one contender, everything held and touched."""
    if job["contender"] == "naive":
        from deathwatch.bench.contenders import map_naive

        get: Any = map_naive
    else:
        get = subject.load(job["source"]).MappedFileCache().get
    get(job["files"][0])
    collect()
    before = snapshot(job["files"])
    asked = orders(ALONE, job["files"], job["opens"])
    outcome = run(get, ALONE, asked, use=touch, at_peak=lambda: snapshot(job["files"]))
    return {
        "page_tables": _grown(outcome.peak, before, "page_tables"),
        "faults": _grown(outcome.peak, before, "minor_faults"),
        "errors": dict(outcome.errors),
    }


def _grown(after: Snapshot, before: Snapshot, what: str) -> int:
    """How much more there is of `what`; raises `Unavailable` where the system doesn't say."""
    now, then = getattr(after, what), getattr(before, what)
    if now is None or then is None:
        raise Unavailable("/proc", f"it does not tell {what} here")
    return int(now - then)


def _schedule(lib: Any, overlap: Overlap, files: list[str]) -> None:
    _run(lib.MappedFileCache(), overlap, files)


def _run(cache: Any, overlap: Overlap, files: list[str], at_peak: Any = None) -> Any:
    """Every file is asked for at least once, first of all."""
    asked = schedule(overlap, files)
    outcome = run(cache.get, overlap, asked, at_peak=at_peak)
    if outcome.errors:
        raise OSError(f"opens failed: {dict(outcome.errors)}")
    return outcome


def schedule(overlap: Overlap, files: list[str]) -> list[list[str]]:
    """What each thread asks for: all files once, then unevenly, the same on every machine."""
    drawn = orders(overlap, files, OPENS)
    return [files + paths for paths in drawn]


def _speed_up(job: Json) -> Json:
    """How many times faster a hit is than mapping anew: rounds that alternate."""
    from deathwatch.bench.contenders import map_naive

    lib = subject.load(job["source"])
    cache = lib.MappedFileCache()
    path = job["files"][0]
    held = cache.get(path)
    ratios = []
    for _ in range(job["rounds"]):
        naive, hit = (_seconds(get, path, 100) for get in (map_naive, cache.get))
        ratios.append(naive / hit)
    lib.keep_alive(held)
    return {"ratios": ratios}


def _seconds(get: Any, path: str, times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        get(path)
    return time.perf_counter() - began


JOBS = {
    "objects": _objects,
    "requests": _requests,
    "calls": _calls,
    "mappings": _mappings,
    "memory": _memory,
    "sharing": _sharing,
    "speed_up": _speed_up,
}

if __name__ == "__main__":
    serve(JOBS)
