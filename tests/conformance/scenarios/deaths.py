"""How Python's objects die (D): finalizers, resurrection, callbacks, and in which order."""

from __future__ import annotations

import gc
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from .catalogue import GO, LASTREF, STDLIB, Difference, scenario
from .cleanups import NO_REFCOUNTS
from .dying import Finalized, Victim, collect, drop, in_thread, need_refcounts, until

OWN = "The interpreter's own doing, in which nothing of lastref's takes part."
NO_GO = "Go has nothing of the kind."
DEL = "docs:reference/datamodel#object.__del__"
REF = "docs:library/weakref#weakref.ref"
PYPY_WHY = "PyPy's collector calls finalizers after it has cleared weak references."


def _order(way: str) -> str:
    seen: list[str] = []
    box: list[Any] = [Finalized()]
    plain = weakref.ref(box[0])
    watched = weakref.ref(box[0], lambda _: seen.append("callback"))

    def on_del(_: object) -> None:
        seen.append("__del__ sees " + ("nothing" if plain() is None else "itself"))

    box[0].on_del = on_del
    drop(box, way)
    del watched
    return ", ".join(seen)


@scenario(
    "D1/refcount",
    "__del__ and weak-reference callback, by reference count",
    promise="By reference count, __del__ runs first, and weak references are cleared after it.",
    expected="__del__ sees itself, callback",
    sources=("C9", "W5", "docs:c-api/typeobj#c.PyTypeObject.tp_dealloc"),
    absent={LASTREF: OWN, GO: NO_REFCOUNTS},
)
def order_by_refcount(api: Any) -> str:
    return _order("refcount")


@scenario(
    "D1/collector",
    "__del__ and weak-reference callback, by the collector",
    promise="By the collector, weak references are cleared and called back first, then __del__.",
    expected="callback, __del__ sees nothing",
    sources=("C9", "W5", "pep:442"),
    absent={LASTREF: OWN, GO: "Go's weak pointers call nobody back."},
    differences=(
        Difference(
            STDLIB,
            "callback, __del__ sees itself",
            "CPython 3.15 clears references without a callback after the finalizers.",
            "gh:136189",
            ("cpython-3.15*",),
        ),
        Difference(
            STDLIB,
            "__del__ sees nothing, callback",
            PYPY_WHY,
            "pypy:cpython_differences",
            ("pypy-*",),
        ),
    ),
)
def order_by_collector(api: Any) -> str:
    return _order("collector")


def _resurrect_twice(way: str) -> str:
    kept: list[Any] = []
    calls: list[int] = []

    def on_del(victim: Any) -> None:
        calls.append(1)
        kept.append(victim)

    box: list[Any] = [Finalized(on_del=on_del, state="whole")]
    drop(box, way)
    until(lambda: kept)
    state = kept[0].state
    drop(kept, way)
    collect()
    return f"{state}, finalizer called {'once' if len(calls) == 1 else f'{len(calls)} times'}"


@scenario(
    "D2/refcount",
    "An object that its finalizer resurrects, and that dies again, by reference count",
    promise="A resurrected object is whole, and its finalizer is called once in its life.",
    expected="whole, finalizer called once",
    sources=("pep:442", DEL),
    absent={LASTREF: OWN, GO: NO_REFCOUNTS},
)
def resurrection_by_refcount(api: Any) -> str:
    return _resurrect_twice("refcount")


@scenario(
    "D2/collector",
    "An object that its finalizer resurrects, and that dies again, by the collector",
    promise="A resurrected object is whole, and its finalizer is called once in its life.",
    expected="whole, finalizer called once",
    sources=("pep:442", DEL, "go:runtime#SetFinalizer"),
    absent={LASTREF: OWN},
)
def resurrection_by_collector(api: Any) -> str:
    return _resurrect_twice("collector")


@scenario(
    "D2/cycle",
    "Finalizers in a cycle",
    promise="Cycles of objects with finalizers are freed, and each finalizer is called.",
    expected="both called, both dead",
    sources=("pep:442",),
    absent={LASTREF: OWN},
    differences=(
        Difference(
            GO,
            "none called, both alive",
            "Go does not free cycles that hold an object with a finalizer.",
            "go:runtime#SetFinalizer",
        ),
    ),
)
def finalizers_in_a_cycle(api: Any) -> str:
    calls: list[object] = []
    a, b = (Finalized(on_del=lambda _: calls.append(1)) for _ in range(2))
    a.other, b.other = b, a
    wrs = [weakref.ref(a), weakref.ref(b)]
    del a, b
    collect()
    called = {0: "none", 1: "one", 2: "both"}[len(calls)]
    return f"{called} called, {'both dead' if not any(wr() for wr in wrs) else 'both alive'}"


@scenario(
    "D2/siblings",
    "A finalizer in a cycle looks at another member",
    promise="When a finalizer runs, everything that its object refers to is still whole.",
    expected="whole",
    sources=("pep:442",),
    absent={LASTREF: OWN, GO: "Go does not call finalizers in a cycle (D2/cycle)."},
)
def siblings(api: Any) -> str:
    seen: list[str] = []
    a, b = Finalized(), Victim(state="whole")
    a.other, b.other = b, a
    a.on_del = lambda victim: seen.append(victim.other.state)
    del a, b
    collect()
    return seen[0] if seen else "not called"


@scenario(
    "D3/dropped",
    "The callback of a weak reference that was dropped first",
    promise="A weak reference that died before its object is not called back.",
    expected="not called",
    sources=("C4", REF),
    absent={
        LASTREF: "A cleanup is no weak reference of the user's: its handle may be dropped"
        " (C11/handle-dropped).",
        GO: "Go's weak pointers call nobody back.",
    },
)
def dropped_reference(api: Any) -> str:
    seen: list[object] = []
    box: list[Any] = [Victim()]
    wr = weakref.ref(box[0], seen.append)
    del wr
    collect()
    drop(box, "collector")
    return "called" if seen else "not called"


@scenario(
    "D3/garbage",
    "The callback of a weak reference that is garbage itself",
    promise="A weak reference that is collected together with its object is not called back.",
    expected="not called",
    sources=("C4", "gosrc:weak/pointer.go", "measured:gc_weakref.txt in CPython's sources"),
    absent={
        LASTREF: "A cleanup runs though its handle is part of the garbage (C4/handle-in-cycle).",
        GO: "Go's weak pointers call nobody back.",
    },
)
def garbage_reference(api: Any) -> str:
    seen: list[object] = []
    box: list[Any] = [Victim()]
    box[0].wr = weakref.ref(box[0], seen.append)
    drop(box, "collector")
    return "called" if seen else "not called"


def _callback_order(way: str) -> str:
    seen: list[str] = []
    box: list[Any] = [Victim()]
    # Through a default: a closure variable would be the last number for all.
    wrs = [weakref.ref(box[0], lambda _, n=n: seen.append(str(n))) for n in (1, 2, 3)]  # type: ignore[misc]
    drop(box, way)
    del wrs
    return " ".join(seen)


_ORDER = "Callbacks of one object are called from the most recently registered to the oldest."
_UNORDERED = {
    LASTREF: "The order of cleanups is not promised (C4).",
    GO: "Go's weak pointers call nobody back.",
}


@scenario(
    "D3/order-refcount",
    "The order of callbacks of one object, by reference count",
    promise=_ORDER,
    expected="3 2 1",
    sources=("C4", REF),
    absent=_UNORDERED,
)
def callback_order_by_refcount(api: Any) -> str:
    return _callback_order("refcount")


@scenario(
    "D3/order-collector",
    "The order of callbacks of one object, by the collector",
    promise=_ORDER,
    expected="3 2 1",
    sources=("C4", REF),
    absent=_UNORDERED,
    differences=(
        Difference(
            STDLIB,
            "1 2 3",
            "The collector of free-threaded 3.13 turns the order round.",
            "measured:callbacks on free-threaded 3.13",
            ("cpython-3.13t",),
        ),
    ),
)
def callback_order_by_collector(api: Any) -> str:
    return _callback_order("collector")


@scenario(
    "D3/fails",
    "A callback and a finalizer that raise",
    promise="What they raise goes to sys.unraisablehook, and the program goes on.",
    expected="told of 2",
    sources=("C15", DEL, REF),
    absent={LASTREF: "Of cleanups it is told in C15/exception.", GO: "A panic ends the program."},
)
def failing_callbacks(api: Any) -> str:
    told: list[object] = []
    sys.unraisablehook = lambda args: told.append(args.exc_type)

    def fail(_: object) -> None:
        raise ValueError

    box: list[Any] = [Finalized(on_del=fail)]
    wr = weakref.ref(box[0], fail)
    drop(box, "collector")
    until(lambda: len(told) == 2, timeout=0.5)
    del wr
    return f"told of {len(told)}"


@scenario(
    "D4/thread-refcount",
    "The thread of a finalizer, by reference count",
    promise="__del__ runs in the thread that drops the last reference.",
    expected="the dropping thread",
    sources=("C1", DEL),
    absent={LASTREF: OWN, GO: NO_REFCOUNTS},
    differences=(
        Difference(
            STDLIB,
            "the thread that made it",
            "On free-threaded builds the thread that made an object owns its count: another one"
            " that drops the last reference hands the object over to it.",
            "pep:703",
            ("cpython-*t",),
        ),
    ),
)
def thread_by_refcount(api: Any) -> str:
    need_refcounts()
    return _finalizer_thread(lambda box: box.clear())


@scenario(
    "D4/thread-collector",
    "The thread of a finalizer, by the collector",
    promise="__del__ runs in whichever thread happens to collect.",
    expected="the collecting thread",
    sources=("C1", DEL),
    absent={LASTREF: OWN},
    differences=(
        Difference(
            GO,
            "a thread of its own",
            "Finalizers run in one goroutine of the runtime's.",
            "go:runtime#SetFinalizer",
        ),
    ),
)
def thread_by_collector(api: Any) -> str:
    def die(box: list[Any]) -> None:
        box[0].itself = box[0]
        box.clear()
        collect()

    return _finalizer_thread(die).replace("dropping", "collecting")


def _finalizer_thread(die: Callable[[list[Any]], None]) -> str:
    ran: list[int] = []
    ours: list[int] = []
    gc.disable()
    box: list[Any] = [Finalized(on_del=lambda _: ran.append(threading.get_ident()))]

    def work() -> None:
        ours.append(threading.get_ident())
        die(box)

    in_thread(work)
    if ran == ours:
        return "the dropping thread"
    return "the thread that made it" if ran == [threading.get_ident()] else "another thread"


@scenario(
    "D4/foreign",
    "An object made in one thread and dropped in another",
    promise="The last reference decides, in whichever thread it is dropped: the object dies there.",
    expected="dead at once",
    sources=("docs:library/gc", "pep:703"),
    absent={GO: NO_REFCOUNTS},
)
def dropped_elsewhere(api: Any) -> str:
    need_refcounts()
    gc.disable()
    box = [Victim()]
    pointer = api.pointer(box[0])
    in_thread(box.clear)
    return "dead at once" if api.value(pointer) is None else "alive"


@scenario(
    "D4/thread-local",
    "A thread-local value after its thread ended",
    promise="What a thread has in a threading.local dies with the thread.",
    expected="dead",
    sources=("docs:library/threading#threading.local",),
    absent={GO: "Goroutines have no local variables but those of their functions."},
)
def thread_local(api: Any) -> str:
    local = threading.local()
    pointers: list[Any] = []

    def work() -> None:
        local.victim = Victim()
        pointers.append(api.pointer(local.victim))

    in_thread(work)
    collect()
    return "dead" if api.value(pointers[0]) is None else "alive"


@scenario(
    "D5/generator",
    "A suspended generator that dies",
    promise="A generator that dies is closed: its finally clauses run.",
    expected="closed",
    sources=("docs:reference/expressions#generator.close", "pep:342"),
    absent={GO: NO_GO},
)
def generator(api: Any) -> str:
    seen: list[str] = []

    def generate() -> Any:
        try:
            yield
        finally:
            seen.append("closed")

    box = [generate()]
    next(box[0])
    pointer = api.pointer(box[0])
    box.clear()
    collect()
    return seen[0] if seen and api.value(pointer) is None else "not closed"


@scenario(
    "D5/generator-cleanup",
    "The finally clause of a dying generator, and its cleanup",
    promise="With a finalizer too, the cleanup runs only after finalization.",
    expected="closed, cleanup",
    sources=("C9",),
    absent={GO: NO_GO},
    differences=tuple(
        Difference(
            b,
            "cleanup, closed",
            "A generator's deallocator clears its weak references before it closes it.",
            "cpython:Objects/genobject.c",
        )
        for b in (STDLIB, LASTREF)
    ),
)
def generator_and_cleanup(api: Any) -> str:
    seen: list[str] = []

    def generate() -> Any:
        try:
            yield
        finally:
            until(lambda: seen, timeout=0.5)
            seen.append("closed")

    box = [generate()]
    next(box[0])
    api.add_cleanup(box[0], seen.append, "cleanup")
    box.clear()
    api.settle()
    return ", ".join(seen)


@scenario(
    "D5/generator-local",
    "A local of a generator that dies",
    promise="What only a suspended generator holds dies with it.",
    expected="dead",
    sources=("docs:reference/expressions#generator.close",),
    absent={GO: NO_GO},
)
def generator_local(api: Any) -> str:
    def generate() -> Any:
        victim = Victim()
        yield api.pointer(victim)

    box = [generate()]
    pointer = next(box[0])
    alive = api.value(pointer) is not None
    box.clear()
    collect()
    return ("dead" if api.value(pointer) is None else "alive") if alive else "dead too early"


@scenario(
    "D5/coroutine",
    "A suspended coroutine that dies",
    promise="A coroutine that dies is closed: GeneratorExit is raised where it waits.",
    expected="GeneratorExit",
    sources=("docs:reference/datamodel#coroutine.close", "pep:492"),
    absent={GO: NO_GO},
    differences=tuple(
        Difference(
            b,
            "not closed",
            "PyPy closes dying generators, but not coroutines.",
            "pypysrc:pypy/interpreter/generator.py",
            ("pypy-*",),
        )
        for b in (STDLIB, LASTREF)
    ),
)
def coroutine(api: Any) -> str:
    seen: list[str] = []

    class Waiting:
        def __await__(self) -> Any:
            yield

    async def work() -> None:
        try:
            await Waiting()
        finally:
            seen.append(getattr(sys.exc_info()[0], "__name__", "nothing"))

    box = [work()]
    box[0].send(None)
    pointer = api.pointer(box[0])
    box.clear()
    collect()
    return seen[0] if seen and api.value(pointer) is None else "not closed"


@scenario(
    "D5/except",
    "A suspended generator that dies where it would catch GeneratorExit",
    promise="A generator that dies is closed: GeneratorExit is raised where it waits.",
    expected="GeneratorExit",
    sources=("docs:reference/expressions#generator.close", "pep:342"),
    absent={GO: NO_GO},
)
def generator_that_catches(api: Any) -> str:
    seen: list[str] = []

    def generate() -> Any:
        try:
            yield
        except GeneratorExit:
            seen.append("GeneratorExit")
            raise

    box = [generate()]
    next(box[0])
    pointer = api.pointer(box[0])
    box.clear()
    collect()
    return seen[0] if seen and api.value(pointer) is None else "not closed"


@scenario(
    "D5/never-awaited",
    "A coroutine that was never awaited dies",
    promise="A coroutine that dies without having been awaited warns.",
    expected="RuntimeWarning",
    sources=("docs:library/asyncio-dev#detect-never-awaited-coroutines",),
    absent={LASTREF: OWN, GO: NO_GO},
)
def never_awaited(api: Any) -> str:
    async def work() -> None:
        pass

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
        collect()
    return caught[0].category.__name__ if caught else "no warning"


@scenario(
    "D5/async-generator",
    "A suspended asynchronous generator that dies",
    promise="An asynchronous generator that dies is given to its event loop, which closes it.",
    expected="closed by the loop",
    sources=("pep:525", "docs:library/asyncio-eventloop#asyncio.loop.shutdown_asyncgens"),
    absent={LASTREF: OWN, GO: NO_GO},
)
def async_generator(api: Any) -> str:
    import asyncio

    seen: list[str] = []

    async def generate() -> Any:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            seen.append("closed by the loop")

    async def main() -> str:
        box = [generate()]
        await box[0].__anext__()
        box.clear()
        collect()
        for _ in range(10):
            await asyncio.sleep(0.01)
        return seen[0] if seen else "not closed"

    return asyncio.run(main())


@scenario(
    "D6/deep",
    "A chain of 200,000 objects that dies at once",
    promise="Chains of any length die without overflowing a stack.",
    expected="dead",
    sources=("C4", "measured:a chain of 200,000 objects"),
)
def deep(api: Any) -> str:
    last = Victim()
    pointer = api.pointer(last)
    head: Any = last
    del last
    for _ in range(200_000):
        head = Victim(next=head)
    del head
    collect()
    return "dead" if api.value(pointer) is None else "alive"


def _function() -> Any:
    def function() -> None:
        pass

    return function


@scenario(
    "D7/function",
    "A function whose last reference was dropped",
    promise="A function that is in no cycle dies with its last reference.",
    expected="dead at once",
    sources=("pep:703",),
    absent={GO: "Weak pointers point to variables, not to functions."},
)
def function(api: Any) -> str:
    need_refcounts()
    return _when_dead(api, _function)


@scenario(
    "D7/class",
    "A class whose last reference was dropped",
    promise="A class, which is always in a cycle with itself, dies by the collector.",
    expected="dead after a collection",
    sources=("docs:library/gc",),
    absent={GO: "Go's types are not made at run time."},
)
def class_(api: Any) -> str:
    return _when_dead(api, lambda: type("Class", (), {}))


@scenario(
    "D7/class-after-thread",
    "A class whose last reference was dropped, after a thread was started",
    promise="A class dies by the collector, whatever threads there were.",
    expected="dead after a collection",
    sources=("docs:library/gc",),
    absent={GO: "Go's types are not made at run time."},
    differences=tuple(
        Difference(
            b,
            "alive",
            "Free-threaded 3.13 makes objects with deferred counts immortal as soon as a thread"
            " has been started.",
            "docs:howto/free-threading-python#immortalization",
            ("cpython-3.13t",),
        )
        for b in (STDLIB, LASTREF)
    ),
)
def class_after_thread(api: Any) -> str:
    in_thread(lambda: None)
    return _when_dead(api, lambda: type("Class", (), {}))


@scenario(
    "D7/module",
    "A module whose last reference was dropped, after a thread was started",
    promise="A module that nobody refers to dies.",
    expected="dead",
    sources=("docs:library/gc",),
    absent={GO: "Go's packages live as long as the program."},
    differences=tuple(
        Difference(
            b,
            "alive",
            "Free-threaded 3.13 makes objects with deferred counts immortal as soon as a thread"
            " has been started.",
            "docs:howto/free-threading-python#immortalization",
            ("cpython-3.13t",),
        )
        for b in (STDLIB, LASTREF)
    ),
)
def module(api: Any) -> str:
    in_thread(lambda: None)
    outcome = _when_dead(api, lambda: type(sys)("module"))
    return outcome.partition(" ")[0]


def _when_dead(api: Any, make: Callable[[], Any]) -> str:
    gc.disable()
    pointer = api.pointer(make())
    if api.value(pointer) is None:
        return "dead at once"
    collect()
    return "dead after a collection" if api.value(pointer) is None else "alive"


@scenario(
    "D8/count",
    "The reference count of None",
    promise="Immortal objects are not counted: references to None do not change its count.",
    expected="unchanged",
    sources=("pep:683",),
    absent={LASTREF: OWN, GO: NO_REFCOUNTS},
    differences=(
        Difference(
            STDLIB, "changed", "Immortal objects came with 3.12.", "pep:683", ("cpython-3.11",)
        ),
    ),
)
def immortal_count(api: Any) -> str:
    need_refcounts()
    before = sys.getrefcount(None)
    held = [None] * 1000
    after = sys.getrefcount(None)
    del held
    return "unchanged" if before == after else "changed"


@scenario(
    "D8/interned",
    "An interned string",
    promise="sys.intern does not make a string immortal: it can be freed again.",
    expected="mortal",
    sources=("docs:library/sys#sys.intern",),
    absent={LASTREF: "Handles of strings are watched in U5/string.", GO: NO_REFCOUNTS},
    differences=(
        Difference(
            STDLIB,
            "immortal",
            "3.12 made interned strings immortal until that was mended (3.12.6), and free-threaded"
            " 3.13 does.",
            "gh:113993",
            ("cpython-3.12", "cpython-*t"),
        ),
    ),
)
def interned(api: Any) -> str:
    need_refcounts()
    text = sys.intern("a string that is not " + "".join(["in", " any code"]))
    return "mortal" if sys.getrefcount(text) < 1000 else "immortal"


@scenario(
    "D8/immortal-cleanup",
    "A cleanup of a static type",
    promise="The cleanup of what never dies never runs.",
    expected="not run",
    sources=("C13", "pep:683"),
)
def immortal_cleanup(api: Any) -> str:
    seen: list[int] = []
    cleanup = api.add_cleanup(int, seen.append, 1)
    api.settle()
    outcome = "run" if seen else "not run"
    api.stop(cleanup)
    return outcome
