"""Who holds what, and for how long: the stated overlaps, and running a contender at one.

What a cache of mappings saves depends on overlap alone: how often a file is asked for while
somebody still holds its mapping. So each figure names its overlap. Files are asked for unevenly
(weight 1/rank**0.8), as fonts and libraries are, and in the same order by every contender.
"""

from __future__ import annotations

import errno
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

SKEW = 0.8
"""Exponent of the weights. At 0.8 an LRU cache of 16 of 50 files misses 46 % of the time."""

RING = 128
"""Mappings held at once by all threads together, where rings are held."""

SEED = 1
PAGE = 4096

Get = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many threads ask, and how many mappings each holds: the last `ring`, or all (None)."""

    name: str
    threads: int
    ring: int | None

    @property
    def title(self) -> str:
        """As a person would say it."""
        who = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        if self.ring is None:
            return f"{who}, all held"
        return f"{who}, {'ring' if self.threads == 1 else 'rings'} of {self.ring}"


def overlaps(threads: int) -> list[Overlap]:
    """One thread with a ring, several with rings as large together, and everything held."""
    return [
        Overlap("ring", 1, RING),
        Overlap("rings", threads, max(1, RING // threads)),
        Overlap("held", threads, None),
    ]


def orders(overlap: Overlap, files: Sequence[str], opens: int) -> list[list[str]]:
    """What each thread asks for, in order. The same for every contender, machine and run."""
    weights = [1 / rank**SKEW for rank in range(1, len(files) + 1)]
    asked = random.Random(SEED).choices(files, weights, k=opens)
    return [asked[n :: overlap.threads] for n in range(overlap.threads)]


def touch(mapped: Any) -> None:
    """Read the first and the last page, as a reader of fonts and libraries does."""
    with memoryview(getattr(mapped, "data", mapped)) as view:
        bytes(view[:PAGE])
        bytes(view[-PAGE:])


@dataclass
class Outcome:
    """What came of one run: opens that worked, errors by name, seconds, the view from the peak."""

    opened: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    peak: Any = None


def run(
    get: Get,
    overlap: Overlap,
    asked: Sequence[Sequence[str]],
    *,
    use: Callable[[Any], object] | None = None,
    at_peak: Callable[[], object] | None = None,
) -> Outcome:
    """Let the threads ask `get` for files, hold what they got, and release it all.

    `at_peak` is called while every thread has asked for everything and still holds its ring.
    A thread stops at its first `OSError`. When this returns the threads are gone, and whoever is
    still alive is held by the contender or waits for the collector.
    """
    outcome = Outcome()
    meeting = threading.Barrier(overlap.threads + 1)
    crashes: list[BaseException] = []

    def work(paths: Sequence[str]) -> None:
        held: deque[Any] = deque(maxlen=overlap.ring)
        try:
            meeting.wait()
            opened, error = _ask(get, paths, held, use)
            results.append((opened, error))
            meeting.wait()
            meeting.wait()
            held.clear()
        except threading.BrokenBarrierError:
            pass
        except BaseException as crash:
            crashes.append(crash)
            meeting.abort()

    results: list[tuple[int, str | None]] = []
    threads = [threading.Thread(target=work, args=(paths,), daemon=True) for paths in asked]
    for thread in threads:
        thread.start()
    try:
        meeting.wait()
        began = time.perf_counter()
        meeting.wait()
        if at_peak is not None:
            outcome.peak = at_peak()
        meeting.wait()
    except threading.BrokenBarrierError:
        raise crashes[0] from None
    for thread in threads:
        thread.join()
    outcome.seconds = time.perf_counter() - began
    outcome.opened = sum(opened for opened, _ in results)
    outcome.errors = Counter(error for _, error in results if error is not None)
    return outcome


def _ask(
    get: Get, paths: Sequence[str], held: deque[Any], use: Callable[[Any], object] | None
) -> tuple[int, str | None]:
    """Ask for each path; how many worked, and the name of the error that ended it.

    A frame of its own: no local and no traceback of it may outlive the asking.
    """
    opened = 0
    try:
        for path in paths:
            mapped = get(path)
            if use is not None:
                use(mapped)
            held.append(mapped)
            opened += 1
    except OSError as error:
        return opened, errno.errorcode.get(error.errno or 0, str(error.errno))
    return opened, None
