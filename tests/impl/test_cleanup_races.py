"""Stopping, dying, running, counting and draining at once, in many threads."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from deathwatch import collect
from lastref import _books
from lastref.cleanup import Cleanup, CleanupQueue, CleanupStats, add_cleanup, drain

PYPY = sys.implementation.name == "pypy"
DEADLINE = 120.0


class Victim:
    pass


@pytest.fixture(autouse=True)
def many_switches() -> Iterator[None]:
    """Switch threads as often as the interpreter can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def together(*works: Callable[[], object]) -> None:
    """Run all at once, and raise what any of them raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        try:
            start.wait()
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_of_stops_at_once_one_wins() -> None:
    """C10: True once, in whichever thread, and counted once."""
    queue = CleanupQueue(workers=0)
    victim = Victim()
    cleanups = [add_cleanup(victim, id, 1, queue=queue) for _ in range(2000)]
    won: list[list[bool]] = [[] for _ in range(4)]

    def stop_all(results: list[bool]) -> None:
        results.extend(cleanup.stop() for cleanup in cleanups)

    together(*[lambda results=results: stop_all(results) for results in won])  # type: ignore[misc]
    assert [sum(wins) for wins in zip(*won, strict=True)] == [1] * len(cleanups)
    assert queue.stats() == (2000, 2000, 0, 0, 0)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_cleanup_is_either_stopped_or_run(workers: int) -> None:
    """C10: whatever the order in which another thread drops the object."""
    queue = CleanupQueue(workers=workers)
    rounds = 1000
    box: list[list[Victim]] = [[Victim()] for _ in range(rounds)]
    ran: list[int] = []
    cleanups = [add_cleanup(box[i][0], ran.append, i, queue=queue) for i in range(rounds)]
    stopped: list[int] = []

    def drop() -> None:
        for victims in box:
            victims.clear()

    def stop() -> None:
        stopped.extend(i for i, cleanup in enumerate(cleanups) if cleanup.stop())

    together(drop, stop)
    collect()
    assert queue.drain(DEADLINE)
    assert sorted([*ran, *stopped]) == list(range(rounds))
    assert queue.stats() == (rounds, len(stopped), len(ran), len(ran), 0)


def test_a_drain_misses_no_worker_that_just_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """C16: the barrier is to be seen before the workers are looked at.

    With the two steps the other way round this fails always, and a plain loop of drains on
    free-threaded 3.13 hung after 24 to 31,000 of them.
    """
    go = threading.Event()

    class Slow(_books.Runner):
        """Runs on to its end in the moment in which another worker sees that it is busy."""

        __slots__ = ("_busy",)

        @property
        def busy(self) -> bool:  # type: ignore[override]
            seen = getattr(self, "_busy", False)
            if seen and self.thread != threading.get_ident() and not go.is_set():
                go.set()
                time.sleep(0.3)
            return seen

        @busy.setter
        def busy(self, value: bool) -> None:
            self._busy = value

    monkeypatch.setattr(_books, "Runner", Slow)
    queue = CleanupQueue(workers=2)
    started = threading.Event()

    def last(_: object) -> None:
        started.set()
        go.wait(DEADLINE)

    victim = Victim()
    add_cleanup(victim, last, None, queue=queue)
    del victim
    collect()
    assert started.wait(DEADLINE)
    assert queue.drain(10.0)
    assert go.is_set()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_no_snapshot_is_inconsistent_and_no_counter_falls(workers: int) -> None:
    """C16. Go: TestReadMetricsConsistency. Seen from several threads that look at once."""
    queue = CleanupQueue(workers=workers)
    done = threading.Event()

    def churn() -> None:
        try:
            for i in range(100):
                for _ in range(10):
                    victim = Victim()
                    add_cleanup(victim, id if i % 2 else len, "", queue=queue)
                    stopped = add_cleanup(victim, id, 1, queue=queue)
                    assert stopped.stop()
                    del victim
                if not workers:
                    queue.run_pending()
        finally:
            done.set()

    def look() -> None:
        last = CleanupStats(0, 0, 0, 0, 0)
        while not done.is_set():
            stats = queue.stats()
            assert stats.failed <= stats.executed <= stats.queued, stats
            assert stats.queued + stats.stopped <= stats.registered, stats
            assert all(a <= b for a, b in zip(last, stats, strict=True)), (last, stats)
            last = stats

    together(churn, churn, look, look)
    collect()
    assert queue.drain(DEADLINE)
    assert queue.stats() == (4000, 2000, 2000, 2000, 0)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_what_a_drain_waited_for_is_counted_when_it_returns(workers: int) -> None:
    """C16. Exactly, what was stopped and passed by included."""
    queue = CleanupQueue(workers=workers)
    for round in range(1, 4 if PYPY else 300):
        for i in range(5):
            victim = Victim()
            add_cleanup(victim, id if i % 2 else len, "", queue=queue)
            assert add_cleanup(victim, id, 1, queue=queue).stop()
            del victim
        collect()
        assert queue.drain(DEADLINE)
        assert queue.stats() == (10 * round, 5 * round, 5 * round, 5 * round, 0)
    assert queue._core.books.left() == 0


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_drain_is_for_what_this_thread_let_die_before_it(workers: int) -> None:
    """Exactly, beside threads that let die, run and drain too."""
    queue = CleanupQueue(workers=workers)

    def work() -> None:
        for _ in range(3 if PYPY else 100):
            seen: list[int] = []
            for i in range(10):
                add_cleanup(Victim(), seen.append, i, queue=queue)
            if PYPY:
                collect()
            assert queue.drain(DEADLINE)
            assert sorted(seen) == list(range(10))

    together(work, work, work)


def test_a_drain_of_everything_is_too() -> None:
    """Over queues that come and go."""

    def work() -> None:
        for _ in range(2 if PYPY else 50):
            seen: list[int] = []
            queues = [None, CleanupQueue(workers=0), CleanupQueue(), CleanupQueue(workers=2)]
            for i, queue in enumerate(queues):
                add_cleanup(Victim(), seen.append, i, queue=queue)
            if PYPY:
                collect()
            del queues, queue
            assert drain(DEADLINE)
            assert sorted(seen) == [0, 1, 2, 3]

    together(work, work)


def test_registering_from_many_threads_on_one_object() -> None:
    """C3: each registration runs once."""
    ran: list[int] = []
    victims = [Victim()]
    handles: list[list[Cleanup]] = [[] for _ in range(4)]

    def register(results: list[Cleanup], first: int) -> None:
        for i in range(first, first + 2000):
            results.append(add_cleanup(victims[0], ran.append, i))

    works: list[Any] = [
        lambda results=results, i=i: register(results, i * 2000)
        for i, results in enumerate(handles)
    ]
    together(*works)
    victims.clear()
    collect()
    assert drain(DEADLINE)
    assert sorted(ran) == list(range(8000))


def test_stopping_from_a_finalizer_during_anything_is_safe() -> None:
    """Locks that a collection inside them may take again: `__del__` stops, counts, registers."""
    queue = CleanupQueue()
    root = Victim()
    ran: list[int] = []

    class Reentrant:
        def __init__(self) -> None:
            self.itself = self
            self.cleanup = add_cleanup(root, id, 1, queue=queue)

        def __del__(self) -> None:
            assert self.cleanup.stop()
            add_cleanup(Victim(), ran.append, 1, queue=queue)
            stats = queue.stats()
            assert stats.executed <= stats.queued

    def churn() -> None:
        for _ in range(200 if PYPY else 2000):
            Reentrant()
            add_cleanup(Victim(), id, 1, queue=queue)
            queue.stats()

    together(churn, churn)
    collect()
    collect()
    assert queue.drain(DEADLINE)
    rounds = 2 * (200 if PYPY else 2000)
    assert len(ran) == rounds
    assert queue.stats() == (3 * rounds, rounds, 2 * rounds, 2 * rounds, 0)


def test_a_finalizer_may_run_what_is_pending_in_the_middle_of_anything() -> None:
    """Also in the thread that is just looking into the same queue."""
    queue = CleanupQueue(workers=0)
    ran: list[int] = []
    rounds = 200 if PYPY else 2000

    class Reentrant:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            queue.run_pending()
            with suppress(RuntimeError):  # an error, not a deadlock: it may be inside one
                queue.drain()

    def churn() -> None:
        for _ in range(rounds):
            Reentrant()
            add_cleanup(Victim(), ran.append, 1, queue=queue)
            queue.stats()
            queue.run_pending()

    together(churn, churn)
    collect()
    assert queue.drain(DEADLINE)
    assert len(ran) == 2 * rounds
    assert queue.stats() == (2 * rounds, 0, 2 * rounds, 2 * rounds, 0)
