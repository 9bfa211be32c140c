"""What is registered with a queue, and what became of it?"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat, starmap
from operator import length_hint
from typing import Any, NamedTuple, Protocol

SHELLS = 512
"""A registry keeps at most this many released registrations (about 100 bytes each), beside as
many as it has live ones: each release then costs two steps of a sweep."""


def released(arg: object) -> None:
    """In the place of the function of a registration that was stopped or has run.

    Not None, which a caller may pass for a function.
    """


class Registration(Protocol):
    """What a `Cleanup` is to its queue: `_func(_arg)` is to run, unless it is `released`."""

    _func: Any
    _arg: Any


def is_due(item: Registration | None) -> bool:
    return item is not None and item._func is not released


def _unreleased(items: list[Registration]) -> list[Registration]:
    # A function, as `Books.busy` is: see `tests/harness/test_bytecode.py`.
    return [item for item in items if item._func is not released]


class CleanupStats(NamedTuple):
    """Counts since the start: `failed <= executed <= queued`, and none ever falls.

    >>> CleanupStats(registered=3, stopped=1, queued=2, executed=2, failed=0).queued
    2
    """

    registered: int
    stopped: int
    queued: int
    executed: int
    failed: int


class Runner:
    """What a thread runs cleanups as: what it runs now, and counters that it alone writes.

    When the thread is done with it, the next one goes on with it and its counters. Nothing is
    added up, then, that a finalizer could come between, or a fork.

    How many it ran is not counted but read off the iterator that its pops use up, whose counting
    is in C: a counter takes 27 ns of a cleanup's 110.
    """

    __slots__ = ("_ran", "_turns", "busy", "current", "failed", "passed", "thread")

    def __init__(self) -> None:
        self.thread: int | None = None
        self.busy = False
        self.current: Registration | None = None
        self.failed = 0
        self.passed = 0  # pops that gave nothing to run
        # How many pops there were before, and the arguments of the next ones: none, one by one.
        self._turns = (0, repeat((), sys.maxsize))
        self._ran = 0

    def pops(self, ready: list[Registration]) -> Iterator[Registration]:
        """Pop until `IndexError`. In C: see `Core.fill`."""
        turns = repeat((), sys.maxsize)
        self._turns = (self._popped(), turns)
        return starmap(ready.pop, turns)

    @property
    def executed(self) -> int:
        """At least so many, and at most one more: the last pop may just be run, or passed by."""
        popped = self._popped()  # before `passed` is looked at, which grows after it
        return max(self._ran, popped - self.passed - 1)

    def count(self) -> None:
        """Between two pops: `executed` is exact until the next one."""
        self._ran = self._popped() - self.passed

    def ran(self, executed: int) -> None:
        """So many it ran in truth: for a thread that is gone, as others see it."""
        self.passed = self._popped() - executed
        self.count()

    def _popped(self) -> int:
        before, turns = self._turns
        return before + sys.maxsize - length_hint(turns)


class Shared:
    """The lock of all books.

    Re-entrant, since a collection inside it may run code that calls back; one for all, since that
    code may ask for the books of another queue, of which another thread has just the lock.
    """

    lock = threading.RLock()


class Books:
    """The registrations of one queue, and its counters."""

    def __init__(self) -> None:
        # Roots: a weak reference that is garbage itself is not called back (C4).
        self.live: list[Registration] = []
        self.runners: list[Runner] = []  # as many as ever ran at once
        self._idle: list[Runner] = []
        self._stopped = self._swept = self._lost = self._queued = self._executed = 0
        self._sweeping = False

    @property
    def lock(self) -> threading.RLock:
        return Shared.lock

    def enlist(self) -> Runner:
        try:
            runner = self._idle.pop()
        except IndexError:
            runner = Runner()
            self.runners.append(runner)
        runner.thread = threading.get_ident()
        return runner

    def dismiss(self, runner: Runner) -> None:
        """Let the next thread have it. No barrier may wait for it any more."""
        runner.count()
        runner.thread = None
        self._idle.append(runner)

    def stop(self, item: Registration) -> bool:
        """Cancel a registration whose object the caller holds."""
        with self.lock:
            func, arg = item._func, item._arg
            if func is released:
                return False
            item._func, item._arg = released, None
            self._stopped += 1
            if self._stopped % 64 == 0:
                self.sweep_if_due()
        del func, arg  # may run anything, and the lock is free
        return True

    def inherit(self) -> None:
        """In a forked child: let go of what the threads ran that are gone."""
        self._sweeping = False
        me = threading.get_ident()
        unsure = None
        for runner in [other for other in self.runners if other.thread not in (me, None)]:
            item = runner.current
            if item is not None and is_due(item):
                item._func, item._arg = released, None
                self._lost += 1
                runner.passed += 1
            elif runner.busy:
                unsure = runner  # its last pop gave nothing, or something that has run
            runner.current = None
            runner.busy = False
            self.dismiss(runner)
        if unsure is not None:
            ended = self._swept + len(self.live) - len(_unreleased(self.live))
            others = sum([runner.executed for runner in self.runners if runner is not unsure])
            unsure.ran(ended - self._stopped - self._lost - others)

    def busy(self) -> set[Runner]:
        return {runner for runner in self.runners if runner.busy}

    def left(self) -> int:
        """How many are registered and neither stopped nor run."""
        with self.lock:
            return self._swept + len(self.live) - self._released()

    def _released(self) -> int:
        return self._stopped + self._lost + self._all_executed()

    def _all_executed(self) -> int:
        # Never falls, though what was just passed by counts for a moment as what is just run.
        executed = sum([runner.executed for runner in self.runners])
        self._executed = max(self._executed, executed)
        return self._executed

    def sweep_if_due(self) -> None:
        """Let go of released registrations."""
        with self.lock:
            shells = self._released() - self._swept
            if self._sweeping or shells * 2 <= len(self.live) + SHELLS:
                return
            self._sweeping = True
            try:
                end = len(self.live)  # other threads append meanwhile
                kept = _unreleased(self.live[:end])
                swept = end - len(kept)
                # No call between these two, and so no fork.
                self.live[:end] = kept
                self._swept += swept
            finally:
                self._sweeping = False

    def stats(self, ready: Callable[[], Iterable[Registration]]) -> CleanupStats:
        """`ready()` is what was queued and not yet taken."""
        with self.lock:
            # In this order: what comes later in a cleanup's life first, so that none counts twice.
            executed = self._all_executed()
            running = [runner.current for runner in self.runners]
            due = sum(map(is_due, running)) + sum(map(is_due, ready()))
            # What is on its way from one place to the next was missed: it counts next time.
            self._queued = max(self._queued, executed + self._lost + due)
            failed = sum([runner.failed for runner in self.runners])
            registered = self._swept + len(self.live)
            return CleanupStats(
                registered, self._stopped, self._queued, executed, min(failed, executed)
            )
