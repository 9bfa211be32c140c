"""Where do cleanups run? A `Core` is a queue's registry, inbox, workers and counters.

Whoever runs cleanups moves the inbox to `ready`, pops from there, and runs.

Locks: `turn` is held by whoever reads the inbox, asleep in it included; `books.lock` guards the
rest. Neither is taken where an object dies, nor held while a cleanup runs. Both are re-entrant:
a collection inside them may run code that calls back.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat, starmap
from typing import Any, Literal

from lastref._books import Books, CleanupStats, Registration, Runner, is_due, released
from lastref._captures import ATOMIC, CONTAINERS
from lastref._inbox import Barrier, Dropped, Due, Inbox, Wake
from lastref._unraisable import report

LOOK = 1.0
"""Seconds after which whoever waits for workers looks whether there are any."""

AtExit = Literal["queued", "all", "nothing"]

here = threading.local()
"""`running`: this thread can't wait for cleanups. `is_worker`: it is a worker, or its fork."""

referent: Callable[[Any], Any] = weakref.ref.__call__


@contextmanager
def inside() -> Iterator[None]:
    """What runs in here, cleanups and finalizers, can't wait for the cleanups of this thread."""
    before = getattr(here, "running", False)
    here.running = True
    try:
        yield
    finally:
        here.running = before


class _Unknown:
    """In the place of a registration, where no function is known."""

    _func: Any = released
    _arg: Any = None


class Core:
    """One queue. Its registrations keep it alive, not whoever made it."""

    def __init__(self, workers: int, name: str, at_exit: AtExit, patience: float) -> None:
        self.workers = workers
        self.name = name
        self.at_exit = at_exit
        self.patience = patience
        self.inbox = Inbox()
        self.inbox.core = self
        self.put: Callable[[object], None] = self.inbox.put  # one for all: each takes 72 bytes
        self.books = Books()
        # Latest first. A list, since free-threaded builds can't copy a deque that others change.
        self.ready: list[Registration] = []
        # The last registration of a function that holds nothing, by type of its argument.
        self.known: dict[type, Registration] = {}
        self.forget()
        self.barriers: list[Barrier] = []
        self.fetching = False
        self.crew: set[object] = set()  # a token for each worker
        self.generation = 0
        self.owner: Dropped | None = None
        self._make_locks()

    def _make_locks(self) -> None:
        self.gate = threading.Lock()  # held while the process forks
        self.turn = threading.RLock()

    def forget(self) -> None:
        """Know of no function. Usual types have an entry: a `KeyError` takes 300 ns."""
        self.known.clear()
        self.known.update(dict.fromkeys(ATOMIC | CONTAINERS, _Unknown()))

    # From the inbox to `ready`

    def fill(self) -> None:
        """Sleep until something is ready, or until there is reason to look around."""
        with self.gate:
            pass
        with self.turn:
            # Until it sleeps, no finalizer that a collection runs here may move what it sleeps for.
            self.fetching = True
            try:
                if not self.ready and not self.gate.locked():
                    # The step from one to the other is in C, here and below: an exception thrown
                    # into this thread, `KeyboardInterrupt` for one, finds nothing between the two.
                    self.ready.extend(starmap(self.inbox.get, [()]))
            finally:
                self.fetching = False
            self.fetch()

    def fetch(self) -> None:
        """Move what is in the inbox, without sleeping. With `turn` held."""
        if self.fetching:
            return  # a finalizer, run by a collection below, looks into the queue
        self.fetching = True
        try:
            gets = starmap(self.inbox.get_nowait, repeat((), self.inbox.qsize()))
            self.ready[:0] = [*gets][::-1]
        finally:
            self.fetching = False

    def look(self) -> None:
        """The same, unless another thread is at it."""
        taken: list[bool] = []
        try:
            # Taken and noted in one call into C: no signal comes between the two.
            taken.extend(filter(None, map(self.turn.acquire, (False,))))
            if taken:
                with inside():
                    self.fetch()
        finally:
            if taken:
                self.turn.release()

    # Running

    def run(self, runner: Runner, until: Callable[[], bool] | None = None) -> None:
        """Run what is ready, until nothing is, or `until()`."""
        runner.busy = True  # before any pop: a barrier popped after it waits for this runner
        barriers = self.barriers
        done = released
        try:
            for item in runner.pops(self.ready):
                func = item._func
                if func is not done:
                    runner.current = item
                    try:
                        func(item._arg)
                    except BaseException as error:
                        report(error, func)
                        runner.failed += 1
                    item._func = done
                    item._arg = None
                else:  # a barrier, or a handle that was stopped
                    runner.passed += 1
                    try:
                        if isinstance(item, Barrier):
                            self._reach(item, runner)
                    except BaseException:  # a Ctrl-C: whoever waits must not wait for ever
                        self.ready.append(item)
                        raise
                if barriers:
                    self._settle(runner)
                if until is not None and until():
                    break
        except IndexError:  # `ready` is empty
            runner.passed += 1
        runner.current = None
        runner.count()  # a barrier that is popped from here on does not wait for this runner
        runner.busy = False
        if barriers:
            self._settle(runner)
        self.books.sweep_if_due()

    def _reach(self, barrier: Barrier, runner: Runner) -> None:
        try:
            with self.books.lock:
                # In this order. A runner that is seen busy has its last look at `barriers` still
                # before it, and must find this one there; and none opens it meanwhile, as it waits
                # for the runner at hand.
                barrier.running = {runner}
                self.barriers.append(barrier)
                barrier.running |= self.books.busy()
        except BaseException:
            if barrier in self.barriers:
                self.barriers.remove(barrier)
            raise

    def _settle(self, *runners: Runner) -> None:
        """No barrier waits for these runners, between two pops. Open those that wait for nobody."""
        with self.books.lock:
            # Its loops are not here: see `tests/harness/test_bytecode.py`.
            self._open_barriers(runners)

    def _open_barriers(self, runners: tuple[Runner, ...]) -> None:
        for runner in runners:
            runner.count()  # before any opens: who waits for it may look at the counts
        for barrier in self.barriers.copy():
            barrier.running.difference_update(runners)
            if not barrier.running:
                self.barriers.remove(barrier)
                barrier.open()

    def run_here(self, until: Callable[[], bool]) -> int:
        """Run what is queued in this thread, until nothing is, or `until()`; how many ran."""
        runner = self.books.enlist()
        try:
            before = runner.executed
            with inside():
                # Its loop is not here: see `tests/harness/test_bytecode.py`.
                self._run_all(runner, until)
            return runner.executed - before
        finally:
            self.dismiss(runner)

    def _run_all(self, runner: Runner, until: Callable[[], bool]) -> None:
        while not until():
            with self.turn:
                self.fetch()
            if not self.ready:
                break
            self.run(runner, until)

    def dismiss(self, runner: Runner) -> None:
        runner.current = None
        runner.busy = False
        self._settle(runner)
        self.books.dismiss(runner)

    # Workers

    @property
    def threads(self) -> int:
        return len(self.crew)

    def start(self) -> None:
        """Start the workers that do not run yet.

        Without the lock: the new thread may run finalizers that want it before it counts as
        started.
        """
        while self.threads < self.workers:
            token = object()
            args = (self, self.generation, token)
            worker = None
            try:
                worker = threading.Thread(target=_work, args=args, name=self.name, daemon=True)
                if not self._counts(token):
                    break
                worker.start()
            except BaseException as error:
                # One that was interrupted may have started all the same: it counts itself.
                if worker is None or worker.ident is None:
                    self.crew.discard(token)
                if isinstance(error, RuntimeError):
                    # At shutdown, where there are too many threads, and in isolated
                    # sub-interpreters, which have no daemon threads: `drain` and exit run what is
                    # left, and so does a worker that a later registration starts.
                    break
                raise

    def _counts(self, token: object) -> bool:
        """Count one worker more, unless there are enough."""
        with self.books.lock:
            if self.threads >= self.workers:
                return False
            self.crew.add(token)
            return True

    def arrive(self, generation: int, token: object) -> None:
        """Count a worker that runs."""
        with self.books.lock:
            if self.generation == generation:
                self.crew.add(token)

    def end_workers(self, deadline: float) -> None:
        """End the workers for good, and wait for that.

        Where a sub-interpreter that ends has threads, CPython up to 3.13 aborts the process. What
        is registered after this runs at `drain`, if at all.
        """
        with self.books.lock:
            self.workers = 0
            self.generation += 1
            ends = {runner.thread for runner in self.books.runners}
        for _ in range(self.threads):
            self.inbox.put(Wake())
        self.crew.clear()
        for thread in threading.enumerate():
            if thread.ident in ends and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def end_worker(self, runner: Runner, generation: int, token: object) -> bool:
        """Whether a worker that has nothing to run is to end; it then counts as gone."""
        with self.books.lock:
            if self.generation == generation:
                if not self.spent():
                    return False
                self.crew.discard(token)
                self.inbox.put(Wake())  # for the next worker
            self.dismiss(runner)
            return True

    def spent(self) -> bool:
        """Nobody can register here any more, and nothing is left to run."""
        with self.books.lock:
            return (
                self._is_dropped()
                and not self.books.left()
                and not any(isinstance(item, Barrier) for item in self.ready.copy())
                and not self.inbox.qsize()
            )

    def _is_dropped(self) -> bool:
        return self.owner is not None and referent(self.owner) is None

    # Waiting

    def barrier(self) -> Barrier:
        barrier = Barrier()
        with self.books.lock:  # a worker ends only where it sees an empty inbox under the lock
            self.inbox.put(barrier)
        return barrier

    def wait(self, barrier: Barrier, deadline: float | None) -> bool:
        while not barrier.is_open():
            if not self.threads:  # none, or one that could not be started
                self.run_here(lambda: barrier.is_open() or is_past(deadline))
            look = time.monotonic() + LOOK
            if barrier.wait(look if deadline is None else min(look, deadline)):
                break
            if is_past(deadline):
                return False
        return True

    # Books

    def stop(self, item: Registration) -> bool:
        stopped = self.books.stop(item)
        if stopped and self._is_dropped():
            self.inbox.put(Wake())  # it may have been the last
        return stopped

    def claim_all(self) -> None:
        """Queue every registration whose object is alive, the last one first."""
        for item in reversed(self.books.live.copy()):
            obj = referent(item)  # held: see `Cleanup.stop`
            with self.books.lock:
                if obj is not None and is_due(item):
                    self.inbox.put(Due(item._func, item._arg))
                    item._func, item._arg = released, None
            del obj

    def stats(self) -> CleanupStats:
        self.look()
        return self.books.stats(self.ready.copy)

    # Fork

    def inherit(self) -> None:
        """In the child: go on without the threads that are gone."""
        self._make_locks()
        self.books.inherit()
        self.generation += 1
        self.crew = set()
        self.fetching = False
        me = threading.get_ident()
        self.barriers[:] = [barrier for barrier in self.barriers if barrier.thread == me]
        for barrier in self.barriers:
            barrier.running = {runner for runner in barrier.running if runner.busy}
        self._settle()
        self.fetch()
        inherited = self.ready
        self.ready = [
            item
            for item in inherited
            if is_due(item) or (isinstance(item, Barrier) and item.thread == me)
        ]
        inherited.clear()  # a worker that forks in a cleanup ends its run there
        self.forget()  # the next registration starts workers where this does not
        forked_by_worker = getattr(here, "is_worker", False)
        if not forked_by_worker and (self.ready or self.books.left()):
            self.start()


def is_past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _work(core: Core, generation: int, token: object) -> None:
    here.running = here.is_worker = True
    core.arrive(generation, token)
    runner = core.books.enlist()
    while True:
        try:
            core.run(runner)
            if core.end_worker(runner, generation, token):
                break
            core.fill()
        except BaseException as error:  # out of memory, or thrown into this thread
            report(error, core.run)
