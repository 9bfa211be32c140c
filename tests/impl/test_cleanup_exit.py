"""What a normal exit of the interpreter runs, and what it says when something does not end."""

from __future__ import annotations

import sys
import sysconfig
import textwrap
from typing import Any

import pytest

PYPY = sys.implementation.name == "pypy"
NO_THREADS_AT_EXIT = sys.version_info[:2] == (3, 12) and not PYPY

PROLOGUE = """
import gc, os, sys, threading, time
from lastref.cleanup import CleanupQueue, add_cleanup, drain

class Victim:
    pass

def say(text):
    os.write(1, text.encode() + b"\\n")

def settle():
    if sys.implementation.name == "pypy":
        for _ in range(3):
            gc.collect()

"""


@pytest.fixture
def script(run_python: Any) -> Any:
    """What a script said on stdout until its end, and on stderr."""

    def run(body: str) -> tuple[list[str], str]:
        done = run_python(PROLOGUE + textwrap.dedent(body))
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), done.stderr

    return run


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_what_was_queued_is_run_and_what_is_alive_is_not(script: Any, workers: int) -> None:
    """The default."""
    out, err = script(
        f"""
        queue = CleanupQueue(workers={workers})
        alive = Victim()
        add_cleanup(alive, say, "alive", queue=queue)
        for i in range(3):
            add_cleanup(Victim(), say, f"queued {{i}}", queue=queue)
        settle()
        """
    )
    assert (sorted(out), err) == (["queued 0", "queued 1", "queued 2"], "")


def test_the_default_queue_too(script: Any) -> None:
    """With a worker that has more to do than it can before the end."""
    out, err = script(
        """
        def slowly(text):
            time.sleep(0.01)
            say(text)

        for i in range(20):
            add_cleanup(Victim(), slowly, f"queued {i}")
        settle()
        """
    )
    assert (len(out), err) == (20, "")


def test_a_busy_worker_is_waited_for(script: Any) -> None:
    """As long as cleanups end, in however long that takes: here thrice the patience in all."""
    out, err = script(
        """
        queue = CleanupQueue(patience=1.0)
        for i in range(6):
            add_cleanup(Victim(), lambda i: (time.sleep(0.5), say(str(i))), i, queue=queue)
        settle()
        """
    )
    assert (sorted(out), err) == (["0", "1", "2", "3", "4", "5"], "")


@pytest.mark.parametrize("workers", [0, 1])
def test_all_is_run_where_that_was_asked_for(script: Any, workers: int) -> None:
    """Each once, what is queued and what is alive, also what a stop comes too late for."""
    out, err = script(
        f"""
        queue = CleanupQueue(workers={workers}, at_exit="all")
        alive = [Victim() for _ in range(3)]
        for i, victim in enumerate(alive):
            cleanup = add_cleanup(victim, say, f"alive {{i}}", queue=queue)
        cleanup.stop()
        add_cleanup(Victim(), say, "queued", queue=queue)
        add_cleanup(alive[0], lambda _: say(str(handle.stop())), None, queue=queue)
        handle = add_cleanup(alive[0], say, "last", queue=queue)
        settle()
        """
    )
    assert (sorted(out), err) == (["False", "alive 0", "alive 1", "last", "queued"], "")


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_is_run_where_that_was_asked_for(script: Any, workers: int) -> None:
    """Not even what was queued behind a cleanup that runs."""
    out, err = script(
        f"""
        queue = CleanupQueue(workers={workers}, at_exit="nothing")
        entered = threading.Event()

        def block(_):
            entered.set()
            threading.Event().wait()

        add_cleanup(Victim(), block, None, queue=queue)
        add_cleanup(Victim(), say, "queued", queue=queue)
        settle()
        if {workers}:
            entered.wait(60)
        say("end")
        """
    )
    assert (out, err) == (["end"], "")


def test_a_dropped_queue_without_workers_is_run_at_exit(script: Any) -> None:
    """If nobody drained it."""
    out, err = script(
        """
        def make():
            add_cleanup(Victim(), say, "queued", queue=CleanupQueue(workers=0))

        make()
        settle()
        say("end")
        """
    )
    assert (out, err) == (["end", "queued"], "")


def test_a_worker_that_never_returns_is_named_and_left_behind(script: Any) -> None:
    """Exit does not hang, and does not keep quiet about it either."""
    out, err = script(
        """
        queue = CleanupQueue(name="stuck", patience=0.2)
        entered = threading.Event()

        def wait_for_godot(_):
            entered.set()
            threading.Event().wait()

        add_cleanup(Victim(), wait_for_godot, None, queue=queue)
        add_cleanup(Victim(), say, "behind it", queue=queue)
        settle()
        entered.wait(60)
        say("end")
        """
    )
    assert out == ["end"]
    assert "a cleanup of queue 'stuck' has not returned for 0.2 s" in err
    assert "wait_for_godot" in err
    assert "exit goes on without it; 1 more queued behind it" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_an_exit_that_waits_says_for_what(script: Any, workers: int) -> None:
    """A cleanup that exit itself must run can't be left behind; this one ends, after that."""
    out, err = script(
        """
        queue = CleanupQueue(workers=0, name="slow", patience=0.2)

        def take_your_time(_):
            time.sleep(1.0)
            say("ran")

        add_cleanup(Victim(), take_your_time, None, queue=queue)
        settle()
        """
    )
    assert out == ["ran"]
    assert "take_your_time" in err
    if not NO_THREADS_AT_EXIT:
        assert "a cleanup of queue 'slow' has not returned for 0.2 s" in err
        assert "exit waits for it; 0 more queued behind it" in err


def test_an_exception_at_exit_is_reported_and_the_rest_is_run(script: Any) -> None:
    """C15 holds to the end."""
    out, err = script(
        """
        queue = CleanupQueue(workers=0)
        for i in range(3):
            add_cleanup(Victim(), lambda i: (say(str(i)), 1 // i), i, queue=queue)
        settle()
        """
    )
    assert sorted(out) == ["0", "1", "2"]
    assert "Exception ignored in cleanup" in err
    assert err.count("ZeroDivisionError") == 1


def test_what_dies_during_exit_may_still_be_queued_and_run(script: Any) -> None:
    """By another exit handler that was registered later, and so runs before."""
    out, err = script(
        """
        import atexit
        victims = [Victim()]
        add_cleanup(victims[0], say, "cleaned up")

        @atexit.register
        def drop():
            say("dropped")
            victims.clear()
            settle()
        """
    )
    assert (out, err) == (["dropped", "cleaned up"], "")


def test_a_registration_during_exit_is_no_error(script: Any) -> None:
    """Also the first, where no thread can be started any more; `drain` runs it then."""
    out, err = script(
        """
        import atexit

        @atexit.register
        def last():
            add_cleanup(Victim(), say, "cleaned up")
            settle()
            say(str(drain(60)))
        """
    )
    assert (out, err) == (["cleaned up", "True"], "")


@pytest.mark.skipif(
    sysconfig.get_config_var("Py_GIL_DISABLED") == 1 and sys.version_info < (3, 14),
    reason="daemon threads that run on crash or hang the interpreter's end (cpython#124149)",
)
def test_threads_that_register_until_the_end_do_not_disturb_the_exit(script: Any) -> None:
    """Daemon threads, that is: they may register and drop in the middle of anything."""
    out, err = script(
        """
        def churn():
            while True:
                victim = Victim()
                add_cleanup(victim, id, 1)
                del victim

        for _ in range(3):
            threading.Thread(target=churn, daemon=True).start()
        time.sleep(0.2)
        say("end")
        """
    )
    assert (out, err) == (["end"], "")


INNER = """
import os
from lastref.cleanup import add_cleanup, drain

class Victim:
    pass

def say(text):
    os.write(1, (text + chr(10)).encode())

add_cleanup(Victim(), say, "drained")
say(str(drain(60)))
add_cleanup(Victim(), say, "at its end")
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="concurrent.interpreters is Python 3.14's")
def test_an_isolated_interpreter_has_no_worker_and_runs_its_cleanups(script: Any) -> None:
    """At `drain`, and at its end: it may start no daemon thread."""
    out, err = script(
        f"""
        from concurrent import interpreters

        interpreter = interpreters.create()
        interpreter.exec({INNER!r})
        interpreter.close()
        say("end")
        """
    )
    assert (out, err) == (["drained", "True", "at its end", "end"], "")
