"""Unique handles: one for all equal values (semantics U1 to U9)."""

from __future__ import annotations

import enum
import gc
import sys
import weakref
from dataclasses import dataclass
from typing import Any, NamedTuple

from .catalogue import GO, STDLIB, Difference, Unavailable, scenario
from .dying import PYPY, Victim, collect, in_threads

DICT_OF_ITSELF = (
    "sys.intern takes strings alone; for anything else the idiom is a dict of each value to"
    " itself, which compares by == and never forgets."
)
INTERN = "docs:library/sys#sys.intern"


class Key:
    """A value that can be watched: equal and hashed by its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)


class Colliding(Key):
    """All have the same hash."""

    __hash__ = lambda self: 1  # noqa: E731


@dataclass(frozen=True)
class Frozen:
    a: str


class Pair(NamedTuple):
    z: float
    b: str


class Color(enum.Enum):
    RED = 1


def _eleven_kinds() -> list[Any]:
    """Made anew at each call, so that no two are the same object by accident."""
    return [
        "".join(["f", "oo"]),
        "",
        (7, 77, 777, 7777),
        None,
        ("a", "b", "c"),
        Frozen("x"),
        ((Frozen("y"), Frozen("z")),),
        Pair(0.5, "184"),
        b"".join([b"he", b"llo"]),
        frozenset({1, 2}),
        complex(10**20, 3),
        Color.RED,
        10**30,
    ]


@scenario(
    "U1/kinds",
    "Handles of equal values, of every kind",
    promise="Handles are equal if, and only if, the values are.",
    expected="equal: all; different: all",
    sources=("U1", "gotest:unique/handle_test.go TestHandle"),
)
def kinds(api: Any) -> str:
    first = [api.handle(value) for value in _eleven_kinds()]
    second = [api.handle(value) for value in _eleven_kinds()]
    same = all(a is b for a, b in zip(first, second, strict=True))
    values = all(
        api.handle_value(h) == value for h, value in zip(first, _eleven_kinds(), strict=True)
    )
    return f"equal: {'all' if same and values else 'not all'}; different: " + (
        "all" if len(set(map(id, first))) == len(first) else "not all"
    )


@scenario(
    "U1/colliding",
    "Handles of values whose hashes collide",
    promise="Handles are right under the worst of hashes.",
    expected="100 handles of 100 values",
    sources=("U1", "gotest:unique/canonmap_test.go TestCanonMapBadHash"),
    absent={GO: "Go's hash can only be replaced from inside of the package, whose tests do."},
)
def colliding(api: Any) -> str:
    made = [api.handle(Colliding(number)) for number in range(100)]
    again = [api.handle(Colliding(number)) for number in range(100)]
    same = all(a is b for a, b in zip(made, again, strict=True))
    return f"{len(set(map(id, made)))} handles of 100 values" if same else "not the same again"


@scenario(
    "U2/numbers",
    "Handles of 1, 1.0 and True",
    promise="Values of different types have different handles, though they compare equal.",
    expected="3 handles",
    sources=("U2", "go:unique#Make"),
    differences=(Difference(STDLIB, "1 handle", DICT_OF_ITSELF, INTERN),),
)
def numbers(api: Any) -> str:
    handles = [api.handle(value) for value in (1, 1.0, True)]
    count = len(set(map(id, handles)))
    return f"{count} handle{'s' if count > 1 else ''}"


@scenario(
    "U2/nested",
    "Handles of (1,), (1.0,) and (True,)",
    promise="Types are told apart inside of tuples too.",
    expected="3 handles",
    sources=("U2", "contract:unique.make"),
    differences=(Difference(STDLIB, "1 handle", DICT_OF_ITSELF, INTERN),),
)
def nested_numbers(api: Any) -> str:
    handles = [api.handle(value) for value in ((1,), (1.0,), (True,))]
    count = len(set(map(id, handles)))
    return f"{count} handle{'s' if count > 1 else ''}"


@scenario(
    "U3/value",
    "The value of a handle",
    promise="The value of a handle is equal to what it was made of.",
    expected="equal, of the same type",
    sources=("U3", "go:unique#Handle.Value"),
)
def value(api: Any) -> str:
    given = ("text", 7, (1.5, b"bytes"))
    got = api.handle_value(api.handle(given))
    return f"{'equal' if got == given else 'unequal'}, " + (
        "of the same type" if type(got) is tuple else f"a {type(got).__name__}"
    )


@scenario(
    "U3/mutable",
    "A handle of something mutable",
    promise="A value that can't be compared for good is refused.",
    expected="refused",
    sources=("U3", "contract:unique.make"),
)
def mutable(api: Any) -> str:
    try:
        api.handle([1])
    except TypeError:
        return "refused"
    return "accepted"


@scenario(
    "U3/threads",
    "Four threads make handles of the same values",
    promise="Handles are safe under concurrency: one per value.",
    expected="one each, 500 times",
    sources=("U3", "gotest:unique/canonmap_test.go TestCanonMap"),
)
def threads(api: Any) -> str:
    made: list[list[Any]] = [[] for _ in range(4)]
    in_threads(4, lambda i: made[i].extend([api.handle(("key", n)) for n in range(500)]))
    good = sum(len(set(map(id, row))) == 1 for row in zip(*made, strict=True))
    return f"one each, {good} times"


class _Heavy(str):
    """A string that carries something along."""


@scenario(
    "U4/subclass",
    "A handle of a string that carries something along",
    promise="The handle does not retain the memory that the string came with.",
    expected="released",
    sources=("U4", "gotest:unique/handle_test.go TestMakeClonesStrings"),
    differences=(Difference(STDLIB, "TypeError", "sys.intern refuses subclasses of str.", INTERN),),
)
def subclass(api: Any) -> str:
    text = _Heavy("carries something along")
    text.load = Victim()  # type: ignore[attr-defined]
    wr = weakref.ref(text.load)  # type: ignore[attr-defined]
    try:
        handle = api.handle(text)
    except TypeError:
        return "TypeError"
    del text
    collect()
    return ("released" if wr() is None else "retained") if handle is not None else "no handle"


@scenario(
    "U4/buffer",
    "Handles of texts from a buffer that is used again",
    promise="Writing to a buffer changes no handle of a value that was made from it.",
    expected="unchanged, 1024 times",
    sources=("U4", "gotest:unique/handle_test.go TestHandleUnsafeString"),
)
def buffer(api: Any) -> str:
    memory = bytearray(8)
    handles = []
    for number in range(1024):
        text = str(number).encode()
        memory[: len(text)] = text
        handles.append(api.handle(bytes(memory[: len(text)])))
    good = sum(api.handle_value(h) == str(n).encode() for n, h in enumerate(handles))
    return f"unchanged, {good} times"


@scenario(
    "U5/vanishes",
    "A value after its last handle was dropped",
    promise="A value that no handle stands for any more is forgotten.",
    expected="forgotten",
    sources=("U5", "gotest:unique/handle_test.go TestHandle"),
    differences=(Difference(STDLIB, "kept", DICT_OF_ITSELF, INTERN),),
)
def vanishes(api: Any) -> str:
    key = Key(1)
    wr = weakref.ref(key)
    handle = api.handle(key)
    del key
    alive = wr() is not None
    del handle
    api.settle()
    return ("forgotten" if wr() is None else "kept") if alive else "forgotten too early"


@scenario(
    "U5/string",
    "A string after its last handle was dropped",
    promise="A string that no handle stands for any more is forgotten.",
    expected="forgotten",
    sources=("U5", "docs:library/sys#sys.intern"),
    absent={GO: "A string in Go can't be watched once it is cloned (U5/vanishes watches values)."},
    differences=(
        Difference(
            STDLIB,
            "kept",
            "3.12 made interned strings immortal until that was mended (3.12.6), and free-threaded"
            " 3.13 does.",
            "gh:113993",
            ("cpython-3.12", "cpython-3.13t"),
        ),
    ),
)
def forgotten_string(api: Any) -> str:
    if PYPY:
        raise Unavailable("PyPy does not say how much memory its strings take.")
    blocks = []
    for round in range(10):
        for number in range(1000):
            api.handle(f"a string of some length, number {round} {number}")
        api.settle()
        blocks.append(sys.getallocatedblocks())
    # What is kept of each string is one block at least. Some rounds' books may still be open.
    return "forgotten" if blocks[9] - blocks[1] < 5000 else "kept"


@scenario(
    "U6/chain",
    "A chain of a thousand nested handles",
    promise="A chain of handles, each the value of the next, goes in one collection.",
    expected="gone",
    sources=("U6", "gotest:unique/handle_test.go TestNestedHandle"),
    differences=(Difference(STDLIB, "kept", DICT_OF_ITSELF, INTERN),),
)
def chain(api: Any) -> str:
    key = Key(0)
    wr = weakref.ref(key)
    handle = api.handle((key,))
    del key
    for number in range(1000):
        handle = api.handle((number, _ById(handle)))
    del handle
    api.settle()
    return "gone" if wr() is None else "kept"


class _ById:
    """Holds a handle; compares by its identity, so that a chain is not compared link by link."""

    def __init__(self, held: object) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and self.held is other.held

    def __hash__(self) -> int:
        return id(self.held)


@scenario(
    "U7/fresh",
    "A handle made while the old one's cleanup is due",
    promise="A late cleanup never evicts a fresh handle.",
    expected="the fresh one stays, 200 times",
    sources=("U7", "gosrc:unique/canonmap.go"),
)
def fresh(api: Any) -> str:
    stays = 0
    for number in range(200):
        api.handle(("fresh", number))  # dies at once
        if PYPY and number % 50 == 0:
            gc.collect()
        handle = api.handle(("fresh", number))
        if number % 50 == 0:
            api.settle()
        stays += api.handle(("fresh", number)) is handle
    return f"the fresh one stays, {stays} times"


@scenario(
    "U8/zero",
    "The value of the zero handle",
    promise="The zero handle has no value: asking for it is an error.",
    expected="raises",
    sources=("U8", "gosrc:unique/handle.go"),
    absent={STDLIB: "sys.intern has no handles, so no zero handle either."},
)
def zero(api: Any) -> str:
    from lastref.unique import Handle

    try:
        Handle().value()
    except ValueError:
        return "raises"
    return "has a value"


@scenario(
    "U9/nan",
    "Handles of NaN",
    promise="NaN is unequal to itself: every handle of it is a new one.",
    expected="2 handles",
    sources=("U9", "go:unique#Make"),
    differences=(
        Difference(
            STDLIB,
            "1 handle",
            "A dict takes identical objects for equal.",
            "docs:library/stdtypes#mapping-types-dict",
        ),
    ),
)
def nan(api: Any) -> str:
    value = float("nan")
    first, second = api.handle(value), api.handle(value)
    return "1 handle" if first is second else "2 handles"


@scenario(
    "U9/zeros",
    "Handles of 0.0 and -0.0",
    promise="0.0 and -0.0 are equal and share a handle, whose value is the first of them.",
    expected="1 handle, 0.0",
    sources=("U9", "go:unique#Make"),
)
def zeros(api: Any) -> str:
    first, second = api.handle(0.0), api.handle(-0.0)
    return f"{'1 handle' if first is second else '2 handles'}, {api.handle_value(second)}"


@scenario(
    "U/allocations",
    "What making a known handle allocates",
    promise="Making the handle of a string that has one allocates nothing.",
    expected="nothing",
    sources=("U1", "gotest:unique/handle_test.go TestMakeAllocs"),
)
def allocations(api: Any) -> str:
    if PYPY:
        raise Unavailable("PyPy does not count allocated blocks.")
    text = "".join(["a heap ", "string"])
    held = api.handle(text)
    kept: list[Any] = [None] * 100
    worst = 0
    for _ in range(3):
        before = sys.getallocatedblocks()
        for index in range(100):
            kept[index] = api.handle(text)
        worst = sys.getallocatedblocks() - before
    return "nothing" if worst < 10 and kept[0] is held else f"{worst} blocks in 100 hits"
