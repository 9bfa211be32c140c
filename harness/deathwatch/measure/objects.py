"""Live objects, and what work allocates: blocks, bytes, the peak of bytes.

Deterministic where one thread does the work: the same figures on an idle and a busy machine. They
depend on the interpreter's minor version and build, and say nothing of memory that C code
allocates without the interpreter's allocators.
"""

from __future__ import annotations

import gc
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .checked import once
from .unavailable import Unavailable

OBJECTS = 100
"""Objects that the self-test allocates."""

_OWN = 5
"""Blocks that counting itself may allocate; measured: 2 up to 3.13, 4 on 3.14 and 3.15."""

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Allocation:
    """What is allocated while the result of some work is held, and the most while it worked.

    `blocks` are the interpreter's small ones (up to 512 bytes, `sys.getallocatedblocks`); `bytes`
    and `peak` are tracemalloc's, of all sizes.
    """

    blocks: int
    bytes: int
    peak: int


def _nothing() -> None:
    pass


def allocation(work: Work, before: Work = _nothing) -> Allocation:
    """What calling `work` allocates. It is called three times: to warm up, for blocks, for bytes.

    The collector is off meanwhile, and collects between. Whatever other threads allocate and free
    counts too: where what `work` returns dies in other threads, `before`, which is called before
    each of the counts, has to wait for them. Raises `Unavailable` where the self-test fails: PyPy
    has no such counters, free-threaded builds free late, and a debug allocator may count otherwise.

    >>> try:
    ...     large = allocation(lambda: [bytes(1000) for _ in range(100)]).bytes > 100_000
    ... except Unavailable as why:
    ...     large = "instead: " in str(why)
    >>> large
    True
    """
    once(check)
    work()
    return Allocation(_blocks(work, before), *_traced(work, before))


def live(*types: type) -> int:
    """How many instances of `types` (or of subclasses) the collector tracks in this process now.

    Objects that it doesn't track (strings, numbers, dicts and tuples of only those) are not
    counted, nor are those of a frozen heap. The first call tests itself, which on PyPy collects;
    raises `Unavailable` where that fails.

    >>> class Node: pass
    >>> node = Node()
    >>> live(Node)
    1
    """
    once(check_live)
    return sum(issubclass(type(obj), types) for obj in gc.get_objects())


class _Known:
    pass


def check_live() -> dict[str, int]:
    """Count `OBJECTS` known objects, alive and dead; raise `Unavailable` unless that is right."""
    held = [_Known() for _ in range(OBJECTS)]
    alive = live(_Known)
    held.clear()
    if sys.implementation.name != "cpython":
        gc.collect()
    dead = live(_Known)
    if (alive, dead) != (OBJECTS, 0):
        because = f"of {OBJECTS} objects it saw {alive} alive, and {dead} after their death"
        raise Unavailable("the count of live objects", because, "deathwatch.watch on each object")
    return {"live": alive}


def check() -> None:
    """Count the allocations of `OBJECTS` known objects; raise `Unavailable` unless it is right."""
    if not hasattr(sys, "getallocatedblocks") or sys.implementation.name != "cpython":
        because = f"{sys.implementation.name} does not count its blocks"
        raise Unavailable("the allocation counters", because, "the process's memory (RSS, PSS)")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        because = (
            "free-threaded builds free blocks late: equal work was seen to count 0 to 58 apart"
        )
        raise Unavailable("the allocation counters", because, "a build with the GIL")
    room: list[bytes | None] = [None] * OBJECTS
    _fill(room)
    room[:] = [None] * OBJECTS
    blocks = _blocks(lambda: _fill(room))
    room[:] = [None] * OBJECTS
    size = _traced(lambda: _fill(room))[0]
    truth = OBJECTS * sys.getsizeof(bytes(100))
    if abs(blocks - OBJECTS) > _OWN or abs(size - truth) > 0.02 * truth:
        because = f"{OBJECTS} objects of {truth} bytes counted {blocks}, and {size} bytes"
        raise Unavailable("the allocation counters", because)


def _fill(room: list[bytes | None]) -> None:
    for index in range(OBJECTS):
        room[index] = bytes(100)


def _blocks(work: Work, wait: Work = _nothing) -> int:
    with _collector_off():
        wait()
        before = sys.getallocatedblocks()
        held = work()
        after = sys.getallocatedblocks()
        del held
    return after - before


def _traced(work: Work, wait: Work = _nothing) -> tuple[int, int]:
    import tracemalloc  # which PyPy has not

    with _collector_off():
        wait()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            held = work()
            after, peak = tracemalloc.get_traced_memory()
            del held
        finally:
            tracemalloc.stop()
    return after - before, peak - before


@contextmanager
def _collector_off() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
