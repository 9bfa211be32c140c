"""Demanding that objects die."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .collecting import TIMEOUT, collector_state
from .watching import Cause, Region, _require_refcounts, make_and_watch


def assert_dies(
    make: Callable[[], object], *, cause: Cause | None = None, timeout: float = TIMEOUT
) -> None:
    """Call `make()`, drop what it returned, and demand its death.

    `cause="refcount"` demands it without the collector, which is disabled meanwhile: an object
    that only the collector could free fails, and its cycle is printed. On PyPy, where nothing
    dies by a reference count, that raises `unittest.SkipTest`. `cause="collector"` demands that
    the collector was needed. Without a cause, the collector is forced if need be.

    Waits up to `timeout` seconds for other threads to let go; where there are none, nobody could,
    and it fails at once. Not guaranteed: that objects which `make` itself leaves behind die too;
    watch those with `expect_death`.

    Raises `AssertionError` with what keeps the object alive, which it does not itself keep alive;
    `TypeError` where the object has no weak references (semantics C13); and whatever `make` raises.

    >>> from deathwatch import assert_dies
    >>> class Connection: pass
    >>> assert_dies(Connection)
    """
    if cause not in (None, "refcount", "collector"):
        raise ValueError(f"cause is 'refcount', 'collector' or None, not {cause!r}")
    if cause == "refcount":
        _require_refcounts()
    with collector_state(enabled=False if cause else None):
        watched = make_and_watch(make)
        watched.assert_dead(cause=cause, timeout=timeout)


@contextmanager
def expect_death(*, timeout: float = TIMEOUT) -> Iterator[Region]:
    """Demand that everything watched in the region is dead after it.

    Local variables of the block outlive it: build the objects in a function, or `del` them, as a
    variable that still holds one is a reason for it to be alive, and is named as one. An exception
    in the block passes through, and nothing is demanded then: its traceback holds the locals.

    >>> from deathwatch import expect_death
    >>> class Connection: pass
    >>> with expect_death() as region:
    ...     connection = Connection()
    ...     watched = region.watch(connection)
    ...     del connection
    """
    region = Region()
    yield region
    region.assert_dead(timeout)
