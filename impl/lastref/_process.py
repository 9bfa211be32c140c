"""What of the queues outlives a fork, and an exit?

Fork: the forking thread holds every queue's `turn`, so that what was queued is in `ready` or in
the inbox, and not in the hands of a thread that the child will not have. A signal may interrupt any
of that, with an exception or with a fork of its own: a lock is taken and noted in one step of C,
all are let go in one, and each hook is registered twice, since the exception may hit the first
call. A fork within a fork lets go of what the outer one holds; a queue that another thread is just
reading may then lose, in the outer fork's child alone, what that thread has in its hands.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import compress, repeat
from operator import call
from typing import Any

from lastref._books import CleanupStats, Shared, is_due
from lastref._inbox import Barrier, Wake
from lastref._queue import AtExit, Core

FORK_PATIENCE = 5.0
"""Seconds that a fork waits for a queue at most. Only code that a collection runs while a worker
reads its inbox, and that waits for the forking thread, makes it wait at all."""

_cores: set[Core] = set()
_gone = CleanupStats(0, 0, 0, 0, 0)


def new_core(workers: int, name: str, at_exit: AtExit, patience: float) -> Core:
    cores()
    core = Core(workers, name, at_exit, patience)
    with Shared.lock:
        _cores.add(core)
    return core


def cores() -> list[Core]:
    """Every queue that may still have something to run. The others are forgotten here."""
    with Shared.lock:
        _forget_spent()  # its loop is not here: see `tests/harness/test_bytecode.py`
        return list(_cores)


def _forget_spent() -> None:
    global _gone
    for core in [core for core in _cores if not core.threads]:
        core.look()
        if core.spent():
            _cores.remove(core)
            _gone = _sum([_gone, core.stats()])


def total() -> CleanupStats:
    with Shared.lock:
        return _sum([_gone, *(core.stats() for core in _cores)])


def _sum(stats: list[CleanupStats]) -> CleanupStats:
    return CleanupStats(*map(sum, zip(*stats, strict=True)))


# Fork

_forking = threading.RLock()
_held: list[Callable[[], object]] = []  # what lets go of each lock; of the thread in `_forking`
_pid = os.getpid()


def _hold(lock: Any, *how: float) -> None:
    _held.extend(compress((lock.release,), map(lock.acquire, *((one,) for one in how))))


def _before_fork() -> None:
    _hold(_forking, True)
    if len(_held) > 1:
        return  # a fork within a fork
    for core in list(_cores):
        _hold(core.gate, True)
        core.inbox.put(Wake())
        _hold(core.turn, True, FORK_PATIENCE)


def _after_fork_in_parent() -> None:
    with suppress(IndexError):  # `_held` is empty
        any(map(call, map(_held.pop, repeat(-1))))


def _after_fork_in_child() -> None:
    global _forking, _pid
    if _pid == os.getpid():
        return  # the first call has done it
    _forking, Shared.lock = threading.RLock(), threading.RLock()
    _held.clear()
    for core in _cores:
        core.inherit()
    _pid = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
    for _ in range(2):
        os.register_at_fork(
            after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
        )


# Exit


@atexit.register
def _at_exit() -> None:
    waiting = []
    for core in cores():
        if core.at_exit == "all":
            core.claim_all()
        if core.at_exit != "nothing":
            waiting.append((core, core.barrier()))
    for core, barrier in waiting:
        if core.threads:
            if not _wait(core, barrier):
                _say(core, "exit goes on without it")
        else:
            _run(core, barrier)
    if _in_subinterpreter():
        for core in cores():
            core.end_workers(time.monotonic() + core.patience)


def _in_subinterpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):
        with suppress(ImportError):
            interpreters = importlib.import_module(name)
            return bool(interpreters.get_current() != interpreters.get_main())
    return False


def _wait(core: Core, barrier: Barrier) -> bool:
    """False when no cleanup of this queue has ended for `patience` seconds."""
    executed = core.stats().executed
    while not barrier.wait(time.monotonic() + core.patience):
        before, executed = executed, core.stats().executed
        if executed == before:
            return False
    return True


def _run(core: Core, barrier: Barrier) -> None:
    """Run in the exiting thread, which can't be freed from a cleanup that never returns."""

    def watch() -> None:
        if not _wait(core, barrier):
            _say(core, "exit waits for it")

    try:
        threading.Thread(target=watch, daemon=True).start()
    except RuntimeError:
        # CPython 3.12 starts no thread here, and an isolated sub-interpreter no daemon ever.
        if not _in_subinterpreter():  # which it would outlive
            import faulthandler  # not at the top: isolated sub-interpreters can't load it

            faulthandler.dump_traceback_later(core.patience)
    core.run_here(barrier.is_open)


def _say(core: Core, what: str) -> None:
    with suppress(Exception):
        items = [runner.current for runner in core.books.runners if is_due(runner.current)]
        funcs = ", ".join(repr(item._func) for item in items if item is not None)
        behind = sum(map(is_due, core.ready.copy()))
        print(
            f"lastref: at exit, a cleanup of queue {core.name!r} has not returned for "
            f"{core.patience:g} s: {funcs}; {what}; {behind} more queued behind it",
            file=sys.stderr,
        )
