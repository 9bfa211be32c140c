"""Forcing the collector, and leaving it as it was found."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import ref

TIMEOUT = 1.0
"""Seconds that the harness waits by default for a condition that other threads may bring about."""

PATIENCE = 5.0
"""Seconds to wait at least for one complete collection, beside threads that collect all along."""

_UNCOUNTED = sys.implementation.name == "pypy"
_PYPY_DEPTH = 4
"""Length of the chain of finalizers that must be gone before a PyPy heap counts as quiet: there
`gc.collect()` says nothing about what it found."""


@contextmanager
def collector_state(*, enabled: bool | None = None, debug: int | None = None) -> Iterator[None]:
    """Change the collector's state for a block, and restore it on every way out.

    What is saved and restored: enabled or not, thresholds, debug flags (where the interpreter has
    them). The frozen heap is never touched: once unfrozen it could not be restored.
    """
    was_enabled = gc.isenabled()
    thresholds = gc.get_threshold() if hasattr(gc, "get_threshold") else None
    flags = gc.get_debug() if hasattr(gc, "get_debug") else None
    try:
        if enabled is not None:
            (gc.enable if enabled else gc.disable)()
        if debug is not None and flags is not None:
            gc.set_debug(debug)
        yield
    finally:
        if flags is not None:
            gc.set_debug(flags)
        if thresholds is not None:
            gc.set_threshold(*thresholds)
        (gc.enable if was_enabled else gc.disable)()


def collect(timeout: float = TIMEOUT) -> int:
    """Collect until the heap is quiet; return how many unreachable objects were found.

    Quiet means that a complete collection found nothing more, so that chains of finalizers have
    come to their end (semantics: testing object death, 4). A collection that returned at once
    because another thread was collecting does not count, and is tried again (testing, 6).
    Enabled or disabled, thresholds, debug flags and frozen objects are left as they were;
    `DEBUG_SAVEALL` is off meanwhile, so that what is found does die.

    Not guaranteed: that frozen objects are looked at (`gc.freeze`), that cleanups queued by the
    deaths have run (they are only queued, testing, 3), or that the heap is quiet when `timeout`
    (seconds) is over while other threads go on making garbage. On PyPy the number is 0, since
    nothing there counts, and quiet means that a chain of finalizers four deep is gone.

    Raises `RuntimeError` where no collection can run within 5 seconds: from a finalizer or a
    weak-reference callback that a collection is running, or beside one that does not end.

    >>> from deathwatch import collect
    >>> cycle = []; cycle.append(cycle); del cycle
    >>> collect() >= 0
    True
    """
    with collector_state(debug=0):
        return sum(passes(time.monotonic() + timeout))


def passes(deadline: float) -> Iterator[int]:
    """Collect once a step, and say what was found, until the heap is quiet or the time is over."""
    wr = _chain() if _UNCOUNTED else None
    found = _complete_pass(max(deadline, time.monotonic() + PATIENCE))
    if found is None:
        raise RuntimeError(
            "no collection could run: another thread is collecting, or this is called from a"
            " finalizer or weak-reference callback; call it from ordinary code"
        )
    while found is not None:
        yield found
        quiet = wr() is None if wr else not found
        if quiet or time.monotonic() > deadline:
            return
        found = _complete_pass(deadline)


class _Listener:
    """Hears of a complete collection, in whichever thread, that started after it was made.

    The collection of another thread is as good as one's own, and may be the only one to be had:
    two threads that collect all the time hand over to a third one in the middle of a collection.
    """

    def __init__(self) -> None:
        self.started = False
        self.found: int | None = None

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] < 2:
            return
        if phase == "start":
            self.started = True
        elif self.started and self.found is None:
            self.found = info["collected"] + info["uncollectable"]


def _complete_pass(deadline: float) -> int | None:
    """Have one complete collection run, whatever other threads are collecting meanwhile."""
    if _UNCOUNTED:
        gc.collect()
        return 0
    listener = _Listener()
    gc.callbacks.append(listener)
    try:
        while True:
            gc.collect()
            if listener.found is not None:
                return listener.found
            if time.monotonic() > deadline:
                return None
            time.sleep(0.0005)
    finally:
        gc.callbacks.remove(listener)


class _Link:
    """One link of a chain in which each finalizer frees the next."""

    def __init__(self, held: object) -> None:
        self.held = held
        self.itself = self

    def __del__(self) -> None:
        self.held = None


def _chain() -> ref[_Link]:
    last = _Link(None)
    wr = ref(last)
    for _ in range(_PYPY_DEPTH - 1):
        last = _Link(last)
    return wr
