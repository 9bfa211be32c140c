"""Testing object death (T): the eight points of the Go guide's recipe, and what mends them here.

In the column of lastref, `deathwatch.collect` stands beside the collector's own function.
"""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

from .catalogue import GO, LASTREF, STDLIB, Difference, Unavailable, scenario
from .cleanups import NO_REFCOUNTS
from .dying import Finalized, Victim, collect, drop

GUIDE = "gogc:Testing_object_death"


@scenario(
    "T1/beside",
    "A victim that another test's thread has seen",
    promise="Tests of object death must not run beside others, whose threads may hold the victim.",
    expected="alive, then dead",
    sources=(GUIDE,),
)
def beside(api: Any) -> str:
    table = {"victim": Victim()}
    wr = weakref.ref(table["victim"])
    seen, leave = threading.Event(), threading.Event()

    def other_test() -> None:
        held = table["victim"]
        seen.set()
        leave.wait(5.0)
        del held

    thread = threading.Thread(target=other_test)
    thread.start()
    seen.wait(5.0)
    table.clear()
    api.collect()
    during = "dead" if wr() is None else "alive"
    leave.set()
    thread.join()
    api.collect()
    return f"{during}, then {'dead' if wr() is None else 'alive'}"


@scenario(
    "T2/baseline",
    "Garbage from before the test",
    promise="A collection on entry makes a baseline: what was garbage before is gone.",
    expected="gone before, nothing after",
    sources=(GUIDE,),
)
def baseline(api: Any) -> str:
    box: list[Any] = [Victim()]
    box[0].itself = box[0]
    died: list[Any] = []
    wr = weakref.ref(box[0], died.append)
    box.clear()
    api.collect()
    before = "gone before" if wr() is None and died else "left"
    died.clear()
    api.collect()
    return f"{before}, {'something' if died else 'nothing'} after"


@scenario(
    "T3/queues",
    "A cleanup after the collection, while an earlier one is busy",
    promise="A collection makes weak pointers nil and queues cleanups; it does not wait for them.",
    expected="dead, not run; run later",
    sources=("C1", GUIDE),
    differences=(
        Difference(
            STDLIB,
            "dead, run; run later",
            "A weak-reference callback is called by the collection itself.",
            "docs:library/weakref#weakref.ref",
        ),
    ),
)
def queues(api: Any) -> str:
    gate, busy = threading.Event(), threading.Event()
    seen: list[str] = []

    def block(_: object) -> None:
        busy.set()
        gate.wait(5.0 if api.ours else 0.0)

    box: list[Any] = [Victim()]
    api.add_cleanup(box[0], block, None)
    drop(box, "collector")
    busy.wait(5.0)
    box.append(Victim())
    pointer = api.pointer(box[0])
    api.add_cleanup(box[0], seen.append, "run")
    drop(box, "collector")
    dead = "dead" if api.value(pointer) is None else "alive"
    after = "run" if seen else "not run"
    gate.set()
    api.settle()
    return f"{dead}, {after}; {'run' if seen else 'not run'} later"


@scenario(
    "T3/drain",
    "Waiting for cleanups",
    promise="A drain returns when everything that was queued has run.",
    expected="all 100 ran",
    sources=("contract:drain", GUIDE),
    absent={
        STDLIB: "weakref.finalize queues nothing, so there is nothing to wait for.",
        GO: "Go has no public drain, which its users ask for; its own tests have one.",
    },
)
def drain(api: Any) -> str:
    from lastref.cleanup import drain

    seen: list[int] = []
    box: list[Any] = [Victim() for _ in range(100)]
    for victim in box:
        api.add_cleanup(victim, seen.append, 1)
    del victim
    drop(box, "collector")
    finished = drain(timeout=10)
    return f"all {len(seen)} ran" if finished and len(seen) == 100 else f"{len(seen)} ran"


@scenario(
    "T4/chain",
    "Three finalizers, each of which lets the next object go",
    promise="Chains of finalizers need as many collections as they are deep.",
    expected="3 collections",
    sources=(GUIDE,),
    differences=(
        Difference(
            LASTREF,
            "1 collections",
            "deathwatch.collect calls gc.collect, which goes once through what is there, until"
            " nothing more is found.",
            "docs:library/gc#gc.collect",
        ),
    ),
)
def chain(api: Any) -> str:
    held: dict[int, Any] = {}
    dead: list[int] = []

    def let_go(victim: Any) -> None:
        dead.append(victim.number)
        held.pop(victim.number + 1, None)

    for number in range(3):
        victim = Finalized(number=number, on_del=let_go)
        victim.itself = victim
        held[number] = victim
    del victim
    held.pop(0)
    gc.disable()
    for count in range(1, 9):
        api.collect()
        if len(dead) == 3:
            return f"{count} collections"
    return f"{len(dead)} dead after 8 collections"


@scenario(
    "T5/threads",
    "Objects dying in four threads at once",
    promise="Deaths in threads that race lose nothing and repeat nothing.",
    expected="4000 cleanups, each once",
    sources=("C16", GUIDE),
)
def racing(api: Any) -> str:
    from .dying import in_threads

    seen: list[int] = []

    def work(index: int) -> None:
        for number in range(1000):
            victim = Victim()
            victim.itself = victim
            api.add_cleanup(victim, seen.append, index * 1000 + number)
            del victim

    in_threads(4, work)
    api.settle()
    once = len(seen) == len(set(seen))
    return f"{len(seen)} cleanups, " + ("each once" if once else "some twice")


@scenario(
    "T6/while-collecting",
    "A collection while another thread is collecting",
    promise="A collection that returns has collected, also while another thread is collecting.",
    expected="dead",
    sources=("go:runtime#GC", GUIDE),
    differences=(
        Difference(
            STDLIB,
            "alive",
            "gc.collect() returns 0 at once while another thread is collecting.",
            "cpython:Python/gc.c",
        ),
    ),
)
def while_collecting(api: Any) -> str:
    inside, leave = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        inside.set()
        leave.wait(0.5)

    def other() -> None:
        box: list[Any] = [Finalized(on_del=wait)]
        drop(box, "collector")

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(5.0)
    victim = Victim()
    victim.itself = victim
    wr = weakref.ref(victim)
    del victim
    api.collect()
    outcome = "dead" if wr() is None else "alive"
    leave.set()
    thread.join()
    return outcome


@scenario(
    "T6/frozen",
    "Garbage in a frozen heap",
    promise="Objects passed to gc.freeze() survive collections, though they are garbage.",
    expected="alive, dead once unfrozen",
    sources=("docs:library/gc#gc.freeze",),
    absent={GO: "Go's heap can't be frozen."},
)
def frozen(api: Any) -> str:
    if not hasattr(gc, "freeze"):
        raise Unavailable("PyPy has no gc.freeze.")
    gc.disable()
    box: list[Any] = [Victim()]
    box[0].itself = box[0]
    wr = weakref.ref(box[0])
    box.clear()
    gc.freeze()
    api.collect()
    first = "dead" if wr() is None else "alive"
    gc.unfreeze()
    api.collect()
    return f"{first}, {'dead' if wr() is None else 'alive'} once unfrozen"


@scenario(
    "T7/frame",
    "A victim made in the test's own frame, and one made by a helper",
    promise="Build the victim in a helper's frame: the test's own frame holds what it named.",
    expected="own frame: alive; helper: dead",
    sources=(GUIDE,),
    differences=(
        Difference(
            GO,
            "own frame: dead; helper: dead",
            "Go's frames hold only what they will use again.",
            "go:runtime#KeepAlive",
        ),
    ),
)
def frames(api: Any) -> str:
    victim = Victim()
    own = api.pointer(victim)
    helper = api.pointer((lambda: Victim())())
    api.collect()
    collect()
    states = ["dead" if api.value(p) is None else "alive" for p in (own, helper)]
    return f"own frame: {states[0]}; helper: {states[1]}"


@scenario(
    "T8/refcount",
    "The death of an object that is in no cycle",
    promise="An object that is in no cycle dies with its last reference, without the collector.",
    expected="at once",
    sources=("docs:library/gc",),
    differences=(
        Difference(GO, "by the collector", NO_REFCOUNTS, "gogc:Tracing_Garbage_Collection"),
        *(
            Difference(
                b,
                "by the collector",
                "PyPy counts no references.",
                "pypy:cpython_differences",
                ("pypy-*",),
            )
            for b in (STDLIB, LASTREF)
        ),
    ),
)
def by_refcount(api: Any) -> str:
    gc.disable()
    pointer = api.pointer(Victim())
    if api.value(pointer) is None:
        return "at once"
    collect()
    return "by the collector" if api.value(pointer) is None else "never"


@scenario(
    "T8/collector",
    "The death of an object that is in a cycle",
    promise="An object in a cycle dies by the collector, and not before.",
    expected="by the collector",
    sources=("docs:library/gc",),
)
def by_collector(api: Any) -> str:
    gc.disable()
    victim = Victim()
    victim.itself = victim
    pointer = api.pointer(victim)
    del victim
    if api.value(pointer) is None:
        return "at once"
    collect()
    return "by the collector" if api.value(pointer) is None else "never"
