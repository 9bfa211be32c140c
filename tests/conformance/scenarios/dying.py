"""Victims, and the ways for them to die."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from .catalogue import Unavailable

PYPY = sys.implementation.name == "pypy"


class Victim:
    """Has attributes as given."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Finalized(Victim):
    """Its finalizer calls `on_del`, if it has one, with the dying object."""

    on_del: Any = None

    def __del__(self) -> None:
        if self.on_del is not None:
            self.on_del(self)


def collect() -> None:
    """Collect completely; on PyPy, whose finalizers run after a collection, three times."""
    for _ in range(3 if PYPY else 1):
        gc.collect()


def drop(box: list[Any], way: str) -> None:
    """Drop what is in `box`: by its reference count, or as a cycle that the collector finds."""
    if way == "refcount":
        need_refcounts()
        gc.disable()
        box.clear()
        return
    for victim in box:
        victim.itself = victim
    del victim
    box.clear()
    collect()


def need_refcounts() -> None:
    if PYPY:
        raise Unavailable("PyPy counts no references: every object dies by the collector.")


def refused(register: Callable[[], object]) -> str:
    """The outcome of a registration that should be refused."""
    try:
        register()
    except (TypeError, ValueError):
        return "refused"
    return "accepted"


def until(condition: Callable[[], Any], timeout: float = 5.0) -> bool:
    """Wait for a condition; False if it did not come true in `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def in_thread(work: Callable[[], object]) -> None:
    """Run `work` in another thread, and wait for its end."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def in_threads(number: int, work: Callable[[int], object]) -> None:
    """Run `work(i)` in `number` threads that start together, and wait for their end."""
    gate = threading.Barrier(number)

    def run(index: int) -> None:
        gate.wait()
        work(index)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_python(code: str, *options: str, timeout: float = 15.0) -> str:
    """What another process prints that runs `code`; whatever else it does is an outcome too.

    The code finds the scenarios' modules, and runs with the same interpreter.
    """
    # Most scenarios run no other process, and need neither.
    import subprocess
    import textwrap

    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    head = f"import sys; sys.path.insert(0, {folder!r})\n"
    try:
        done = subprocess.run(
            [sys.executable, *options, "-c", head + textwrap.dedent(code)],
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"hung for {timeout:g} s"
    if done.returncode < 0:
        return f"died by signal {-done.returncode}"
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout.strip().replace("\n", ", ")
