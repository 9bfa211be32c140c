"""Run a function some time after an object died, where it can't deadlock with whoever dropped it.

`weakref.finalize` and `__del__` run at the place where the last reference goes, or where a
collection happens to start: in the middle of any allocation, in a thread that may hold any lock.
A cleanup that takes that lock hangs for ever. Here nothing runs in that place but one C call,
which puts the registration into a queue; a worker thread does the rest.

The ids (C1 to C16) are those of the catalogue of semantics that this package follows, from Go's
`runtime.AddCleanup`. What differs from Go:

- C5: cleanups of one queue share its workers (one by default), so that a slow one delays those
  behind it. Give slow ones a queue of their own.
- C8: Go looks one level into what the cleanup holds, and so does `add_cleanup`: a closure
  variable, `self` of a method, a default, an argument of a partial, an element or attribute of
  the argument. Deeper, the object is kept alive without a word.
- C9: an object with a `__del__` that dies by the collector has its cleanups queued *before* its
  `__del__` runs, and even where `__del__` then resurrects it. By reference count the order is
  Go's: `__del__` first, the cleanup once the object is unreachable again. On PyPy `__del__` comes
  first, and what it resurrects has lost its cleanup. The interpreters do this, not this module.
  A token in the object's `__dict__`, with the callback on it, would mend it on builds with the
  GIL, but a copy of the object would share the token, and the object could be pickled no more.
  Where it matters, don't give one object both.
- C13: objects without weak references (int, str, tuple, list, dict, None, most of what is not
  made by a `class` statement) have no cleanups: `TypeError` at the call.
- C14: Python frees no local variable early, so that `keep_alive` is needed in few places. A
  traceback keeps alive all locals of its frames.
- C15: an exception in a cleanup is reported, through `sys.unraisablehook`, and ends nothing.
- PyPy has no enqueue in C: a Python function of two steps that can't block runs in its place,
  and objects die by its collector alone.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from lastref import _process, _sites
from lastref._books import CleanupStats, released
from lastref._captures import ATOMIC, check
from lastref._inbox import Dropped
from lastref._queue import AtExit, Core, here, referent
from lastref._sites import record_sites

__all__ = [
    "Cleanup",
    "CleanupQueue",
    "CleanupStats",
    "add_cleanup",
    "cleanup_stats",
    "drain",
    "keep_alive",
    "record_sites",
]

_T = TypeVar("_T")


class Cleanup(weakref.ref[Any]):
    """The handle of one registration; `add_cleanup` makes it.

    It keeps alive neither the object (C11) nor, once stopped or run, the function and its
    argument (C12). It may be dropped: the registration stands. It equals nothing but itself, and
    does not hand out its object.
    """

    __slots__ = ("_arg", "_func")
    _func: Any
    _arg: Any

    # A reference's own look at its referent, and fail once that died.
    __hash__ = object.__hash__
    __eq__ = object.__eq__
    __ne__ = object.__ne__
    if not TYPE_CHECKING:
        __call__ = None
        # 2 % of a registration: a reference's own parses again what `__new__` has parsed.
        __init__ = object.__init__

    def stop(self) -> bool:
        """Cancel the cleanup (C10). True: it will not run. False: too late, or stopped before.

        Too late is once the object died, run or not. Idempotent; of several calls at once, in
        any threads, one is True. True has released the function and its argument.

        The object is held for the length of the call. Where its last other reference goes in
        that time, it dies in this thread.

        >>> class Connection: ...
        >>> connection = Connection()
        >>> cleanup = add_cleanup(connection, print, "closed")
        >>> cleanup.stop(), cleanup.stop()
        (True, False)
        """
        # An object that is held here has not died: no worker has this registration, nor gets it.
        obj = referent(self)
        if obj is None:
            return False
        put: Any = self.__callback__
        core: Core = put.__self__.core
        return core.stop(self)

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("a Cleanup can't be copied or pickled")

    def __repr__(self) -> str:
        func = self._func
        return "<Cleanup: stopped or run>" if func is released else f"<Cleanup: {func!r}>"


def add_cleanup(
    obj: object,
    func: Callable[[_T], object],
    arg: _T,
    queue: CleanupQueue | None = None,
) -> Cleanup:
    """Run `func(arg)` some time after `obj` died, in a worker thread of `queue`.

    Give `queue` by name; that it may be given by position saves a tenth of each call.

    Any number per object, independent, in no order (C3, C4). Not promised: when, and that it
    runs at all before the process ends (C2; see `CleanupQueue` for what exit does). For a
    resource whose release must not wait, use a `with` block, and this as the safety net.

    `func` and `arg` are kept alive while `obj` lives (C12), so neither may hold `obj`: it would
    never die. Where that shows one level down it is a `ValueError` (C6, C7, C8). A function is
    looked at when it is first seen; containers of more than 1,000 elements are not searched.

    In the frame that drops `obj`, or that is interrupted by a collection, no Python code runs,
    and no lock is taken that a cleanup could wait for (C1). `func` may take any lock, allocate,
    register, stop. Its exception goes to `sys.unraisablehook` (C15). It must not wait for other
    cleanups: `drain` in a cleanup is a `RuntimeError`.

    Errors: `TypeError` where `obj` has no weak references (C13), naming the remedy, where `func` is
    not callable, and where `queue` is no `CleanupQueue`.

    >>> class Connection: ...
    >>> connection, closed = Connection(), []
    >>> cleanup = add_cleanup(connection, closed.append, "socket 7")
    >>> del connection
    >>> import gc; _ = gc.collect()  # for PyPy
    >>> drain(), closed
    (True, ['socket 7'])
    """
    try:
        # A function that is known to hold nothing, and an argument that can't: no need to look.
        if queue is None and _known[type(arg)]._func is func and obj is not func:
            cleanup = Cleanup(obj, _put)
            cleanup._func = func
            cleanup._arg = arg
            _live.append(cleanup)
            return cleanup
    except (KeyError, TypeError):  # another type of argument; an object without weak references
        pass
    if queue is None:
        return _add(_default, obj, func, arg)
    if not isinstance(queue, CleanupQueue):
        raise TypeError(
            f"queue must be a CleanupQueue, not {type(queue).__name__!r}; several arguments of"
            " func go into one tuple"
        )
    return _add(queue._core, obj, func, arg)


def _add(core: Core, obj: object, func: Callable[[Any], object], arg: object) -> Cleanup:
    kind = type(arg)
    known = core.known.get(kind)
    remember = False
    if known is None or known._func is not func or obj is func:
        remember = check(obj, func, arg) and kind in ATOMIC
        if len(core.crew) < core.workers:
            core.start()
    try:
        cleanup = Cleanup(obj, core.put)
    except TypeError:
        raise TypeError(_no_weak_references(obj)) from None
    cleanup._func = func
    cleanup._arg = arg
    core.books.live.append(cleanup)
    if remember and core.threads >= core.workers:  # else the next one tries again to start them
        core.known[kind] = cleanup  # as long as this is registered, it holds `func`
    elif _sites.recording:
        _sites.remember(cleanup)
    return cleanup


def _no_weak_references(obj: object) -> str:
    kind = type(obj)
    made_by_class_statement = kind.__flags__ & (1 << 9)
    if made_by_class_statement and not kind.__itemsize__:
        remedy = "add '__weakref__' to its __slots__"
    else:
        remedy = "register on the object that owns it, or on a wrapper of a class of your own"
    return f"{kind.__name__!r} objects have no weak references, and so no cleanups: {remedy}"


class CleanupQueue:
    """Where cleanups run: `workers` daemon threads, started by the first registration.

    With `workers=0` nothing runs by itself: its owner calls `run_pending`, from an event loop for
    example, whenever it suits.

    `at_exit` says what a normal exit of the interpreter does: `"queued"` runs what was queued and
    leaves alone what is still alive; `"all"` runs that too, as `weakref.finalize` does;
    `"nothing"` runs nothing more. Exit waits as long as cleanups keep ending. Where none has
    ended for `patience` seconds it says so on stderr, and goes on without the worker; cleanups of
    a queue without workers run in the exiting thread, which can't go on. `os._exit` and a deadly
    signal run nothing.

    Fork: parent and child both run what was registered, once each. The child starts workers of
    its own. A cleanup that another thread was running at the time is the parent's alone, and
    nothing in the child waits for it. A fork wakes each sleeping worker, and waits for that. Not
    on free-threaded builds beside threads that are busy: CPython leaves locks of its own held in
    such a child, those of the very lists and queues that two threads use.

    On CPython, Ctrl-C leaves no lock of this package held; but in 3.14 a `with` itself can miss it,
    and keep its lock (cpython#148874). PyPy handles signals between any two steps: there, a program
    that goes on after a Ctrl-C may find one held.

    Workers survive whatever a cleanup raises, `SystemExit` included, and keep nothing alive of a
    cleanup that has run. A queue that is dropped still runs what is registered with it, in its
    workers, which then end; without workers, at `drain()` and at exit.

    `ValueError` for a negative number of workers, or another word for `at_exit`; `TypeError` for
    workers or seconds that are no numbers.

    >>> queue = CleanupQueue(workers=0)
    >>> class Connection: ...
    >>> connection = Connection()
    >>> cleanup = add_cleanup(connection, print, "socket 7 closed", queue=queue)
    >>> del connection
    >>> import gc; _ = gc.collect()  # for PyPy
    >>> queue.run_pending()
    socket 7 closed
    1

    In asyncio, in the thread of the loop:

    >>> import asyncio
    >>> async def run_cleanups(queue, seconds=0.05):
    ...     while True:
    ...         queue.run_pending()
    ...         await asyncio.sleep(seconds)
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        name: str = "cleanups",
        at_exit: AtExit = "queued",
        patience: float = 5.0,
    ) -> None:
        if not isinstance(workers, int):
            raise TypeError(f"workers must be a whole number, not {type(workers).__name__!r}")
        if not isinstance(patience, int | float):
            raise TypeError(f"patience must be seconds, not {type(patience).__name__!r}")
        if workers < 0:
            raise ValueError(f"workers must be at least 0, not {workers}")
        if at_exit not in get_args(AtExit):
            raise ValueError(f"at_exit must be one of {get_args(AtExit)}, not {at_exit!r}")
        self._core = _process.new_core(workers, name, at_exit, patience)
        self._core.owner = Dropped(self, self._core.put)

    def run_pending(self) -> int:
        """Run in this thread what is queued, until nothing is; how many cleanups ran.

        Their exceptions are reported as in a worker, `KeyboardInterrupt` included. For queues
        without workers; `RuntimeError` for others.
        """
        if self._core.workers:
            raise RuntimeError(f"the cleanups of queue {self._core.name!r} run in its workers")
        return self._core.run_here(lambda: False)

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until all that was queued before has run, in whatever thread; True when it has.

        False when that takes longer than `timeout` seconds. A queue without workers runs it here,
        in the calling thread, and looks at the time between cleanups.

        An object is queued when it died: on PyPy, and where it is part of a cycle, collect first.
        `RuntimeError` from inside a cleanup of any queue.
        """
        return _drain([self._core], timeout)

    def stats(self) -> CleanupStats:
        """Count what was registered, stopped, queued, executed and failed (C16).

        `failed` is part of `executed`; what a stopped handle's object does later is not `queued`.
        No number ever falls, and executed <= queued in all that is returned. `queued` is looked
        for, not counted where objects die: a death that a sleeping worker is just being woken for
        shows when it has woken. In a forked child, what another thread was running stays queued.

        Costs a step (20 ns) for each cleanup that waits, and a lock that registrations don't take.
        """
        return self._core.stats()


def drain(timeout: float | None = None) -> bool:
    """`CleanupQueue.drain` of every queue there is, the default one included.

    The cleanups of queues without workers run here, in the calling thread.

    >>> drain(timeout=10.0)
    True
    """
    return _drain(_process.cores(), timeout)


def _drain(cores: list[Core], timeout: float | None) -> bool:
    if getattr(here, "running", False):
        raise RuntimeError("a cleanup can't wait for the cleanups, it is one of them")
    deadline = None if timeout is None else time.monotonic() + timeout
    waiting = [(core, core.barrier()) for core in cores]
    ended = [core.wait(barrier, deadline) for core, barrier in waiting]
    return all(ended)


def cleanup_stats() -> CleanupStats:
    """The sum of `CleanupQueue.stats` over all queues, the dropped ones included.

    >>> stats = cleanup_stats()
    >>> stats.failed <= stats.executed <= stats.queued <= stats.registered
    True
    """
    return _process.total()


def keep_alive(obj: object) -> None:
    """Keep `obj` alive up to this call, as Go's `runtime.KeepAlive` (C14).

    CPython and PyPy keep what a local variable holds until the variable goes, so that this is
    for readers, and for code that a tool may rewrite.

    >>> keep_alive([])
    """


_default = _process.new_core(1, "lastref-cleanups", "queued", 5.0)
_put = _default.put
_live = _default.books.live
_known = _default.known
