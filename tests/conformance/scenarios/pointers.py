"""Weak pointers: what they show of an object, and what they equal (semantics W1 to W11)."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any

from .catalogue import GO, LASTREF, STDLIB, Difference, Unavailable, scenario
from .cleanups import NO_REFCOUNTS
from .dying import PYPY, Finalized, Victim, collect, drop, until

BY_REFERENT = (
    "A weak reference compares and hashes by its referent while that lives, by its own identity"
    " afterwards."
)
DOCS = "docs:library/weakref#weakref.ref"


class Alike(Victim):
    """Equal to all of its kind."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike)

    def __hash__(self) -> int:
        return 1


class Unhashable(Victim):
    __hash__ = None  # type: ignore[assignment]


@scenario(
    "W1/weak",
    "A weak pointer and its object",
    promise="A weak pointer does not keep its object alive.",
    expected="dead",
    sources=("W1", "go:weak#Pointer"),
)
def weak(api: Any) -> str:
    box: list[Any] = [Victim()]
    pointer = api.pointer(box[0])
    drop(box, "collector")
    return "dead" if api.value(pointer) is None else "alive"


@scenario(
    "W2/value",
    "The value of a weak pointer",
    promise="The value is the object, over collections, and nil once it is reclaimed.",
    expected="the object, the object, nothing",
    sources=("W2", "gotest:weak/pointer_test.go TestPointer"),
)
def value(api: Any) -> str:
    box: list[Any] = [Victim()]
    pointer = api.pointer(box[0])
    seen = ["the object" if api.value(pointer) is box[0] else "nothing"]
    collect()
    seen.append("the object" if api.value(pointer) is box[0] else "nothing")
    drop(box, "collector")
    seen.append("nothing" if api.value(pointer) is None else "the object")
    return ", ".join(seen)


@scenario(
    "W3/alive",
    "Pointers to one object and to two, before death",
    promise="Weak pointers are equal if, and only if, they were made from the same object.",
    expected="same: equal; another: unequal",
    sources=("W3", "gotest:weak/pointer_test.go TestPointerEquality"),
)
def equality_before(api: Any) -> str:
    a, b = Victim(), Victim()
    same = api.pointer(a) == api.pointer(a)
    other = api.pointer(a) == api.pointer(b)
    return f"same: {'equal' if same else 'unequal'}; another: {'equal' if other else 'unequal'}"


@scenario(
    "W3/dead",
    "Pointers to one object and to two, after death",
    promise="Equality is the same after the object's death.",
    expected="same: equal; another: unequal",
    sources=("W3", "gotest:weak/pointer_test.go TestPointerEquality"),
)
def equality_after(api: Any) -> str:
    box: list[Any] = [Victim(), Victim()]
    first, again, second = api.pointer(box[0]), api.pointer(box[0]), api.pointer(box[1])
    drop(box, "collector")
    same, other = first == again, first == second
    return f"same: {'equal' if same else 'unequal'}; another: {'equal' if other else 'unequal'}"


@scenario(
    "W3/alike",
    "Pointers to two objects that are equal",
    promise="Pointers to two objects are unequal, whatever the objects' own equality says.",
    expected="unequal, then unequal",
    sources=("W3", "go:weak#Pointer"),
    differences=(Difference(STDLIB, "equal, then unequal", BY_REFERENT, DOCS),),
)
def alike(api: Any) -> str:
    box: list[Any] = [Alike(), Alike()]
    first, second = api.pointer(box[0]), api.pointer(box[1])
    before = first == second
    drop(box, "collector")
    after = first == second
    return f"{'equal' if before else 'unequal'}, then {'equal' if after else 'unequal'}"


@scenario(
    "W3/hash-late",
    "The hash of a pointer, first taken after death",
    promise="A pointer can be the key of a map before and after its object's death.",
    expected="a hash",
    sources=("W3", "go:weak#Pointer"),
    differences=(Difference(STDLIB, "TypeError", BY_REFERENT, DOCS),),
)
def late_hash(api: Any) -> str:
    box: list[Any] = [Victim()]
    pointer = api.pointer(box[0])
    drop(box, "collector")
    try:
        hash(pointer)
    except TypeError:
        return "TypeError"
    return "a hash"


@scenario(
    "W3/unhashable",
    "The hash of a pointer to an unhashable object",
    promise="A pointer can be the key of a map, whatever its object's own hash does.",
    expected="a hash",
    sources=("W3", "go:weak#Pointer"),
    differences=(Difference(STDLIB, "TypeError", BY_REFERENT, DOCS),),
)
def unhashable(api: Any) -> str:
    victim = Unhashable()
    try:
        hash(api.pointer(victim))
    except TypeError:
        return "TypeError"
    return "a hash"


@scenario(
    "W3/address",
    "A pointer to the dead, and a new object at its address",
    promise="A pointer never equals one to a later object that has the same address.",
    expected="unequal, and nothing",
    sources=("W3", "W10", "go:weak#Pointer"),
)
def same_address(api: Any) -> str:
    pointers: dict[int, Any] = {}
    for _ in range(1000):
        victim = Victim()
        old = pointers.get(id(victim))
        if old is not None and (PYPY or api.value(old) is not victim):
            equal = api.pointer(victim) == old
            return ("equal" if equal else "unequal") + (
                ", and nothing" if api.value(old) is None else ", and an object"
            )
        pointers[id(victim)] = api.pointer(victim)
        del victim
        if PYPY:
            gc.collect()
    raise Unavailable(
        "No address was used twice in 1,000 tries: identities are not addresses here."
    )


@scenario(
    "W4/interior",
    "Pointers to different parts of one object",
    promise="Pointers to different offsets of one object are unequal.",
    expected="unequal",
    sources=("W4", "gotest:weak/pointer_test.go TestPointerEquality"),
    absent=dict.fromkeys((STDLIB, LASTREF), "Python has no pointers into an object."),
)
def interior(api: Any) -> str:
    raise Unavailable("Python has no pointers into an object.")


ALIVE_IN_DEL = (
    "Finalizers are called by tp_dealloc before the weak references are cleared: by the reference"
    " count, a dying object is alive until its __del__ has returned."
)
CLEARED_LATER = (
    "CPython 3.15 clears weak references without a callback only after the finalizers, so that"
    " these can use them; those with a callback are still cleared before. A pointer that asked one"
    " of those would keep W5 and W7, and is not made: what a finalizer resurrects keeps its"
    " identity, which is the reference without a callback, so that of two equal pointers to it the"
    " older would show nothing and the newer the object."
)


@scenario(
    "W5/refcount",
    "A weak pointer in the finalizer, by reference count",
    promise="A weak pointer is nil from the moment that the finalizer is queued.",
    expected="nothing, then nothing",
    sources=("W5", "gotest:weak/pointer_test.go TestPointerFinalizer"),
    absent={GO: NO_REFCOUNTS},
    differences=tuple(
        Difference(
            b,
            "the object, then nothing",
            ALIVE_IN_DEL,
            "docs:c-api/typeobj#c.PyTypeObject.tp_dealloc",
        )
        for b in (STDLIB, LASTREF)
    ),
)
def in_finalizer_by_refcount(api: Any) -> str:
    return _in_finalizer(api, "refcount")


@scenario(
    "W5/collector",
    "A weak pointer in the finalizer, by the collector",
    promise="A weak pointer is nil from the moment that the finalizer is queued.",
    expected="nothing, then nothing",
    sources=("W5", "gotest:weak/pointer_test.go TestPointerFinalizer"),
    differences=tuple(
        Difference(b, "the object, then nothing", CLEARED_LATER, "gh:136189", ("cpython-3.15*",))
        for b in (STDLIB, LASTREF)
    ),
)
def in_finalizer_by_collector(api: Any) -> str:
    return _in_finalizer(api, "collector")


def _in_finalizer(api: Any, way: str) -> str:
    seen: list[str] = []
    box: list[Any] = [Finalized()]
    pointer = api.pointer(box[0])
    box[0].on_del = lambda _: seen.append("nothing" if api.value(pointer) is None else "the object")
    drop(box, way)
    seen.append("nothing" if api.value(pointer) is None else "the object")
    return ", then ".join(seen)


def _resurrected(api: Any, way: str) -> str:
    kept: list[Any] = []
    box: list[Any] = [Finalized(on_del=kept.append)]
    old = api.pointer(box[0])
    drop(box, way)
    until(lambda: kept)
    new = api.pointer(kept[0])
    return f"{'equal' if old == new else 'unequal'}, the old one shows " + (
        "nothing" if api.value(old) is None else "the object"
    )


@scenario(
    "W6/refcount",
    "Pointers from before and after a resurrection, by reference count",
    promise="A pointer made after a resurrection is unequal to one made before, which is nil.",
    expected="unequal, the old one shows nothing",
    sources=("W6", "go:weak#Pointer"),
    absent={GO: NO_REFCOUNTS},
    differences=tuple(
        Difference(b, "equal, the old one shows the object", ALIVE_IN_DEL, "pep:442")
        for b in (STDLIB, LASTREF)
    ),
)
def resurrected_by_refcount(api: Any) -> str:
    return _resurrected(api, "refcount")


@scenario(
    "W6/collector",
    "Pointers from before and after a resurrection, by the collector",
    promise="A pointer made after a resurrection is unequal to one made before, which is nil.",
    expected="unequal, the old one shows nothing",
    sources=("W6", "go:weak#Pointer"),
    differences=tuple(
        Difference(
            b, "equal, the old one shows the object", CLEARED_LATER, "gh:136189", ("cpython-3.15*",)
        )
        for b in (STDLIB, LASTREF)
    ),
)
def resurrected_by_collector(api: Any) -> str:
    return _resurrected(api, "collector")


@scenario(
    "W7/cleanup",
    "A weak pointer in the cleanup",
    promise="A weak pointer is nil before any cleanup of its object runs.",
    expected="nothing",
    sources=("W7", "gotest:weak/pointer_test.go TestPointerCleanup"),
    differences=(Difference(STDLIB, "the object", CLEARED_LATER, "gh:136189", ("cpython-3.15*",)),),
)
def in_cleanup(api: Any) -> str:
    return _in_cleanup(api, Victim())


def _in_cleanup(api: Any, victim: Any) -> str:
    seen: list[str] = []
    box = [victim]
    del victim
    pointer = api.pointer(box[0])
    api.add_cleanup(
        box[0], lambda _: seen.append("nothing" if api.value(pointer) is None else "the object"), 1
    )
    drop(box, "collector")
    api.settle()
    return seen[0]


@scenario(
    "W7/finalizer",
    "A weak pointer in the cleanup of an object with a slow finalizer",
    promise="A weak pointer is nil before any cleanup of its object runs.",
    expected="nothing",
    sources=("W7", "C9", "go:weak#Pointer.Value"),
    differences=tuple(
        Difference(b, "the object", CLEARED_LATER, "gh:136189", ("cpython-3.15*",))
        for b in (STDLIB, LASTREF)
    ),
)
def in_cleanup_beside_finalizer(api: Any) -> str:
    return _in_cleanup(api, Finalized(on_del=lambda _: time.sleep(0.2)))


@scenario(
    "W8/null",
    "Pointers to nothing",
    promise="Pointers made from nil have no value, and are equal to each other.",
    expected="nothing, equal",
    sources=("W8", "gotest:weak/pointer_test.go TestPointer"),
    differences=(Difference(STDLIB, "TypeError", "None has no weak references.", DOCS),),
)
def null(api: Any) -> str:
    try:
        first, second = api.pointer(None), api.pointer(None)
    except TypeError:
        return "TypeError"
    shows = "nothing" if api.value(first) is None else "something"
    return f"{shows}, {'equal' if first == second else 'unequal'}"


@scenario(
    "W9/immortal",
    "A pointer to what never dies",
    promise="A pointer to an immortal object is never cleared, and equals others to it.",
    expected="the object, equal",
    sources=("W9", "gotest:weak/pointer_test.go TestImmortalPointer"),
)
def immortal(api: Any) -> str:
    pointer = api.pointer(int)
    collect()
    collect()
    shows = "the object" if api.value(pointer) is int else "nothing"
    return f"{shows}, {'equal' if pointer == api.pointer(int) else 'unequal'}"


@scenario(
    "W10/race",
    "Looks at dying objects beside a collector that never rests",
    promise="A weak pointer shows its object or nothing, and never resurrects the dead.",
    expected="the object or nothing, always",
    sources=("W10", "gotest:weak/pointer_test.go TestIssue69210"),
)
def race(api: Any) -> str:
    stop = threading.Event()

    def collecting() -> None:
        while not stop.is_set():
            gc.collect()

    collector = threading.Thread(target=collecting)
    collector.start()
    wrong = 0
    for number in range(10 if PYPY else 300):  # on PyPy each may wait 0.4 s for a collection
        box = [Victim(number=number)]
        pointer = api.pointer(box[0])
        box[0].itself = box[0]
        box.clear()
        shown = api.value(pointer)
        wrong += shown is not None and (shown.number != number or shown.itself is not shown)
        del shown
    stop.set()
    collector.join()
    return "the object or nothing, always" if not wrong else f"something else, {wrong} times"


@scenario(
    "W10/threads",
    "Four threads make pointers to the same objects",
    promise="There is one pointer per object, also where threads make it at once.",
    expected="equal, 500 times",
    sources=("W3", "gotest:weak/pointer_test.go TestIssue70739"),
)
def made_at_once(api: Any) -> str:
    from .dying import in_threads

    victims = [Victim() for _ in range(500)]
    made: list[list[Any]] = [[] for _ in range(4)]
    in_threads(4, lambda i: made[i].extend([api.pointer(victim) for victim in victims]))
    equal = sum(
        len({id(api.value(p)) for p in row}) == 1 and len(set(row)) == 1
        for row in zip(*made, strict=True)
    )
    return f"equal, {equal} times"


@scenario(
    "W11/map",
    "A map from weak pointers to values that hold their keys",
    promise="A map keyed by weak pointers does not weaken its values: value to key leaks.",
    expected="leaks",
    sources=("W11", "go:weak#Pointer"),
)
def value_holds_key(api: Any) -> str:
    box: list[Any] = [Victim()]
    wr = weakref.ref(box[0])
    table: Any = {} if api.ours else weakref.WeakKeyDictionary()
    table[api.pointer(box[0]) if api.ours else box[0]] = Victim(key=box[0])
    drop(box, "collector")
    return "dead" if wr() is None else "leaks"


@scenario(
    "W11/value-map",
    "A map with weak values whose keys hold them",
    promise="A map with weak values keeps a value alive that its key reaches.",
    expected="leaks",
    sources=("W11", "docs:library/weakref#weakref.WeakValueDictionary"),
)
def key_holds_value(api: Any) -> str:
    box: list[Any] = [Victim()]
    wr = weakref.ref(box[0])
    cache = api.cache(lambda key: key.held)
    cache.get(Victim(held=box[0]))
    drop(box, "collector")
    api.settle()
    return "dead" if wr() is None else "leaks"


@scenario(
    "W/small",
    "A thousand small objects",
    promise="At least three quarters of 1,000 small objects are seen to die.",
    expected="at least 750",
    sources=("W2", "gotest:weak/pointer_test.go TestPointerTiny"),
)
def small(api: Any) -> str:
    class Small:
        __slots__ = ("__weakref__",)

    pointers = [api.pointer(Small()) for _ in range(1000)]
    collect()
    dead = sum(api.value(pointer) is None for pointer in pointers)
    return "at least 750" if dead >= 750 else f"{dead}"


@scenario(
    "W/method",
    "A weak pointer to a bound method",
    promise="A bound method is an object of its own, and dies at once though its object lives.",
    expected="dead",
    sources=("docs:library/weakref#weakref.WeakMethod",),
    absent={GO: "A method value in Go is a function, and weak pointers point to variables."},
)
def bound_method(api: Any) -> str:
    class Methods(Victim):
        def method(self) -> None:
            pass

    victim = Methods()
    pointer = api.pointer(victim.method)
    collect()
    return "dead" if api.value(pointer) is None else "alive"
