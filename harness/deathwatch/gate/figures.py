"""The gate's figures: what each is, its tier, its unit, its instrument and the rule for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from . import costing, counting
from .workloads import TITLES

FILES = 20
"""Small private files that the schedules map."""

LIFE = 5 if sys.version_info >= (3, 13) else 7
"""System calls in a mapping's life: CPython before 3.13 duplicates the descriptor."""

DESCRIPTORS = 0 if sys.version_info >= (3, 13) else FILES
"""Descriptors of so many mappings, which hold a duplicate each before CPython 3.13."""

TIMED = ("cache.hit", "cleanup.register", "unique.hit")


@dataclass(frozen=True, slots=True)
class Spec:
    """A figure before it was measured; `key` is its name in the answer of its job."""

    name: str
    tier: int
    title: str
    unit: str
    instrument: str
    how: str
    rule: dict[str, Any] = field(default_factory=dict)
    key: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without a value yet."""
        names = ("name", "tier", "title", "unit", "instrument", "how", "rule")
        return {name: getattr(self, name) for name in names}


def equal(expected: float) -> dict[str, Any]:
    """The rule of a formula."""
    return {"kind": "equal", "expected": expected}


def within_baseline(tolerance: float) -> dict[str, Any]:
    """The rule of a stored baseline."""
    return {"kind": "baseline", "tolerance": tolerance}


def objects() -> Iterator[Spec]:
    """Tier 0: equal to the formula on any system."""
    rows = [
        ("creates.contended", "creations by 8 threads that miss 5 keys at once", counting.KEYS),
        ("cleanups.run", "cleanups run, of 1000 dead objects", counting.CLEANUPS),
        ("cleanups.stopped", "cleanups run, of 1000 stopped ones", 0),
        ("objects.left", "cached values and handles alive after release", 0),
        ("registrations.left", "cleanups neither run nor stopped after release", 0),
    ]
    for name, title, expected in rows:
        how = "counted in a fresh process, after collecting until quiet and draining the cleanups"
        yield Spec(name, 0, title, "objects", "counting", how, equal(expected), name)


def requests(missed: int, held: int) -> Iterator[Spec]:
    """Tier 0: what the interpreter is asked for by the scripted schedules."""
    for overlap, expected in (("ring", missed), ("held", held)):
        for request in ("open", "mmap"):
            key = f"{overlap}.{request}s"
            title = f"{request} requests, {_overlap(overlap)}"
            how = "sys.addaudithook on the private files; checked on 100 known maps before"
            yield Spec(
                f"requests.{key}", 0, title, "requests", "the audit hook", how, equal(expected), key
            )


def calls(missed: int, held: int) -> Iterator[Spec]:
    """Tier 1: system calls on the mapped files."""
    how = "strace between markers, calls on the private files alone; checked on 100 known maps"
    rows = [("life", "in a mapping's life", LIFE)]
    rows += [("ring", _overlap("ring"), missed * LIFE), ("held", _overlap("held"), held * LIFE)]
    for key, title, expected in rows:
        full = f"file system calls {title}"
        yield Spec(f"calls.{key}", 1, full, "calls", "strace", how, equal(expected), key)


def allocations() -> Iterator[Spec]:
    """Tier 2: bytes and blocks, beside a baseline of the same interpreter minor."""
    things = {
        "cleanup": "a registered cleanup",
        "cache.entry": "an entry of the weak cache",
        "pointer": "a weak pointer",
        "handle": "a unique handle of a str",
    }
    how = f"the mean of {costing.HELD}, collector off, no other thread awake"
    for thing, title in things.items():
        for what, tolerance in (("bytes", 0.02), ("blocks", 0.02), ("peak", 0.02)):
            full = f"{'peak of bytes' if what == 'peak' else what} of {title}"
            by = "sys.getallocatedblocks" if what == "blocks" else "tracemalloc"
            unit = "blocks" if what == "blocks" else "bytes"
            name = f"{thing}.{what}"
            yield Spec(name, 2, full, unit, by, how, within_baseline(tolerance), name)
    for hit in ("cache.hit", "mapped.hit", "unique.hit", "pointer.value"):
        name = f"{hit}.blocks"
        title = f"blocks left behind by {TITLES[hit]}"
        how = f"the mean of {costing.HITS}, rounded to a hundredth"
        by = "sys.getallocatedblocks"
        yield Spec(name, 2, title, "blocks", by, how, within_baseline(0), name)


def instructions() -> Iterator[Spec]:
    """Tier 3: head beside base."""
    how = (
        f"callgrind: (Ir(2N) - Ir(N)) / N for N = {costing.INSTRUCTIONS}, hash seed 0; the base"
        " twice, which must match"
    )
    for name, title in TITLES.items():
        full = f"instructions of {title}"
        rule = {"kind": "instructions"}
        yield Spec(f"{name}.ir", 3, full, "instructions", "callgrind", how, rule, name)


def mappings() -> Iterator[Spec]:
    """Tier 4: what is mapped and open, exactly."""
    rows = [
        ("mappings.peak", "live mappings, everything held by 8 threads", FILES),
        ("descriptors.peak", "descriptors of them", DESCRIPTORS),
        ("mappings.left", "mappings left after release and a collection", 0),
        ("descriptors.left", "descriptors left after release and a collection", 0),
    ]
    for name, title, expected in rows:
        how = "the process's maps and descriptors in /proc, private files alone"
        yield Spec(name, 4, title, name.partition(".")[0], "/proc", how, equal(expected), name)


def memory() -> Iterator[Spec]:
    """Tier 5: physical memory of what is mapped."""
    yield Spec(
        "memory.pss", 5, "PSS over the size of the mapped files", "of their size", "/proc",
        "smaps_rollup before and after reading every page of 64 MB of private, fsynced files",
        {"kind": "within", "low": 0.98, "high": 1.02}, "pss",
    )  # fmt: skip


def sharing() -> Iterator[Spec]:
    """Tier 6: what naive mapping costs beside de-duplicated, everything held."""
    for key, title in (("page_tables", "page tables"), ("faults", "minor faults")):
        yield Spec(
            f"sharing.{key}", 6, f"{title}, naive over de-duplicated, everything held", "times",
            "/proc", "900 opens over 15 files of 1 MB, first and last page read, in two processes",
            {"kind": "at_least", "floor": 10}, key,
        )  # fmt: skip


def times() -> Iterator[Spec]:
    """Tier 7, which only advises: head beside base in alternating pairs of processes."""
    for name in TIMED:
        for what, by in (("wall", "the clock"), ("cpu", "the process's CPU clock")):
            how = (
                "ten alternating pairs of processes, base and head, and base and base as control;"
                f" the best of {costing.BATCHES} batches of {costing.BATCH} in each"
            )
            yield Spec(
                f"{name}.{what}", 7, f"{what} time of {TITLES[name]}", "ns", by, how,
                {"kind": "pairs"}, f"{name}.{what}",
            )  # fmt: skip


def speed_up() -> Iterator[Spec]:
    """Tier 8: what a cache is for."""
    yield Spec(
        "mapped.hit.speedup", 8, "a hit of the mapped-file cache over mapping naively", "times",
        "the clock", "the median of 21 rounds that alternate in one process",
        {"kind": "at_least", "floor": 8}, "ratio",
    )  # fmt: skip


def _overlap(name: str) -> str:
    if name == "held":
        return f"8 threads, all held, {FILES} files"
    return f"one thread, a ring of {counting.RING.ring}, {FILES} files"
