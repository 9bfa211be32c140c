"""Where cleanups run: workers, failures, draining, queues that are dropped."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from deathwatch import assert_dies, collect
from lastref._queue import Core
from lastref.cleanup import CleanupQueue, add_cleanup, cleanup_stats, drain

PYPY = sys.implementation.name == "pypy"
DEADLINE = 120.0


class Victim:
    pass


def register(queue: CleanupQueue | None, func: Callable[[Any], object], arg: Any) -> None:
    """Register on a victim that dies with this frame."""
    add_cleanup(Victim(), func, arg, queue=queue)


def settle() -> None:
    if PYPY:
        collect()


class Gate:
    """A cleanup that blocks until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()

    def __call__(self, arg: object) -> None:
        self.entered.set()
        assert self.go.wait(DEADLINE)


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[type, str | None]]:
    """What reaches `sys.unraisablehook`: kind and name of the function, never the objects."""
    seen: list[tuple[type, str | None]] = []

    def hook(args: Any) -> None:
        seen.append((args.exc_type, getattr(args.object, "__name__", None)))

    monkeypatch.setattr(sys, "unraisablehook", hook)
    return seen


# Failures


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_exception_is_reported_and_counted_and_ends_nothing(
    kind: type[BaseException], workers: int, reported: list[tuple[type, str | None]]
) -> None:
    """C15: in Go a panic in a cleanup ends the program; here the worker goes on."""
    queue = CleanupQueue(workers=workers)
    seen: list[int] = []
    for i in range(5):
        register(queue, fail, kind())
        register(queue, seen.append, i)
    settle()
    assert queue.drain(DEADLINE)
    assert sorted(seen) == list(range(5))
    assert reported == [(kind, "fail")] * 5
    assert queue.stats() == (10, 0, 10, 10, 5)


def test_a_broken_hook_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """C15: what the hook raises is dropped, and the interpreter's own hook is asked."""

    def hook(args: object) -> None:
        raise SystemExit

    monkeypatch.setattr(sys, "unraisablehook", hook)
    queue = CleanupQueue()
    seen: list[int] = []
    register(queue, fail, ValueError("the cleanup's own"))
    register(queue, seen.append, 1)
    settle()
    assert queue.drain(DEADLINE)
    assert seen == [1]
    assert "the cleanup's own" in capsys.readouterr().err


def test_an_exception_shows_its_traceback_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """C15: as an exception in `__del__` does."""
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    queue = CleanupQueue(workers=0)
    register(queue, fail, ValueError("seen"))
    settle()
    assert queue.run_pending() == 1
    text = capsys.readouterr().err
    assert "Exception ignored in cleanup" in text
    assert "<function fail" in text
    assert "in fail" in text
    assert "ValueError: seen" in text


class Held:
    def __call__(self, arg: object) -> None: ...

    def fail(self, arg: object) -> None:
        local = Held()
        keep.append(weakref.ref(local))
        raise ValueError(local)


keep: list[weakref.ref[Any]] = []


@pytest.mark.parametrize("what", ["func", "arg", "error"])
def test_a_worker_that_waits_keeps_nothing_of_the_last_cleanup(
    what: str, reported: list[tuple[type, str | None]]
) -> None:
    """C12: not the function, not the argument, not the exception with its frames."""
    queue = CleanupQueue()
    keep.clear()

    def make() -> None:
        held = Held()
        keep.append(weakref.ref(held))
        func = held if what == "func" else held.fail if what == "error" else id
        register(queue, func, held if what == "arg" else 1)

    make()
    settle()
    assert queue.drain(DEADLINE)
    end = time.monotonic() + DEADLINE
    while any(wr() for wr in keep) and time.monotonic() < end:
        settle()
        time.sleep(0.001)  # the worker may still be on its way to its sleep
    assert [wr() for wr in keep] == [None] * len(keep)
    assert len(keep) == (2 if what == "error" else 1)


# Draining


def test_drain_waits_for_what_runs() -> None:
    """Not only for what waits."""
    queue, gate = CleanupQueue(), Gate()
    register(queue, gate, None)
    settle()
    assert gate.entered.wait(DEADLINE)
    assert queue.drain(0.01) is False
    gate.go.set()
    assert queue.drain(DEADLINE) is True


def test_drain_waits_for_every_worker() -> None:
    """What was queued before has run, in whichever thread."""
    queue = CleanupQueue(workers=3)
    gates = [Gate() for _ in range(2)]
    for gate in gates:
        register(queue, gate, None)
    settle()
    for gate in gates:
        assert gate.entered.wait(DEADLINE)
    done: list[int] = []
    register(queue, done.append, 1)  # the third worker's
    settle()
    for gate in gates:
        assert queue.drain(0.01) is False
        gate.go.set()
    assert queue.drain(DEADLINE) is True
    assert queue.stats() == (3, 0, 3, 3, 0)


def test_drain_does_not_wait_for_what_is_queued_later() -> None:
    """A queue that never comes to rest is drained all the same."""
    queue = CleanupQueue()
    stop = threading.Event()

    def again(_: object) -> None:
        if not stop.is_set():
            register(queue, again, None)
            settle()

    register(queue, again, None)
    settle()
    for _ in range(10):
        assert queue.drain(DEADLINE)
    stop.set()
    assert queue.drain(DEADLINE)


def test_the_drain_of_a_queue_without_workers_ends_too() -> None:
    """It runs what was queued when it was called, and not what that queues."""
    queue = CleanupQueue(workers=0)

    def again(_: object) -> None:
        register(queue, again, None)
        settle()

    register(queue, again, None)
    settle()
    assert queue.drain(DEADLINE)
    assert queue.stats().executed >= 1


@pytest.mark.parametrize("timeout", [0, -1, 0.0, 1e30, float("inf"), None])
def test_a_drain_of_nothing_is_true_whatever_the_timeout(timeout: float | None) -> None:
    """Also before any worker runs. Zero may be too short where a worker must answer."""
    assert CleanupQueue().drain(timeout) in ((True,) if timeout is None else (True, False))
    assert CleanupQueue().drain(timeout) is True or timeout is not None


def test_draining_from_a_cleanup_is_an_error_not_a_deadlock(
    reported: list[tuple[type, str | None]],
) -> None:
    """Whatever queue the cleanup is of, and whatever queue is drained."""
    for queue in (CleanupQueue(), CleanupQueue(workers=0)):
        for wait in (drain, queue.drain, CleanupQueue().drain):

            def cleanup(timeout: float, wait: Callable[[float], bool] = wait) -> None:
                wait(timeout)

            register(queue, cleanup, DEADLINE)
            settle()
            assert queue.drain(DEADLINE)
    assert reported == [(RuntimeError, "cleanup")] * 6
    assert drain(DEADLINE)  # and allowed again outside


def test_draining_everything_covers_every_queue() -> None:
    """Those without workers run here."""
    seen: list[int] = []
    queues = [CleanupQueue(), CleanupQueue(workers=2), CleanupQueue(workers=0), None]
    for i, queue in enumerate(queues):
        register(queue, seen.append, i)
    settle()
    assert drain(DEADLINE)
    assert sorted(seen) == [0, 1, 2, 3]


# Queues without workers


def test_nothing_runs_by_itself_without_workers() -> None:
    """And what runs, runs in the calling thread."""
    queue = CleanupQueue(workers=0)
    threads: list[int] = []
    for _ in range(3):
        register(queue, lambda _: threads.append(threading.get_ident()), None)
    settle()
    assert threads == []
    assert queue.run_pending() == 3
    assert threads == [threading.get_ident()] * 3
    assert queue.run_pending() == 0


def test_run_pending_is_for_queues_without_workers() -> None:
    """One with workers is drained."""
    with pytest.raises(RuntimeError, match="run in its workers"):
        CleanupQueue().run_pending()


def test_the_timeout_of_a_drain_in_the_calling_thread_is_looked_at_between_cleanups() -> None:
    """What was not run stays queued."""
    queue = CleanupQueue(workers=0)
    for _ in range(5):
        register(queue, time.sleep, 0.01)
    settle()
    assert queue.drain(0.015) is False
    assert 0 < queue.stats().executed < 5
    assert queue.drain() is True
    assert queue.stats() == (5, 0, 5, 5, 0)


def test_an_event_loop_runs_its_own_cleanups() -> None:
    """With `workers=0`, in the loop's thread, where the cleanup may touch the loop."""
    queue = CleanupQueue(workers=0)

    async def main() -> list[asyncio.AbstractEventLoop]:
        loops: list[asyncio.AbstractEventLoop] = []
        done = asyncio.Event()

        def cleanup(_: object) -> None:
            loops.append(asyncio.get_running_loop())
            done.set()

        async def run_cleanups() -> None:
            while True:
                queue.run_pending()
                await asyncio.sleep(0.001)

        task = asyncio.create_task(run_cleanups())
        register(queue, cleanup, None)
        settle()
        await asyncio.wait_for(done.wait(), DEADLINE)
        task.cancel()
        return [*loops, asyncio.get_running_loop()]

    first, second = asyncio.run(main())
    assert first is second


def test_several_threads_may_run_one_queue() -> None:
    """Each cleanup runs once."""
    queue = CleanupQueue(workers=0)
    seen: list[int] = []
    for i in range(2000):
        register(queue, seen.append, i)
    settle()
    ran: list[int] = []
    threads = [threading.Thread(target=lambda: ran.append(queue.run_pending())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.drain(DEADLINE)
    assert sorted(seen) == list(range(2000))
    assert sum(ran) == 2000
    assert queue.stats() == (2000, 0, 2000, 2000, 0)


# Queues that are dropped


def workers_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + DEADLINE
    while not condition() and time.monotonic() < end:
        settle()
        time.sleep(0.001)
    return condition()


def test_a_dropped_queue_runs_what_is_registered_and_its_workers_end() -> None:
    """No thread leaks, however many queues there were."""
    seen: list[int] = []
    victims = [Victim() for _ in range(10)]

    def make(name: str) -> None:
        queue = CleanupQueue(workers=3, name=name)
        for i, victim in enumerate(victims):
            add_cleanup(victim, seen.append, i, queue=queue)

    make("dropped")
    collect()
    assert drain(DEADLINE)
    assert len(workers_of("dropped")) == 3
    victims.clear()
    collect()
    assert until(lambda: len(seen) == 10)
    assert sorted(seen) == list(range(10))
    assert until(lambda: not workers_of("dropped"))


def test_an_idle_queue_that_is_dropped_ends_its_workers_at_once() -> None:
    """Whether they ever ran anything or not."""

    def make(name: str, seen: list[int]) -> None:
        queue = CleanupQueue(workers=2, name=name)
        register(queue, seen.append, 1)
        settle()
        assert queue.drain(DEADLINE)
        assert len(workers_of(name)) == 2

    seen: list[int] = []
    make("idle", seen)
    collect()
    assert until(lambda: not workers_of("idle"))
    assert seen == [1]


def test_stopping_the_last_cleanup_of_a_dropped_queue_ends_its_workers() -> None:
    """Nothing can be queued there any more."""
    victim = Victim()

    def make() -> Any:
        return add_cleanup(victim, id, 1, queue=CleanupQueue(workers=2, name="stopped"))

    cleanup = make()
    collect()
    assert drain(DEADLINE)
    assert len(workers_of("stopped")) == 2
    assert cleanup.stop()
    assert until(lambda: not workers_of("stopped"))


def test_a_queue_without_workers_that_is_dropped_is_run_by_drain() -> None:
    """There is nobody else."""
    seen: list[int] = []

    def make() -> None:
        register(CleanupQueue(workers=0), seen.append, 1)

    make()
    collect()
    assert seen == []
    assert drain(DEADLINE)
    assert seen == [1]


def test_a_dropped_queue_is_let_go() -> None:
    """With all that it needed."""

    def make() -> object:
        queue = CleanupQueue(workers=2)
        register(queue, id, 1)
        settle()
        assert queue.drain(DEADLINE)
        core = queue._core
        del queue
        collect()
        assert until(lambda: core.threads == 0)
        cleanup_stats()
        CleanupQueue(workers=0)  # forgets those that are spent
        return core

    assert_dies(make)


def test_dropped_queues_still_count() -> None:
    """`cleanup_stats` is monotonic: a queue takes its figures with it nowhere."""
    before = cleanup_stats()

    def make(workers: int) -> None:
        queue = CleanupQueue(workers=workers)
        register(queue, id, 1)
        settle()
        assert queue.drain(DEADLINE)

    for workers in (0, 1, 2):
        make(workers)
    for _ in range(3):
        collect()
        CleanupQueue(workers=0)
        after = cleanup_stats()
        assert [b - a for a, b in zip(before, after, strict=True)] == [3, 0, 3, 3, 0]


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [({"workers": -1}, "workers must be at least 0"), ({"at_exit": "never"}, "at_exit must be")],
)
def test_a_queue_refuses_what_it_can_not_do(kwargs: Any, named: str) -> None:
    """At the call."""
    with pytest.raises(ValueError, match=named):
        CleanupQueue(**kwargs)


def test_a_worker_survives_an_exception_thrown_into_it(
    reported: list[tuple[type, str | None]],
) -> None:
    """By whoever throws into threads, wherever that hits it."""
    ctypes = pytest.importorskip("ctypes")
    if PYPY:
        pytest.skip("no PyThreadState_SetAsyncExc")
    queue = CleanupQueue(name="hit")
    seen: list[int] = []
    register(queue, seen.append, 0)
    assert queue.drain(DEADLINE)
    (worker,) = workers_of("hit")
    for i in range(1, 20):
        set_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
        assert set_exc(ctypes.c_ulong(worker.ident), ctypes.py_object(SystemExit)) == 1
        register(queue, seen.append, i)  # wakes it into the exception
        assert queue.drain(DEADLINE)
    assert worker.is_alive()
    assert seen == list(range(20))
    assert {kind for kind, _ in reported} == {SystemExit}


def test_a_thread_that_could_not_be_started_is_started_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also for a function that is known by then to hold nothing."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    queue = CleanupQueue()
    ran: list[int] = []
    monkeypatch.setattr(threading.Thread, "start", refuse)
    victims = [Victim(), Victim()]
    add_cleanup(victims[0], ran.append, 0, queue=queue)
    monkeypatch.setattr(threading.Thread, "start", start)
    add_cleanup(victims[1], ran.append, 1, queue=queue)
    victims.clear()
    collect()
    assert until(lambda: sorted(ran) == [0, 1])


def test_an_interrupted_start_counts_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the first registration: the next one starts the worker."""
    start = threading.Thread.start

    def interrupt(thread: threading.Thread) -> None:
        raise KeyboardInterrupt

    queue = CleanupQueue()
    victim = Victim()
    ran: list[int] = []
    monkeypatch.setattr(threading.Thread, "start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        add_cleanup(victim, ran.append, 0, queue=queue)
    monkeypatch.setattr(threading.Thread, "start", start)
    add_cleanup(victim, ran.append, 1, queue=queue)
    del victim
    collect()
    assert queue.drain(60)
    assert ran == [1]


def test_a_worker_falls_asleep_beside_nothing_that_waits() -> None:
    """A finalizer that looks into the queue just before must not move what it would wake for."""
    queue = CleanupQueue()
    core = queue._core
    victims = [Victim(), Victim()]
    ran: list[int] = []
    add_cleanup(victims[0], ran.append, 0, queue=queue)
    inbox = core.inbox

    class Looking:
        """An inbox in which another death arrives, and somebody looks, before each sleep."""

        core = inbox.core

        def get(self) -> Any:
            if len(victims) == 1 and ran:
                victims.clear()
                collect()
                core.look()
            return inbox.get()

        get_nowait = staticmethod(inbox.get_nowait)
        put = staticmethod(inbox.put)
        qsize = staticmethod(inbox.qsize)

    add_cleanup(victims[1], ran.append, 1, queue=queue)
    core.inbox = Looking()
    del victims[0]
    collect()
    assert until(lambda: ran == [0, 1])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: CleanupQueue(workers=1.5), "workers must be a whole number, not 'float'"),
        (lambda: CleanupQueue(patience="x"), "patience must be seconds, not 'str'"),
        (lambda: add_cleanup(Victim(), print, 1, queue=5), "must be a CleanupQueue, not 'int'"),
        # as arguments are given to `weakref.finalize`
        (lambda: add_cleanup(Victim(), print, 1, "two"), "must be a CleanupQueue, not 'str'"),
    ],
)
def test_what_is_no_number_and_no_queue_is_refused(call: Callable[[], object], said: str) -> None:
    """At the call, naming the type."""
    with pytest.raises(TypeError, match=said):
        call()


INTERRUPTED_LOOK = """
import signal, threading
from lastref.cleanup import CleanupQueue

core = CleanupQueue(workers=0)._core

def interrupt(*_):
    raise KeyboardInterrupt

def look():  # a function: its own loop's jump back is in no exception table
    signal.setitimer(signal.ITIMER_REAL, 3e-4)
    while True:
        core.look()

def is_free():
    found = []
    def take():
        found.extend(map(core.turn.acquire, (True,), (1.0,)))
        core.turn.release()
    other = threading.Thread(target=take)
    other.start()
    other.join()
    return found == [True]

signal.signal(signal.SIGALRM, interrupt)
for number in range(300):
    try:
        look()
    except KeyboardInterrupt:
        pass
    assert is_free(), f"held after {number + 1} interrupts"
print("done")
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this platform")
@pytest.mark.skipif(
    PYPY, reason="handles signals between any two bytecodes, those of a finally too"
)
def test_an_interrupted_look_lets_go_of_the_queue(run_python: Any) -> None:
    """Before it took the lock and noted that in one step, one interrupt in ten left it held."""
    done = run_python(INTERRUPTED_LOOK)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


INTERRUPTED_RUN = """
import signal, sys
from lastref.cleanup import CleanupQueue, add_cleanup

class Victim:
    pass

def interrupt(*_):
    interrupts.append(None)
    raise KeyboardInterrupt

def run(before):  # a function: its own loop's jump back is in no exception table
    signal.setitimer(signal.ITIMER_REAL, 3e-4)
    while len(interrupts) == before:  # what comes in the middle of a cleanup is reported
        queue.run_pending()
        for i in range(20):
            victim = Victim()
            handle = add_cleanup(victim, ran.append, None, queue=queue)
            if i % 3 == 0:
                handle.stop()
            del victim

queue, ran, interrupts = CleanupQueue(workers=0), [], []
sys.unraisablehook = lambda _: None  # one that was interrupted
signal.signal(signal.SIGALRM, interrupt)
for _ in range(500):
    try:
        run(len(interrupts))
    except KeyboardInterrupt:
        pass
queue.run_pending()
stats = queue.stats()
assert stats.executed == stats.queued == len(ran), (stats, len(ran))
assert stats.registered == stats.executed + stats.stopped, stats
print("done")
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this platform")
@pytest.mark.skipif(PYPY, reason="handles signals between any two bytecodes")
def test_what_an_interrupted_run_has_run_is_counted(run_python: Any) -> None:
    """Nothing runs twice or is left out, and the counts are right in the end."""
    done = run_python(INTERRUPTED_RUN)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_barrier_survives_an_interrupt() -> None:
    """At whatever line of its being noted: `drain` in another thread still returns."""
    code = Core._reach.__code__
    hit = 0
    for line in sorted({line for _, _, line in code.co_lines() if line}):
        queue = CleanupQueue(workers=0)
        barrier = queue._core.barrier()

        def interrupt(frame: FrameType, event: str, arg: object, line: int = line) -> Any:
            if frame.f_code is not code:
                return interrupt if event == "call" else None
            if frame.f_lineno == line:
                sys.settrace(None)
                raise KeyboardInterrupt
            return interrupt

        trace = sys.gettrace()
        sys.settrace(interrupt)
        try:
            queue.run_pending()
        except KeyboardInterrupt:
            hit += 1
        finally:
            sys.settrace(trace)
        queue.run_pending()
        assert barrier.is_open(), line
        assert queue.drain(timeout=30)
        assert queue._core.barriers == []
        assert not queue._core.books.lock._is_owned()  # type: ignore[attr-defined]
    assert hit >= 5  # its first line, and those of its `with` block
