"""Parent and child both run their cleanups, once each. Each script has a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

WITH_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")

PROLOGUE = """
import contextlib, gc, os, signal, sys, threading, time, warnings
from lastref.cleanup import CleanupQueue, add_cleanup, cleanup_stats, drain

warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads: 3.12 and later warn
DEADLINE = 60.0

class Victim:
    pass

def settle():
    if sys.implementation.name == "pypy":
        for _ in range(3):
            gc.collect()

def until(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)

def check(**what):
    if not all(what.values()):
        print("pid", os.getpid(), what, cleanup_stats(), file=sys.stderr, flush=True)
        os._exit(1)

def in_child(work):
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(int(DEADLINE))  # a child that hangs dies of it
    try:
        work()
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(2)
    os._exit(0)

def join(pid):
    assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.fixture
def script(run_python: Any) -> Any:
    """Run a script after the prologue, and demand a clean end."""

    def run(body: str) -> None:
        import textwrap

        done = run_python(PROLOGUE + textwrap.dedent(body))
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        assert done.stdout == "done\n"

    return run


def test_what_is_alive_at_the_fork_is_cleaned_up_on_both_sides(script: Any) -> None:
    """The child starts a worker of its own, though nothing is registered there."""
    script(
        """
        seen = []
        victims = [Victim() for _ in range(10)]
        for i, victim in enumerate(victims):
            add_cleanup(victim, seen.append, i)
        del victim

        def child():
            check(nothing_yet=seen == [])
            victims.clear()
            settle()
            until(lambda: len(seen) == 10)  # without drain: by the child's own worker
            check(drained=drain(DEADLINE), once=sorted(seen) == list(range(10)))
            check(stats=cleanup_stats() == (10, 0, 10, 10, 0))

        join(in_child(child))
        assert seen == []
        victims.clear()
        settle()
        assert drain(DEADLINE) and sorted(seen) == list(range(10))
        assert cleanup_stats() == (10, 0, 10, 10, 0)
        print("done")
        """
    )


def test_what_is_queued_at_the_fork_runs_on_both_sides(script: Any) -> None:
    """What a thread of the parent was running is the parent's alone: nothing waits for it."""
    script(
        """
        queue = CleanupQueue()
        seen, entered, go = [], threading.Event(), threading.Event()

        def block(_):
            entered.set()
            assert go.wait(DEADLINE)
            seen.append("blocked")

        def register(func, arg):
            add_cleanup(Victim(), func, arg, queue=queue)

        register(block, None)
        settle()
        assert entered.wait(DEADLINE)
        for i in range(10):
            register(seen.append, i)
        settle()
        assert queue.stats() == (11, 0, 11, 0, 0)

        def child():
            check(drained=queue.drain(DEADLINE), inherited=sorted(seen) == list(range(10)))
            check(stats=queue.stats() == (11, 0, 11, 10, 0))  # one was lost with its thread
            register(seen.append, 10)
            settle()
            check(drained=queue.drain(DEADLINE), next=seen[-1] == 10)
            check(stats=queue.stats() == (12, 0, 12, 11, 0))

        join(in_child(child))
        go.set()
        assert queue.drain(DEADLINE)
        assert seen[0] == "blocked" and sorted(seen[1:]) == list(range(10))
        assert queue.stats() == (11, 0, 11, 11, 0)
        print("done")
        """
    )


def test_a_lost_cleanup_keeps_nothing_alive_in_the_child(script: Any) -> None:
    """Function and argument of what the parent's thread was running are released there."""
    script(
        """
        import weakref
        entered, go = threading.Event(), threading.Event()

        class Argument:
            pass

        def block(argument):
            del argument
            entered.set()
            assert go.wait(DEADLINE)

        def make():
            argument = Argument()
            add_cleanup(Victim(), block, argument)
            return weakref.ref(argument)

        wr = make()
        settle()
        assert entered.wait(DEADLINE)

        def child():
            from lastref import cleanup
            items = [item for item in cleanup._default.books.live if item._arg is not None]
            check(released=not items)
        join(in_child(child))
        go.set()
        assert drain(DEADLINE)
        print("done")
        """
    )


@pytest.mark.skipif(
    not WITH_GIL or sys.implementation.name == "pypy",
    reason="a collection starts elsewhere, and locks stay held beside busy threads",
)
def test_a_worker_that_collects_between_two_pops_leaves_the_child_its_count(script: Any) -> None:
    """On 3.11 the exception that ends its run may start a collection, and that a finalizer.

    With one too many counted as run the child would see nothing left to wait for.
    """
    script(
        """
        entered, go, seen = threading.Event(), threading.Event(), []

        class Slow:
            def __del__(self):
                if threading.current_thread() is not threading.main_thread():
                    entered.set()
                    assert go.wait(DEADLINE)

        def drop(_):
            slow = Slow()
            slow.me = slow
            del slow
            gc.set_threshold(1)

        gc.collect()
        gc.set_threshold(1_000_000)
        alive = Victim()
        add_cleanup(alive, seen.append, "alive")
        add_cleanup(Victim(), drop, None)
        assert entered.wait(DEADLINE)
        gc.set_threshold(1_000_000)

        def child():
            global alive
            from lastref import cleanup
            check(left=cleanup._default.books.left() == 1)
            del alive
            until(lambda: seen == ["alive"])  # without drain: by the child's own worker
            stats = cleanup_stats()
            check(stats=stats.executed <= stats.queued <= 2)
        join(in_child(child))
        go.set()
        assert drain(DEADLINE)
        print("done")
        """
    )


def test_handles_work_in_the_child(script: Any) -> None:
    """Stopping there stops there."""
    script(
        """
        seen = []
        victim = Victim()
        cleanups = [add_cleanup(victim, seen.append, i) for i in range(3)]

        def child():
            global victim
            check(stopped=cleanups[0].stop(), again=not cleanups[0].stop())
            victim = None
            settle()
            check(drained=drain(DEADLINE), seen=sorted(seen) == [1, 2])
            check(late=not cleanups[1].stop())

        join(in_child(child))
        victim = None
        settle()
        assert drain(DEADLINE) and sorted(seen) == [0, 1, 2]
        print("done")
        """
    )


@pytest.mark.parametrize(
    "workers",
    [
        0,
        1,
        pytest.param(
            3,
            marks=pytest.mark.skipif(
                not WITH_GIL, reason="three workers contend for one list, and never quite rest"
            ),
        ),
    ],
)
def test_many_forks_beside_busy_threads_lose_nothing_and_never_hang(
    script: Any, workers: int
) -> None:
    """Forks at any moment of other threads' registering, dying, stopping, running and counting.

    On free-threaded builds those threads and the workers rest while the process forks: there the
    child of a plain `list.append` beside threads that append hangs too, in 3 of 48 forks on
    3.13.15, on the list's own lock.
    """
    script(
        f"""
        workers = {workers}
        sys.setswitchinterval(1e-4)
        queue = CleanupQueue(workers=workers)
        end = threading.Event()
        """
        """
        with_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        resting = contextlib.nullcontext() if with_gil else threading.Lock()

        def churn():
            while not end.is_set():
                with resting:
                    for _ in range(20):
                        victim = Victim()
                        add_cleanup(victim, id, 1, queue=queue)
                        add_cleanup(victim, id, 2)
                        other = add_cleanup(victim, len, "", queue=queue)
                        other.stop()
                        del victim
                    queue.stats()
                    if not workers:
                        queue.run_pending()
                    settle()

        threads = [threading.Thread(target=churn, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()

        for round in range(40):
            seen = []
            victims = [Victim() for _ in range(20)]
            for i, victim in enumerate(victims):
                add_cleanup(victim, seen.append, i, queue=queue if i % 2 else None)
            del victim

            def child():
                check(nothing_yet=seen == [])
                victims.clear()
                settle()
                check(drained=drain(DEADLINE), once=sorted(seen) == list(range(20)))
                stats = queue.stats()
                check(books=stats.executed <= stats.queued <= stats.executed + max(workers, 3))
                add_cleanup(Victim(), seen.append, 20, queue=queue)
                settle()
                check(drained=queue.drain(DEADLINE), next=seen[-1] == 20)

            with resting:
                with_gil or drain(DEADLINE)
                pid = in_child(child)
            join(pid)
            victims.clear()
            settle()
            # PyPy may have another thread in the middle of calling back what this one collected.
            until(lambda: drain(DEADLINE) and len(seen) == 20)
            assert sorted(seen) == list(range(20))
        end.set()
        for thread in threads:
            thread.join()
        settle()
        assert drain(DEADLINE)
        stats = queue.stats()
        assert stats.registered == stats.stopped + stats.queued, stats
        assert stats.queued == stats.executed, stats
        print("done")
        """
    )


def test_the_child_of_a_child_is_none_the_worse(script: Any) -> None:
    """Forks of forks, each with a death of its own on the way."""
    script(
        """
        seen = []
        kept = [Victim() for _ in range(5)]
        for i, victim in enumerate(kept):
            add_cleanup(victim, seen.append, i)
        del victim

        def generation():
            if not kept:
                return
            before = len(seen)
            kept.pop()
            settle()
            check(drained=drain(DEADLINE), one=len(seen) == before + 1)
            join(in_child(generation))

        generation()
        assert len(seen) == 1
        print("done")
        """
    )


def test_a_cleanup_may_fork(script: Any) -> None:
    """In the child the forking cleanup goes on, as any thread does; the worker is gone after it."""
    script(
        """
        seen, pids = [], []

        def fork_and_come_back(_):
            pids.append(os.fork())  # the child returns into the worker, and ends there
            seen.append(pids[-1] != 0)

        add_cleanup(Victim(), fork_and_come_back, None)
        add_cleanup(Victim(), seen.append, "next")
        settle()
        assert drain(DEADLINE)
        assert seen == [True, "next"], seen
        join(pids[0])
        print("done")
        """
    )


def test_a_cleanup_that_the_main_thread_runs_may_fork(script: Any) -> None:
    """A drain that was under way in the forking thread ends on both sides."""
    script(
        """
        queue = CleanupQueue(workers=0)
        seen, pids = [], []

        def fork(_):
            pids.append(os.fork())

        add_cleanup(Victim(), fork, None, queue=queue)
        add_cleanup(Victim(), seen.append, 1, queue=queue)
        settle()
        assert queue.drain(DEADLINE)
        assert queue.stats() == (2, 0, 2, 2, 0), queue.stats()
        assert seen == [1]
        if pids[0] == 0:
            os._exit(0)
        join(pids[0])
        print("done")
        """
    )


def test_a_drain_of_another_thread_does_not_reach_into_the_child(script: Any) -> None:
    """Nor does the child run its barriers, or hang on its locks."""
    script(
        """
        queue = CleanupQueue()
        entered, go = threading.Event(), threading.Event()
        drained = []

        def block(_):
            entered.set()
            assert go.wait(DEADLINE)

        add_cleanup(Victim(), block, None, queue=queue)
        settle()
        assert entered.wait(DEADLINE)
        thread = threading.Thread(target=lambda: drained.append(queue.drain(DEADLINE)))
        thread.start()
        time.sleep(0.05)

        def child():
            check(drained=queue.drain(DEADLINE), all=drain(DEADLINE), theirs=drained == [])

        join(in_child(child))
        go.set()
        thread.join()
        assert drained == [True]
        print("done")
        """
    )


def test_a_child_that_exits_runs_what_was_queued_there(run_python: Any) -> None:
    """By its own exit, and the parent by its own: twice in all."""
    import textwrap

    done = run_python(
        PROLOGUE
        + textwrap.dedent(
            """
            queue = CleanupQueue(workers=0)
            add_cleanup(Victim(), lambda _: os.write(1, b"ran\\n"), None, queue=queue)
            settle()
            pid = os.fork()
            if pid:
                join(pid)
            """
        )
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "ran\nran\n")


def test_multiprocessing_by_fork_has_its_cleanups(script: Any) -> None:
    """The usual way to fork."""
    script(
        """
        import multiprocessing
        context = multiprocessing.get_context("fork")
        seen = []
        victim = Victim()
        add_cleanup(victim, seen.append, 1)

        def work(pipe):
            global victim
            victim = None
            settle()
            pipe.send((drain(DEADLINE), seen))

        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs,))
        process.start()
        assert ours.recv() == (True, [1])
        process.join()
        assert process.exitcode == 0 and seen == []
        print("done")
        """
    )


VICTIM = """
import os, random, signal, threading, time
import lastref

class Victim:
    pass

done = []
victim = Victim()
lastref.add_cleanup(victim, done.append, 0)
"""

INTERRUPTED = f"""{VICTIM}
ballast = bytearray(100_000_000)  # so that a fork takes its time
fired = True

def interrupt(*_):
    global fired
    fired = True
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)

def fork():  # a function: CPython leaves a loop's jump back out of the `try` that it stands in
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 4e-3))
    if os.fork() == 0:
        os._exit(0)
    while not fired:
        time.sleep(0.001)

for number in range(200):
    fired = False
    try:
        fork()
    except KeyboardInterrupt:
        pass
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        pass
del victim
import gc; gc.collect()
assert lastref.drain(20), "the queue is held for ever"
assert done == [0]
print("done")
"""

IN_A_HANDLER = f"""{VICTIM}
main = os.getpid()

def fork(*_):
    if os.fork() == 0:
        os._exit(0)
    os.wait()

signal.signal(signal.SIGUSR1, fork)

def disturb():
    for _ in range(60):
        time.sleep(0.01)
        os.kill(main, signal.SIGUSR1)

disturbing = threading.Thread(target=disturb)
disturbing.start()
while disturbing.is_alive():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass
del victim
import gc; gc.collect()
assert lastref.drain(20), "the queue is held for ever"
assert done == [0]
print("done")
"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            INTERRUPTED,
            id="exception",
            marks=pytest.mark.skipif(
                sys.implementation.name == "pypy",
                reason="PyPy raises between any two steps, of both hooks that let go, too: a lock"
                " may stay held, as `CleanupQueue` says",
            ),
        ),
        pytest.param(IN_A_HANDLER, id="fork"),
    ],
)
def test_a_signal_in_the_middle_of_a_fork_leaves_no_queue_held(code: str) -> None:
    """An exception in any line of the hooks, or another fork: the queues go on (C2)."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "done\n", done.stderr[-2000:]
