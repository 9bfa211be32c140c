"""Cleanups: what runs after an object died, where, when, and how often (semantics C1 to C16)."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from contextlib import suppress
from typing import Any

from .catalogue import GO, LASTREF, STDLIB, Difference, Unavailable, scenario
from .dying import PYPY, Finalized, Victim, collect, drop, in_threads, refused, until

NO_REFCOUNTS = "Go counts no references: every object dies by the collector."
SYNCHRONOUS = (
    "A weak-reference callback is called where the object dies, by the thread that drops or"
    " collects it, and weakref.finalize is one."
)
CALLBACK_FIRST = (
    "The collector clears weak references and calls their callbacks before it calls finalizers"
    " (PEP 442). lastref's callback only queues, but a worker may run the cleanup at once. A token"
    " in the object's __dict__, with the callback on it, was seen to mend this on builds with the"
    " GIL, and is not used: a copy of the object would share the token and keep the cleanup back,"
    " the token would show in vars(), and the object could be pickled no more."
)
PYPY_ONCE = (
    "PyPy calls __del__ first; the weak reference of what it resurrects is dead all the same, and"
    " its callback was called."
)


def _dropped_in_helper(api: Any, func: Any, arg: Any, way: str = "collector") -> None:
    """Register on a victim that nobody else has seen, and let it die."""
    box: list[Any] = [Victim()]
    api.add_cleanup(box[0], func, arg)
    drop(box, way)


@scenario(
    "C1/thread",
    "The thread of a cleanup",
    promise="A cleanup runs in a thread of its own, not in the one that let the object die.",
    expected="another thread",
    sources=("C1", "go:runtime#AddCleanup"),
    differences=(
        Difference(
            STDLIB,
            "the thread that dropped it",
            SYNCHRONOUS,
            "docs:library/weakref#weakref.finalize",
        ),
    ),
)
def thread_of_its_own(api: Any) -> str:
    threads: list[int] = []
    _dropped_in_helper(api, lambda _: threads.append(threading.get_ident()), None)
    api.settle()
    return "the thread that dropped it" if threads[0] == threading.get_ident() else "another thread"


def _under_lock(api: Any, way: str) -> str:
    lock, seen = threading.Lock(), []

    def cleanup(_: object) -> None:
        got = lock.acquire(timeout=1.0)
        seen.append("ran" if got else "waited for its own thread")

    box: list[Any] = [Victim()]
    api.add_cleanup(box[0], cleanup, None)
    with lock:
        drop(box, way)
    api.settle()
    return seen[0]


_DEADLOCK = Difference(
    STDLIB,
    "waited for its own thread",
    SYNCHRONOUS + " Without the time limit of this scenario it would have been a deadlock.",
    "docs:library/weakref#weakref.finalize",
)


@scenario(
    "C1/lock-refcount",
    "A cleanup takes a lock that the dropping frame holds, by reference count",
    promise="A cleanup may take any lock, whatever the code held that let the object die.",
    expected="ran",
    sources=("C1", "contract:add_cleanup"),
    absent={GO: NO_REFCOUNTS},
    differences=(_DEADLOCK,),
)
def lock_by_refcount(api: Any) -> str:
    return _under_lock(api, "refcount")


@scenario(
    "C1/lock-collector",
    "A cleanup takes a lock that the collecting frame holds",
    promise="A cleanup may take any lock, whatever the code held in which the collector ran.",
    expected="ran",
    sources=("C1", "go:runtime#AddCleanup"),
    differences=(_DEADLOCK,),
)
def lock_by_collector(api: Any) -> str:
    return _under_lock(api, "collector")


@scenario(
    "C1/argument",
    "A cleanup gets its argument",
    promise="Some time after the object is unreachable, cleanup(arg) runs, once.",
    expected="ran once with 97531",
    sources=("C1", "gotest:runtime/mcleanup_test.go TestCleanup"),
)
def with_its_argument(api: Any) -> str:
    seen: list[Any] = []
    _dropped_in_helper(api, seen.append, 97531)
    api.settle()
    collect()
    return f"ran once with {seen[0]}" if len(seen) == 1 else f"ran {len(seen)} times"


@scenario(
    "C1/nil-argument",
    "A cleanup whose argument is nothing",
    promise="The argument may be nil, or None.",
    expected="ran with nothing",
    sources=("C1", "go:runtime#AddCleanup"),
)
def nil_argument(api: Any) -> str:
    seen: list[Any] = []
    _dropped_in_helper(api, seen.append, None)
    api.settle()
    return "ran with nothing" if seen == [None] else "did not run"


@scenario(
    "C3/many",
    "Three cleanups on one object",
    promise="An object may have many cleanups, and each runs.",
    expected="3 ran",
    sources=("C3", "gotest:runtime/mcleanup_test.go TestCleanupMultiple"),
)
def three_on_one(api: Any) -> str:
    seen: list[Any] = []
    box: list[Any] = [Victim()]
    for _ in range(3):
        api.add_cleanup(box[0], seen.append, 97531)
    drop(box, "collector")
    api.settle()
    return f"{len(seen)} ran"


@scenario(
    "C3/independent",
    "One cleanup of three is stopped",
    promise="Cleanups of one object are independent: stopping one leaves the others.",
    expected="1 and 3 ran",
    sources=("C3", "C10"),
)
def independent(api: Any) -> str:
    seen: list[Any] = []
    box: list[Any] = [Victim()]
    handles = [api.add_cleanup(box[0], seen.append, number) for number in (1, 2, 3)]
    api.stop(handles[1])
    drop(box, "collector")
    api.settle()
    return " and ".join(map(str, sorted(seen))) + " ran"


@scenario(
    "C3/interior",
    "Cleanups on parts of one object",
    promise="Cleanups may be attached to different pointers into one allocation, and each runs.",
    expected="3 ran",
    sources=("C3", "gotest:runtime/mcleanup_test.go TestCleanupInteriorPointer"),
    absent={
        STDLIB: "Python has no pointers into an object.",
        LASTREF: "Python has no pointers into an object.",
    },
)
def interior(api: Any) -> str:
    raise Unavailable("Python has no pointers into an object.")


@scenario(
    "C4/cycle",
    "Cleanups of the members of a cycle",
    promise="Objects that point to each other and die together all have their cleanups run.",
    expected="a and b ran",
    sources=("C4", "go:runtime#AddCleanup"),
)
def members_of_a_cycle(api: Any) -> str:
    seen: list[str] = []
    a, b = Victim(), Victim()
    a.other, b.other = b, a
    api.add_cleanup(a, seen.append, "a")
    api.add_cleanup(b, seen.append, "b")
    del a, b
    api.settle()
    return " and ".join(sorted(seen)) + " ran"


@scenario(
    "C4/handle-in-cycle",
    "The object holds the handle of its own cleanup",
    promise="A cleanup runs though its handle is part of the garbage.",
    expected="ran",
    sources=("C4", "C11"),
)
def handle_in_the_garbage(api: Any) -> str:
    seen: list[str] = []
    box: list[Any] = [Victim()]
    box[0].cleanup = api.add_cleanup(box[0], seen.append, "ran")
    drop(box, "collector")
    api.settle()
    return seen[0] if seen else "did not run"


@scenario(
    "C5/slow",
    "The program during a slow cleanup",
    promise="Cleanups run concurrently with the program: a slow one does not hold it up.",
    expected="the program went on",
    sources=("C5", "go:runtime#AddCleanup"),
    differences=(
        Difference(
            STDLIB, "the program waited", SYNCHRONOUS, "docs:library/weakref#weakref.finalize"
        ),
    ),
)
def slow(api: Any) -> str:
    go_on = threading.Event()
    seen: list[bool] = []
    _dropped_in_helper(api, lambda _: seen.append(go_on.wait(1.0)), None)
    go_on.set()
    api.settle()
    return "the program went on" if seen == [True] else "the program waited"


@scenario(
    "C5/concurrent",
    "Two cleanups that wait for each other",
    promise="Cleanups may run concurrently with one another.",
    expected="both met",
    sources=("C5", "gosrc:runtime/mcleanup.go"),
    differences=(
        Difference(
            STDLIB, "one after the other", SYNCHRONOUS, "docs:library/weakref#weakref.finalize"
        ),
    ),
)
def concurrent(api: Any) -> str:
    meeting = threading.Barrier(2)
    seen: list[str] = []

    def cleanup(_: object) -> None:
        try:
            meeting.wait(timeout=1.0)
            seen.append("met")
        except threading.BrokenBarrierError:
            seen.append("alone")

    box: list[Any] = [Victim(), Victim()]
    if api.ours:
        from lastref.cleanup import CleanupQueue, add_cleanup

        queue = CleanupQueue(workers=2)
        for victim in box:
            add_cleanup(victim, cleanup, None, queue=queue)
    else:
        for victim in box:
            api.add_cleanup(victim, cleanup, None)
    del victim
    drop(box, "collector")
    api.settle()
    return "both met" if seen == ["met", "met"] else "one after the other"


class _Box:
    """Holds one thing, behind an attribute."""

    def __init__(self, held: object) -> None:
        self.held = held


def _appending(seen: list[Any], held: object) -> Any:
    return lambda _: seen.append(held)


@scenario(
    "C6/argument",
    "The argument leads to the object, two steps away",
    promise="If the object is reachable from arg, it never dies and the cleanup never runs.",
    expected="alive, not run",
    sources=("C6", "go:runtime#AddCleanup"),
)
def held_by_argument(api: Any) -> str:
    seen: list[Any] = []
    victim = Victim()
    wr = weakref.ref(victim)
    api.add_cleanup(victim, seen.append, _Box(_Box(_Box(victim))))
    del victim
    api.settle()
    return f"{'dead' if wr() is None else 'alive'}, {'run' if seen else 'not run'}"


@scenario(
    "C6/function",
    "The function leads to the object, two steps away",
    promise="If the object is reachable from the cleanup, it never dies and it never runs.",
    expected="alive, not run",
    sources=("C6", "go:runtime#AddCleanup"),
)
def held_by_function(api: Any) -> str:
    seen: list[Any] = []
    victim = Victim()
    wr = weakref.ref(victim)
    api.add_cleanup(victim, _appending(seen, _Box(_Box(_Box(victim)))), None)
    del victim
    api.settle()
    return f"{'dead' if wr() is None else 'alive'}, {'run' if seen else 'not run'}"


@scenario(
    "C7/nil",
    "A cleanup for nothing",
    promise="A cleanup for nil is refused.",
    expected="refused",
    sources=("C7", "gosrc:runtime/mcleanup.go"),
)
def for_nothing(api: Any) -> str:
    return refused(lambda: api.add_cleanup(None, print, 1))


@scenario(
    "C7/itself",
    "The argument is the object",
    promise="An argument that is the object itself is refused: the cleanup would never run.",
    expected="refused",
    sources=("C7", "gotest:runtime/mcleanup_test.go TestCleanupPointerEqualsArg"),
    differences=(
        Difference(
            STDLIB,
            "accepted",
            "weakref.finalize does not look; its documentation warns.",
            "docs:library/weakref#weakref.finalize",
        ),
    ),
)
def argument_is_object(api: Any) -> str:
    victim = Victim()
    return refused(lambda: api.add_cleanup(victim, print, victim))


@scenario(
    "C7/foreign",
    "An object that the runtime does not manage",
    promise="An object that was not allocated by the runtime is refused.",
    expected="refused",
    sources=("C7", "C13", "gosrc:runtime/mcleanup.go"),
)
def unmanaged(api: Any) -> str:
    # The nearest thing: an immortal small integer, no instance of which ever dies.
    return refused(lambda: api.add_cleanup(7, print, 1))


@scenario(
    "C9/refcount",
    "Finalizer and cleanup of one object, by reference count",
    promise="With a finalizer too, the cleanup runs only after finalization.",
    expected="finalizer, cleanup",
    sources=("C9", "gotest:runtime/mcleanup_test.go TestCleanupAfterFinalizer"),
    absent={GO: NO_REFCOUNTS},
)
def after_finalizer_by_refcount(api: Any) -> str:
    return _finalizer_and_cleanup(api, "refcount")


@scenario(
    "C9/collector",
    "Finalizer and cleanup of one object, by the collector",
    promise="With a finalizer too, the cleanup runs only after finalization.",
    expected="finalizer, cleanup",
    sources=("C9", "gotest:runtime/mcleanup_test.go TestCleanupAfterFinalizer"),
    differences=(
        Difference(STDLIB, "cleanup, finalizer", CALLBACK_FIRST, "pep:442", ("cpython-*",)),
        Difference(LASTREF, "cleanup, finalizer", CALLBACK_FIRST, "pep:442", ("cpython-*",)),
    ),
)
def after_finalizer_by_collector(api: Any) -> str:
    return _finalizer_and_cleanup(api, "collector")


def _finalizer_and_cleanup(api: Any, way: str) -> str:
    seen: list[str] = []

    def on_del(_: object) -> None:
        # Whoever is queued by now gets the time to run.
        until(lambda: seen, timeout=0.5)
        seen.append("finalizer")

    box: list[Any] = [Finalized(on_del=on_del)]
    api.add_cleanup(box[0], seen.append, "cleanup")
    drop(box, way)
    api.settle()
    return ", ".join(seen)


def _resurrected(api: Any, way: str) -> str:
    seen: list[Any] = []
    kept: list[Any] = []
    box: list[Any] = [Finalized(on_del=kept.append)]
    api.add_cleanup(box[0], seen.append, "cleanup")
    drop(box, way)
    api.settle()
    first = len(seen)
    drop(kept, way)
    api.settle()
    return f"{first} while resurrected, {len(seen) - first} after"


_WHILE_ALIVE = tuple(
    Difference(binding, "1 while resurrected, 0 after", why, source, columns)
    for binding in (STDLIB, LASTREF)
    for why, source, columns in (
        (CALLBACK_FIRST, "pep:442", ("cpython-*",)),
        (PYPY_ONCE, "pypy:cpython_differences", ("pypy-*",)),
    )
)


@scenario(
    "C9/resurrected-refcount",
    "Cleanup of a resurrected object, by reference count",
    promise="The cleanup of an object that its finalizer resurrects runs when it is dead for good.",
    expected="0 while resurrected, 1 after",
    sources=("C9", "pep:442"),
    absent={GO: NO_REFCOUNTS},
)
def resurrected_by_refcount(api: Any) -> str:
    return _resurrected(api, "refcount")


@scenario(
    "C9/resurrected-collector",
    "Cleanup of a resurrected object, by the collector",
    promise="The cleanup of an object that its finalizer resurrects runs when it is dead for good.",
    expected="0 while resurrected, 1 after",
    sources=("C9", "pep:442"),
    differences=_WHILE_ALIVE,
)
def resurrected_by_collector(api: Any) -> str:
    return _resurrected(api, "collector")


@scenario(
    "C10/stop",
    "A stopped cleanup",
    promise="Stop cancels the cleanup.",
    expected="did not run",
    sources=("C10", "gotest:runtime/mcleanup_test.go TestCleanupStop"),
)
def stopped(api: Any) -> str:
    seen: list[Any] = []
    box: list[Any] = [Victim()]
    api.stop(api.add_cleanup(box[0], seen.append, 1))
    drop(box, "collector")
    api.settle()
    return "ran" if seen else "did not run"


@scenario(
    "C10/thrice",
    "A cleanup stopped three times",
    promise="Stop is idempotent.",
    expected="did not run",
    sources=("C10", "gotest:runtime/mcleanup_test.go TestCleanupStopMultiple"),
)
def stopped_three_times(api: Any) -> str:
    seen: list[Any] = []
    box: list[Any] = [Victim()]
    cleanup = api.add_cleanup(box[0], seen.append, 1)
    for _ in range(3):
        api.stop(cleanup)
    drop(box, "collector")
    api.settle()
    return "ran" if seen else "did not run"


@scenario(
    "C10/says",
    "What stop says",
    promise="Stop says whether it stopped: True once, then False.",
    expected="True False False",
    sources=("C10", "contract:Cleanup.stop"),
    absent={GO: "Cleanup.Stop returns nothing, which Go's users ask for."},
)
def stop_says(api: Any) -> str:
    victim = Victim()
    cleanup = api.add_cleanup(victim, print, 1)
    return " ".join(str(api.stop(cleanup)) for _ in range(3))


@scenario(
    "C10/interleaved",
    "Stopped and unstopped cleanups in turn",
    promise="Stopping some cleanups of an object leaves the others.",
    expected="1 1 1",
    sources=("C10", "gotest:runtime/mcleanup_test.go TestCleanupStopinterleavedMultiple"),
)
def interleaved(api: Any) -> str:
    seen: list[Any] = []
    box: list[Any] = [Victim()]
    for number in (1, 2, 1, 2, 1):
        cleanup = api.add_cleanup(box[0], seen.append, number)
        if number == 2:
            api.stop(cleanup)
    drop(box, "collector")
    api.settle()
    return " ".join(map(str, seen))


@scenario(
    "C10/late",
    "Stop after the cleanup ran",
    promise="Stop has no effect after the cleanup ran.",
    expected="ran once",
    sources=("C10", "gotest:runtime/mcleanup_test.go TestCleanupStopAfterCleanupRuns"),
)
def stopped_late(api: Any) -> str:
    seen: list[Any] = []
    box: list[Any] = [Victim()]
    cleanup = api.add_cleanup(box[0], seen.append, 1)
    drop(box, "collector")
    api.settle()
    api.stop(cleanup)
    api.settle()
    return "ran once" if len(seen) == 1 else f"ran {len(seen)} times"


@scenario(
    "C10/queued",
    "Stop after the object died, before the cleanup ran",
    promise="Stop has no effect once the cleanup is queued.",
    expected="ran",
    sources=("C10", "go:runtime#Cleanup.Stop"),
)
def stopped_when_queued(api: Any) -> str:
    seen: list[Any] = []
    gate = threading.Event()
    if api.ours:  # keep the worker busy, so that the next one stays queued
        _dropped_in_helper(api, lambda _: gate.wait(5.0), None)
    box: list[Any] = [Victim()]
    cleanup = api.add_cleanup(box[0], seen.append, "ran")
    drop(box, "collector")
    api.stop(cleanup)
    gate.set()
    api.settle()
    return seen[0] if seen else "did not run"


@scenario(
    "C10/race",
    "Eight threads stop one cleanup",
    promise="Registered, then either stopped or queued: of several calls at once, one stops it.",
    expected="1 of 8, 200 times",
    sources=("C10", "contract:Cleanup.stop"),
    absent={GO: "Cleanup.Stop returns nothing, which Go's users ask for."},
)
def stop_race(api: Any) -> str:
    victim = Victim()
    cleanups = [api.add_cleanup(victim, print, number) for number in range(200)]
    answers: list[list[bool]] = [[] for _ in range(8)]
    in_threads(8, lambda i: answers[i].extend([api.stop(cleanup) for cleanup in cleanups]))
    wins = [sum(won) for won in zip(*answers, strict=True)]
    return "1 of 8, 200 times" if wins == [1] * 200 else f"{min(wins)} to {max(wins)} of 8"


@scenario(
    "C11/handle",
    "The handle and the object",
    promise="The handle does not keep the object alive.",
    expected="dead",
    sources=("C11", "gosrc:runtime/mcleanup.go"),
)
def handle_is_weak(api: Any) -> str:
    box: list[Any] = [Victim()]
    wr = weakref.ref(box[0])
    handle = api.add_cleanup(box[0], id, 1)
    drop(box, "collector")
    api.settle()
    return ("dead" if wr() is None else "alive") if handle is not None else "no handle"


@scenario(
    "C11/handle-dropped",
    "A cleanup whose handle was dropped",
    promise="A registration outlives its handle.",
    expected="ran",
    sources=("C11", "go:runtime#AddCleanup"),
)
def handle_dropped(api: Any) -> str:
    seen: list[str] = []
    box: list[Any] = [Victim()]
    api.add_cleanup(box[0], seen.append, "ran")
    collect()
    drop(box, "collector")
    api.settle()
    return seen[0] if seen else "did not run"


@scenario(
    "C12/alive",
    "The argument while the object lives",
    promise="The argument is kept alive while the object lives.",
    expected="alive",
    sources=("C12", "go:runtime#AddCleanup"),
)
def argument_is_kept(api: Any) -> str:
    victim = Victim()
    box: list[Any] = [Victim()]
    wr = weakref.ref(box[0])
    api.add_cleanup(victim, id, box[0])
    box.clear()
    collect()
    return "dead" if wr() is None else "alive"


@scenario(
    "C12/stop",
    "The argument after stop",
    promise="Stop releases the argument.",
    expected="dead",
    sources=("C12", "contract:Cleanup.stop"),
)
def stop_releases(api: Any) -> str:
    victim = Victim()
    box: list[Any] = [Victim()]
    wr = weakref.ref(box[0])
    cleanup = api.add_cleanup(victim, id, box[0])
    box.clear()
    api.stop(cleanup)
    collect()
    return "dead" if wr() is None else "alive"


@scenario(
    "C12/run",
    "The argument after the run",
    promise="The run releases the argument, though the handle is held.",
    expected="dead",
    sources=("C12", "gosrc:runtime/mcleanup.go"),
)
def run_releases(api: Any) -> str:
    box: list[Any] = [Victim()]
    argument: list[Any] = [Victim()]
    wr = weakref.ref(argument[0])
    handle = api.add_cleanup(box[0], id, argument[0])
    argument.clear()
    drop(box, "collector")
    api.settle()
    collect()
    return ("dead" if wr() is None else "alive") if handle is not None else "no handle"


class _Slotted:
    __slots__ = ()


class _Tuple(tuple[int, ...]):
    pass


@scenario(
    "C13/types",
    "Objects that nothing can watch",
    promise="An object that can't be watched is refused, rather than never cleaned.",
    expected="refused",
    sources=("C13", "gotest:runtime/mcleanup_test.go TestCleanupZeroSizedStruct"),
    differences=(
        Difference(
            GO,
            "accepted",
            "Go accepts a zero-sized object and does not guarantee that its cleanup runs.",
            "go:runtime#AddCleanup",
        ),
        *(
            Difference(
                binding,
                "accepted: _Slotted, _Tuple",
                "PyPy has weak references to the instances of all classes written in Python, with"
                " __slots__ and derived from tuple too.",
                "pypysrc:pypy/interpreter/typedef.py",
                ("pypy-*",),
            )
            for binding in (STDLIB, LASTREF)
        ),
    ),
)
def unwatchable(api: Any) -> str:
    unwatchables = [7, "text", (1,), [1], {1: 1}, b"1", 1.5, None, object(), _Slotted(), _Tuple()]
    accepted = []
    for obj in unwatchables:
        if refused(lambda obj=obj: api.add_cleanup(obj, id, 1)) == "accepted":  # type: ignore[misc]
            accepted.append(type(obj).__name__)
    return f"accepted: {', '.join(accepted)}" if accepted else "refused"


@scenario(
    "C13/remedy",
    "What a refusal says",
    promise="The refusal names the type and says what to do instead.",
    expected="names the type and a remedy",
    sources=("C13", "contract:add_cleanup"),
    absent={GO: "Go refuses no type."},
    differences=(
        Difference(
            STDLIB,
            "names the type",
            "The message is: cannot create weak reference to '...' object.",
            "docs:library/weakref#weakref.ref",
        ),
    ),
)
def refusal(api: Any) -> str:
    try:
        api.add_cleanup(7, print, 1)
    except TypeError as error:
        text = str(error)
    else:
        return "accepted"
    names, helps = "'int'" in text, "wrapper" in text
    return ("names the type" if names else "names nothing") + (" and a remedy" if helps else "")


@scenario(
    "C14/unused",
    "An object in a variable that is not used any more",
    promise="An object may die as soon as nothing will use it, even before its function returns.",
    expected="dead",
    sources=("C14", "go:runtime#AddCleanup"),
    differences=tuple(
        Difference(
            binding,
            "alive",
            "A local variable holds its object until it is rebound, deleted, or its frame ends.",
            "docs:reference/executionmodel#naming-and-binding",
        )
        for binding in (STDLIB, LASTREF)
    ),
)
def unused_local(api: Any) -> str:
    seen: list[Any] = []
    victim = Victim()
    api.add_cleanup(victim, seen.append, 1)
    api.settle()
    return "dead" if seen else "alive"


@scenario(
    "C14/keep-alive",
    "An object that is kept alive until a point",
    promise="KeepAlive keeps its argument alive until there.",
    expected="alive",
    sources=("C14", "go:runtime#KeepAlive"),
)
def kept_alive(api: Any) -> str:
    seen: list[Any] = []
    victim = Victim()
    api.add_cleanup(victim, seen.append, 1)
    api.settle()
    outcome = "dead" if seen else "alive"
    api.keep_alive(victim)
    return outcome


def _fail(_: object) -> None:
    raise ValueError("on purpose")


_GOES_ON = tuple(
    Difference(
        binding,
        "the program went on, the hook was told",
        "An exception where nobody can catch it goes to sys.unraisablehook; it ends no program.",
        "docs:library/sys#sys.unraisablehook",
    )
    for binding in (STDLIB, LASTREF)
)


@scenario(
    "C15/exception",
    "A cleanup that fails",
    promise="A panic in a cleanup ends the program.",
    expected="the program ended",
    sources=("C15", "gosrc:runtime/mcleanup.go"),
    differences=_GOES_ON,
)
def failing(api: Any) -> str:
    told: list[type[BaseException] | None] = []
    sys.unraisablehook = lambda args: told.append(args.exc_type)
    sys.excepthook = lambda kind, value, tb: told.append(kind)
    _dropped_in_helper(api, _fail, None)
    api.settle()
    return "the program went on, the hook was " + ("told" if told == [ValueError] else "not told")


@scenario(
    "C15/next",
    "The cleanup after one that fails",
    promise="A failing cleanup does not prevent the next.",
    expected="ran",
    sources=("C15", "contract:CleanupQueue"),
    absent={GO: "The program has ended by then (C15/exception)."},
)
def after_a_failure(api: Any) -> str:
    sys.unraisablehook = lambda args: None
    seen: list[str] = []
    box: list[Any] = [Victim()]
    api.add_cleanup(box[0], seen.append, "ran")
    api.add_cleanup(box[0], _fail, 1)
    api.add_cleanup(box[0], seen.append, "ran")
    drop(box, "collector")
    api.settle()
    return "ran" if seen == ["ran", "ran"] else "did not run"


def _exit(_: object) -> None:
    raise SystemExit(3)


@scenario(
    "C15/system-exit",
    "A cleanup that asks for the end of the program",
    promise="SystemExit from a cleanup neither ends the program nor the cleanups after it.",
    expected="the program went on, the next ran",
    sources=("C15", "contract:CleanupQueue"),
    absent={GO: "os.Exit in a cleanup ends the program, as anywhere: it is no exception."},
)
def exiting(api: Any) -> str:
    sys.unraisablehook = lambda args: None
    seen: list[str] = []
    with suppress(SystemExit):
        _dropped_in_helper(api, _exit, 1)
        api.settle()
        _dropped_in_helper(api, seen.append, "ran")
        api.settle()
        return "the program went on, the next " + ("ran" if seen else "did not run")
    return "the program was asked to exit"


_NO_COUNTS = {STDLIB: "weakref.finalize keeps no counts."}


@scenario(
    "C16/ten",
    "Counting cleanups",
    promise="Ten cleanups raise the counts of queued and executed ones by exactly ten.",
    expected="queued 10, executed 10",
    sources=("C16", "gotest:runtime/metrics_test.go TestReadMetricsCleanups"),
    absent=_NO_COUNTS,
)
def rise_by_ten(api: Any) -> str:
    from lastref.cleanup import cleanup_stats

    before = cleanup_stats()
    for _ in range(10):
        _dropped_in_helper(api, id, 1)
    api.settle()
    after = cleanup_stats()
    return f"queued {after.queued - before.queued}, executed {after.executed - before.executed}"


@scenario(
    "C16/order",
    "Counts read while cleanups run",
    promise="In every snapshot executed is at most queued, and no count ever falls.",
    expected="held",
    sources=("C16", "gotest:runtime/metrics_test.go TestReadMetricsConsistency"),
    absent=_NO_COUNTS,
)
def snapshots(api: Any) -> str:
    from lastref.cleanup import cleanup_stats

    stop = threading.Event()
    torn: list[object] = []

    def look() -> None:
        last = cleanup_stats()
        while not stop.is_set():
            now = cleanup_stats()
            if now.executed > now.queued or any(b < a for a, b in zip(last, now, strict=True)):
                torn.append(now)
            last = now

    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(2000):
        api.add_cleanup(Victim(), id, 1)
    api.settle()
    stop.set()
    watcher.join()
    return "held" if not torn else "torn"


@scenario(
    "C16/none-lost",
    "40,000 cleanups from four threads",
    promise="However many objects die at once in however many threads, no cleanup is lost.",
    expected="40000 ran",
    sources=("C16", "gotest:runtime/mcleanup_test.go TestCleanupLost"),
)
def none_lost(api: Any) -> str:
    # `list.append` counts without a lock that a nested death could want again.
    seen: list[int] = []

    def work(_: int) -> None:
        for _ in range(10_000):
            api.add_cleanup(Victim(), seen.append, 1)

    in_threads(4, work)
    gc.collect()
    api.settle()
    if PYPY:
        until(lambda: len(seen) >= 40_000)
    return f"{len(seen)} ran"
