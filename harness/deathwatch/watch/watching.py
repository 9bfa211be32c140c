"""One object under watch: is it alive, and what killed it?"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from threading import get_ident
from typing import Any, Literal
from weakref import ref

from .collecting import TIMEOUT, collector_state, passes

Cause = Literal["refcount", "collector"]

REFCOUNTS = sys.implementation.name == "cpython"
"""Whether objects here die by their reference count; on PyPy the collector alone frees them."""

_causes: set[_Death] = set()
_collecting_thread: int | None = None


class _Death:
    """What is known of one death. Knows neither the object nor the `Watch`."""

    __slots__ = ("cause",)

    def __init__(self) -> None:
        self.cause: Cause | None = None

    def record(self, _wr: object) -> None:
        """Run as weak-reference callback, in the thread that dropped or collects the object."""
        by_collector = _collecting_thread == get_ident() or not REFCOUNTS
        self.cause = "collector" if by_collector else "refcount"
        _unobserve(self)


def _note_collection(phase: str, _info: dict[str, Any]) -> None:
    global _collecting_thread
    _collecting_thread = get_ident() if phase == "start" else None


def _observe(death: _Death) -> None:
    _causes.add(death)
    _listen()


def _listen() -> None:
    if REFCOUNTS and _note_collection not in gc.callbacks:
        gc.callbacks.append(_note_collection)


def _unobserve(death: _Death) -> None:
    """Forget one death, and the collector's callback with the last. Takes no lock: see `record`."""
    global _collecting_thread
    _causes.discard(death)
    if not _causes and REFCOUNTS:
        with suppress(ValueError):  # another thread was faster
            gc.callbacks.remove(_note_collection)
            _collecting_thread = None  # the end of this collection will not be heard
        if _causes:  # another thread has begun to watch meanwhile
            _listen()


class Watch:
    """A watch over one object, which it does not keep alive. Made by `watch`.

    `alive` and `cause` only look: they never collect. An object counts as dead from the moment
    that Python clears its weak references; where the collector frees an object whose `__del__`
    resurrects it, that is before `__del__` (semantics C9, W5).
    """

    __slots__ = ("__weakref__", "_death", "_described", "_wr")

    def __init__(self, obj: object) -> None:
        self._death = _Death()
        try:
            self._wr: ref[object] = ref(obj, self._death.record)
        except TypeError:
            raise TypeError(_no_weak_references(type(obj))) from None
        self._described = _describe(type(obj))
        _observe(self._death)

    def __del__(self) -> None:
        if hasattr(self, "_wr"):
            _unobserve(self._death)

    @property
    def alive(self) -> bool:
        """Whether the object is alive now."""
        return self._wr() is not None

    @property
    def cause(self) -> Cause | None:
        """What killed it: `"refcount"`, `"collector"`, or None while it lives.

        `"collector"` is said of every object that died in the course of a collection, also of
        one that a finalizer let go meanwhile. On PyPy it is the only cause there is. On
        free-threaded builds an object dropped by a thread that does not own it may be freed by
        the next collection, and counts as the collector's.
        """
        return self._death.cause

    def assert_dead(self, *, cause: Cause | None = None, timeout: float = TIMEOUT) -> None:
        """Demand the death, forcing the collector if need be.

        Waits up to `timeout` seconds for other threads to let go; where there are none, nobody
        could, and it fails at once. With `cause`, that cause is demanded too: `"refcount"`
        raises `unittest.SkipTest` on interpreters that don't count references.

        Raises `AssertionError`, which says what keeps the object alive, and does not keep it
        alive itself.
        """
        if cause == "refcount":
            _require_refcounts()
            if not _await_release(self, timeout):
                raise AssertionError(_failure(self, "refcount"))
        if not await_deaths([self], timeout):
            raise AssertionError(_failure(self, None))
        _check_cause(self, cause)

    def __repr__(self) -> str:
        state = "alive" if self.alive else f"dead, by {self.cause}"
        return f"<Watch of {self._described}: {state}>"


class Region:
    """What `expect_death` hands to its block."""

    __slots__ = ("_watches",)

    def __init__(self) -> None:
        self._watches: list[Watch] = []

    def watch(self, obj: object) -> Watch:
        """Watch `obj`: it must be dead when the region has ended."""
        self._watches.append(watching := watch(obj))
        return watching

    def assert_dead(self, timeout: float = TIMEOUT) -> None:
        """Demand the death of everything watched so far; names every survivor."""
        if not await_deaths(self._watches, timeout):
            alive = [w for w in self._watches if w.alive]
            texts = [_failure(w, None) for w in alive[:3]]
            if len(alive) > 3:
                texts.append(f"... and {len(alive) - 3} more of the {len(self._watches)} watched")
            raise AssertionError("\n\n".join(texts))


def watch(obj: object) -> Watch:
    """Watch `obj`, without keeping it alive.

    Raises `TypeError` for an object without weak references, naming the type and what to watch
    instead (semantics C13).

    >>> from deathwatch import watch
    >>> class Connection: pass
    >>> connection = Connection()
    >>> watched = watch(connection)
    >>> watched.alive
    True
    """
    return Watch(obj)


def await_deaths(watches: Collection[Watch], timeout: float) -> bool:
    """Collect until all are dead, or until nobody is left who could still let go of them."""
    deadline = time.monotonic() + timeout
    return any(
        _all_dead(watches) or _collect_until_dead(watches, deadline) for _ in _looks(deadline)
    )


def _await_release(watched: Watch, timeout: float) -> bool:
    """The same without collecting."""
    return any(not watched.alive for _ in _looks(time.monotonic() + timeout))


def _looks(deadline: float) -> Iterator[None]:
    """Look once, and then ever more rarely, while other threads and time are left."""
    delay = 0.001
    while True:
        alone = len(sys._current_frames()) == 1
        yield
        if alone or time.monotonic() >= deadline:
            return
        time.sleep(min(delay, max(0.0, deadline - time.monotonic())))
        delay = min(delay * 2, 0.05)


def _collect_until_dead(watches: Collection[Watch], deadline: float) -> bool:
    with collector_state(debug=0):
        # No loop here, which a Ctrl-C may leave without the state restored: see
        # `tests/harness/test_bytecode.py`.
        return any(_all_dead(watches) for _ in passes(max(deadline, time.monotonic() + TIMEOUT)))


def _all_dead(watches: Collection[Watch]) -> bool:
    return not any(w.alive for w in watches)


def make_and_watch(make: Callable[[], object]) -> Watch:
    """Call `make` and watch what it returned, which no frame of ours keeps."""
    return Watch(make())


def _require_refcounts() -> None:
    if not REFCOUNTS:
        import unittest

        raise unittest.SkipTest(
            f"death by reference count: {sys.implementation.name} frees objects by its collector"
            " alone"
        )


def _check_cause(watched: Watch, cause: Cause | None) -> None:
    if cause is None or watched.cause == cause or (not REFCOUNTS and cause == "collector"):
        return
    raise AssertionError(f"{watched._described} was to die by {cause}, but died by {watched.cause}")


def _failure(watched: Watch, cause: Cause | None) -> str:
    """Say what keeps the object alive. The text is all that is kept: no frame, no object."""
    from deathwatch.explain import why_alive

    claim = "should have died by its reference count" if cause else "should be dead"
    try:
        retention = why_alive(watched._wr())
    except ReferenceError:
        retention = None
    return f"{watched._described} {claim}, but is alive\n{retention}"


def _describe(cls: type) -> str:
    name = f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
    return _with_article(name)


def _with_article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _no_weak_references(cls: type) -> str:
    what = f"Python keeps no weak references to {_with_article(cls.__qualname__)}"
    what += ", so its death can't be watched"
    if any("__slots__" in vars(c) for c in cls.__mro__[:-1]) and cls.__module__ != "builtins":
        return (
            f"{what}: add '__weakref__' to the __slots__ of {cls.__qualname__}, or watch its owner"
        )
    return f"{what}: watch the object that owns it, or an instance of a class that wraps it"
