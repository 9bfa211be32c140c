"""Unique handles: one for all equal values of a type, gone with the last reference to it."""

from __future__ import annotations

import copy
import enum
import gc
import math
import os
import pickle
import random
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import deathwatch
import lastref.cleanup
from lastref import _evictions, unique
from lastref.cleanup import add_cleanup, drain
from lastref.unique import Handle, make

REFCOUNTS = sys.implementation.name == "cpython"


class Point(NamedTuple):
    x: float
    y: float


@dataclass(frozen=True)
class Frozen:
    x: float


class Text(str):
    """A subclass that lies wherever a str can be asked."""

    def __str__(self) -> str:
        return "not " + self

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 0

    def __getitem__(self, index: object) -> str:
        return "sliced"


class Data(bytes):
    def __bytes__(self) -> bytes:
        return b"not this"


class Color(enum.StrEnum):
    RED = "red"


class Keyed:
    """Equal by `name`; the hash, bad or truncated, is given."""

    def __init__(self, name: object, digest: int) -> None:
        self.name = name
        self.digest = digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keyed) and self.name == other.name

    def __hash__(self) -> int:
        return self.digest


def entries() -> int:
    """How many entries the tables have, once the evictions that are queued have run."""
    drain()
    return len(unique._strings) + len(unique._buckets)


def await_entries(expected: int) -> None:
    """Collect, and run the evictions, until the tables have `expected` entries."""
    deadline = time.monotonic() + 10
    while entries() != expected:
        assert time.monotonic() < deadline, f"{entries()} entries, not {expected}"
        deathwatch.collect()


@contextmanager
def evictions_held_up() -> Iterator[None]:
    """Keep the evicting thread busy for the length of the block."""

    class Victim:
        pass

    entered, go_on = threading.Event(), threading.Event()

    def hold_up(_: object) -> None:
        entered.set()
        go_on.wait()

    add_cleanup(Victim(), hold_up, None, queue=_evictions.evictions)
    deathwatch.collect()
    entered.wait()
    try:
        yield
    finally:
        go_on.set()


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    """U5: every test here ends with the tables as they were; Go's drainMaps."""
    before = entries()
    yield
    await_entries(before)


# Go's TestHandle: eleven kinds of value, each made of an expression that makes a new object.
KINDS: dict[str, Callable[[], Any]] = {
    "str": lambda: "".join(["sp", "am"]),
    "empty str": lambda: "",
    "bytes": lambda: bytes([1, 2, 3]),
    "int": lambda: int("123456789123456789"),
    "bool": lambda: True,
    "float": lambda: float("1.5"),
    "complex": lambda: complex("1+2j"),
    "tuple": lambda: ("a", *[1, b"b"]),
    "nested tuple": lambda: ("a", (1, ("b", frozenset(["c"])))),
    "frozenset": lambda: frozenset(["a", 1, (2,)]),
    "named tuple": lambda: Point(1, 2),
    "dataclass": lambda: Frozen(1),
    "None": lambda: None,
    "type": lambda: Point,
    "enum": lambda: Color.RED,
    "Decimal": lambda: Decimal("1.50"),
    "Fraction": lambda: Fraction(1, 3),
    "range": lambda: range(5),
    "handle": lambda: KEPT,
}
KEPT = make("kept by the module")


@pytest.mark.parametrize("kind", KINDS)
def test_equal_values_have_one_handle(kind: str) -> None:
    """U1; Go's TestHandle: two makes, one handle, one value; the handle dies."""
    value = KINDS[kind]
    first, second = make(value()), make(value())
    assert first is second
    assert first == second
    assert hash(first) == hash(second)
    assert first.value() == value()

    def victim() -> Handle[Any]:
        return make((kind, value()))

    deathwatch.assert_dies(victim)


def test_unequal_values_have_different_handles() -> None:
    """U1: over all kinds."""
    handles = [make(value()) for value in KINDS.values()]
    assert len(set(handles)) == len(handles)


@pytest.mark.parametrize(
    "values",
    [
        (1, 1.0, True, 1 + 0j, Decimal(1), Fraction(1)),
        ((1,), (1.0,), (True,)),
        ((((1,),),), (((1.0,),),)),
        (frozenset([1]), frozenset([1.0]), frozenset([True])),
        (frozenset([(1,)]), frozenset([(1.0,)])),
        ((1, 2), Point(1, 2), namedtuple("Other", "x y")(1, 2)),
        (Point(1, 2), Point(1.0, 2)),
        ("a", b"a"),
        (("a",), (Text("a"),), (b"a",)),
        (b"a", memoryview(b"a")),
        (0, 0.0, False),
    ],
    ids=lambda values: " ".join(type(value).__name__ for value in values),
)
def test_types_are_told_apart(values: tuple[Any, ...]) -> None:
    """U2: one table per type; inside of tuples and frozensets too, at any depth."""
    handles = [make(value) for value in values]
    assert len(set(handles)) == len(values)
    assert [type(handle.value()) for handle in handles] == [type(value) for value in values]


def test_the_line_is_at_other_objects() -> None:
    """U2, where it ends: inside of an object with an `__eq__` of its own, that decides."""
    assert make(Frozen(1)) is make(Frozen(1.0))


def test_a_tuple_with_its_own_equality_keeps_it() -> None:
    """U2: only tuples that inherit their `__eq__` are looked into."""

    class Caseless(tuple[str, ...]):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Caseless) and self[0].lower() == other[0].lower()

        def __hash__(self) -> int:
            return hash(self[0].lower())

    assert make(Caseless(["A"])) is make(Caseless(["a"]))


def test_subclasses_of_str_and_bytes_become_exact() -> None:
    """U4: whatever they override."""
    assert make(Text("abc")) is make("abc")
    assert type(make(Text("abc")).value()) is str
    assert make(Data(b"abc")) is make(b"abc")
    assert type(make(Data(b"abc")).value()) is bytes
    assert make(Color.RED) is make("red")


def test_a_value_that_claims_to_be_a_string_does_not_get_its_handle() -> None:
    """U2: equal to a str and hashed like it, but no str."""

    class Liar:
        def __eq__(self, other: object) -> bool:
            return other == "abc"

        def __hash__(self) -> int:
            return hash("abc")

    handle = make("abc")
    assert make(Liar()) is not handle


def test_input_memory_is_not_kept() -> None:
    """U4; Go's TestMakeClonesStrings: a small piece doesn't hold the whole."""

    class Whole(str):
        pass

    handles: list[Handle[Any]] = []

    def victim() -> Whole:
        whole = Whole("x" * 10_000)
        handles.append(make(whole[1:5]))
        handles.append(make(whole))
        return whole

    deathwatch.assert_dies(victim)
    assert handles[0].value() == "xxxx"


def test_a_reused_buffer_does_not_corrupt() -> None:
    """U4; Go's TestMakeCloneReusedBuffer: what is made of a buffer stays when that changes."""
    buffer = bytearray(b"first")
    handle = make(bytes(buffer))
    buffer[:] = b"other"
    assert handle.value() == b"first"
    assert make(bytes(buffer)) is not handle
    with pytest.raises(TypeError, match="bytearray"):
        make(buffer)


class TestLifetime:
    @pytest.mark.parametrize("kind", ["str", "int", "tuple", "dataclass", "frozenset"])
    def test_a_handle_dies_by_refcount(self, kind: str) -> None:
        """U5: with the last reference, without the collector."""
        deathwatch.assert_dies(lambda: make((KINDS[kind](), "mine")), cause="refcount")
        deathwatch.assert_dies(lambda: make("".join(["un", "common"])), cause="refcount")

    def test_a_handle_in_a_cycle_dies_by_the_collector(self) -> None:
        """U5: the other way to die."""

        def victim() -> Handle[Any]:
            handle = make(("in a", "cycle"))
            cycle: list[Any] = [handle]
            cycle.append(cycle)
            return handle

        deathwatch.assert_dies(victim)

    def test_the_value_dies_with_its_handle(self) -> None:
        """U6: no table holds it, so no thread of ours has to let go of it first."""
        deathwatch.assert_dies(lambda: make(Frozen(7)).value(), cause="refcount")

    def test_a_value_that_reaches_its_own_handle_dies(self) -> None:
        """U6: no table holds the value, so the two are but a cycle."""

        class Symbol:
            handle: Handle[Symbol]

        def victim() -> Symbol:
            symbol = Symbol()
            symbol.handle = make(symbol)
            assert symbol.handle.value() is symbol
            return symbol

        deathwatch.assert_dies(victim)

    def test_a_living_handle_stays_canonical(self) -> None:
        """U1 over collections: Go's TestHandle holds on to its handle too."""
        handle = make(("stays", 1))
        text = make("stays too")
        for _ in range(3):
            deathwatch.collect()
            drain()
        assert make(("stays", 1)) is handle
        assert make("".join(["stays", " too"])) is text

    def test_value_outlives_its_handle(self) -> None:
        """U3: the value belongs to whoever holds it."""
        before = entries()
        value = make(("out", "lives")).value()
        await_entries(before)
        assert value == ("out", "lives")

    @pytest.mark.parametrize("value", ["late", ("late", 1)])
    def test_a_late_eviction_never_takes_a_fresh_handle(self, value: Any) -> None:
        """U7: the handle dies and is made again while the evicting thread is held up."""
        with evictions_held_up():
            for _ in range(3):
                deathwatch.assert_dies(lambda: make(value))
            fresh = make(value)
        drain()
        assert make(value) is fresh

    @pytest.mark.parametrize("way", ["refcount", "collector"])
    def test_a_long_chain_of_handles_dies(self, way: str) -> None:
        """U6; Go's TestNestedHandle, 20,000 deep: no recursion, whoever frees it."""

        def build() -> None:
            handle: Handle[Any] = make(("the end",))
            for _ in range(20_000):
                handle = make((handle,))
            if way == "collector":
                cycle: list[Any] = [handle]
                cycle.append(cycle)

        before = entries()
        build()
        await_entries(before)

    def test_a_resurrected_handle_keeps_its_value(self) -> None:
        """Stated deviation: back from the dead it works, but `make` may return another."""
        risen: list[Any] = []

        class Phoenix:
            def __init__(self, handle: Handle[Any]) -> None:
                self.handle = handle
                self.me = self

            def __del__(self) -> None:
                risen.append(self.handle)

        def build() -> None:
            Phoenix(make(("phoenix", 1)))

        build()
        deathwatch.collect()
        drain()
        (handle,) = risen
        assert handle.value() == ("phoenix", 1)
        fresh = make(("phoenix", 1))
        assert fresh.value() == handle.value()
        assert make(("phoenix", 1)) is fresh


class InternContract:
    """What interning promises, by whatever `intern` returns for a value."""

    def intern(self, value: Any) -> Any:
        raise NotImplementedError

    def test_equal_strings_are_one(self) -> None:
        assert self.intern("".join(["a", "b"])) is self.intern("".join(["a", "b"]))

    def test_types_are_kept_apart(self) -> None:
        values = (1.0, 1, True)
        kept = [self.intern(value) for value in values]
        assert len({id(each) for each in kept}) == 3

    def test_a_nan_is_never_shared(self) -> None:
        assert self.intern(math.nan) is not self.intern(math.nan)

    def test_nothing_is_kept(self) -> None:
        deathwatch.assert_dies(lambda: self.intern(Frozen(3)))


class TestHandlesIntern(InternContract):
    def intern(self, value: Any) -> Any:
        return make(value)


class TestSetdefaultInterns(InternContract):
    """The standard library's nearest thing, and where it falls short."""

    table: dict[Any, Any]

    def intern(self, value: Any) -> Any:
        return self.table.setdefault(value, value)

    @pytest.fixture(autouse=True)
    def own_table(self) -> None:
        self.table = {}

    def test_types_are_kept_apart(self) -> None:
        """Falls short: they share, and the first wins."""
        assert self.intern(1.0) is self.intern(1) is self.intern(True)

    def test_a_nan_is_never_shared(self) -> None:
        """Falls short for one object: a dict finds it by identity."""
        assert self.intern(math.nan) is self.intern(math.nan)

    def test_nothing_is_kept(self) -> None:
        """Falls short: everything is."""
        with pytest.raises(AssertionError, match="Frozen should be dead"):
            deathwatch.assert_dies(lambda: self.intern(Frozen(3)), timeout=0.1)


class TestZero:
    def test_the_zero_handle_has_no_value(self) -> None:
        """U8: Go panics; here ValueError, saying what to do."""
        with pytest.raises(ValueError, match=r"use unique\.make"):
            Handle().value()

    def test_zero_handles_are_equal_to_each_other_alone(self) -> None:
        """U8."""
        assert Handle() == Handle()
        assert Handle() != make(None)
        assert Handle() != make("")


class TestUnequalToItself:
    @pytest.mark.parametrize(
        "value",
        [
            math.nan,
            complex(math.nan, 0),
            Decimal("NaN"),
            (math.nan,),
            (1, ("a", math.nan)),
            frozenset([math.nan]),
            (frozenset([(math.nan,)]),),
        ],
        ids=repr,
    )
    def test_every_make_is_distinct(self, value: Any) -> None:
        """U9: Go's rule for NaN, of one object made twice too, and inside of tuples."""
        first, second = make(value), make(value)
        assert first is not second
        assert first.value() is second.value() is value

    def test_zeros_share_and_the_first_stays(self) -> None:
        """U9: 0.0 and -0.0 are equal; the first representation wins."""
        negative = make(-0.0)
        assert make(0.0) is negative
        assert math.copysign(1, make(0.0).value()) == -1


class TestRefusals:
    @pytest.mark.parametrize("value", [[], {}, set(), bytearray(), ([],), ((1, {}),)], ids=repr)
    def test_unhashable_values(self, value: Any) -> None:
        """U3: TypeError, naming the type and the remedy."""
        with pytest.raises(TypeError, match=rf"instance of {type(value).__name__} .*immutable"):
            make(value)

    def test_tuples_nested_too_deep(self) -> None:
        """Stated: RecursionError, not a crash, and the table stays whole."""
        nested: tuple[Any, ...] = ()
        for _ in range(sys.getrecursionlimit() * 2):
            nested = (nested,)
        with pytest.raises(RecursionError):
            make(nested)

    @pytest.mark.parametrize("method", ["__hash__", "__eq__"])
    def test_what_a_value_raises_arrives(self, method: str) -> None:
        """Errors of the value's own methods are the caller's, and leave the table whole."""

        def fail(self: object, *args: object) -> Any:
            raise LookupError("mine")

        def same(self: object, other: object) -> bool:
            return True

        namespace = {"__hash__": lambda self: 1, "__eq__": same, method: fail}
        bad = type("Bad", (), namespace)
        for _ in range(3):
            with pytest.raises(LookupError, match="mine"):
                make(bad())


def test_copies_are_the_handle_itself() -> None:
    """An identity can be copied only by keeping it."""
    handle = make(("copied", 1))
    assert copy.copy(handle) is handle
    assert copy.deepcopy([handle])[0] is handle
    assert copy.deepcopy(Handle()) is Handle()


def test_pickles_come_back_as_the_handle_of_their_value() -> None:
    """A pickle holds the value; loading makes it unique where it is loaded."""
    handle = make(("pickled", Point(1, 2)))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(handle, protocol)) is handle
    assert pickle.loads(pickle.dumps(Handle())) is Handle()


def test_repr_shows_the_value() -> None:
    assert repr(make("a")) == "<unique.Handle of 'a'>"
    assert repr(Handle()) == "<unique.Handle: zero>"


class TestValuesThatCallBack:
    """`__eq__`, `__hash__` and `__del__` of values may do anything: no lock of ours is held."""

    def test_an_eq_that_makes_handles(self) -> None:
        """Of equal values too, in the middle of the comparison that looks for them."""

        class Nosy:
            depth = 0

            def __init__(self, name: str) -> None:
                self.name = name

            def __hash__(self) -> int:
                return 5

            def __eq__(self, other: object) -> bool:
                if Nosy.depth < 3:
                    Nosy.depth += 1
                    made.append(make(Nosy(other.name)))  # type: ignore[attr-defined]
                    made.append(make(Nosy("third")))
                    Nosy.depth -= 1
                return self.name == other.name  # type: ignore[attr-defined]

        made: list[Handle[Any]] = []
        first, second = make(Nosy("first")), make(Nosy("second"))
        assert make(Nosy("first")) is first
        assert make(Nosy("second")) is second
        assert {handle.value().name for handle in made} <= {"first", "second", "third"}
        by_name = {(handle.value().name, handle) for handle in made} | {
            ("first", first),
            ("second", second),
        }
        assert len(by_name) == len({name for name, _ in by_name})
        made.clear()  # the class outlives the test on free-threaded builds, and holds it

    def test_an_insertion_from_within_the_comparison(self) -> None:
        """U1: an equal value made inside of `__eq__` is the one that counts.

        `dict.setdefault` gets this wrong: the inner insertion reuses a slot that the outer
        look-up has passed, and both are in the dict. Shown here, so that the test is for something.
        """

        class Sly(Keyed):
            hook: Callable[[], object] | None = None

            def __eq__(self, other: object) -> bool:
                hook, Sly.hook = Sly.hook, None
                if hook is not None:
                    hook()
                return super().__eq__(other)

            __hash__ = Keyed.__hash__

        gone, neighbour = make(Sly("gone", 3)), make(Sly("neighbour", 3))
        before = entries()
        del gone
        deathwatch.collect()
        assert entries() == before  # they share a bucket, which `neighbour` keeps
        inner: list[Handle[Any]] = []
        Sly.hook = lambda: inner.append(make(Sly("wanted", 3)))
        outer = make(Sly("wanted", 3))
        assert inner == [outer]
        assert make(Sly("wanted", 3)) is outer
        assert neighbour.value().name == "neighbour"

    def test_a_del_that_makes_handles(self) -> None:
        """A collection may start in the middle of anything, and run anything."""
        made: list[Handle[Any]] = []

        class Maker:
            def __init__(self) -> None:
                self.me = self

            def __del__(self) -> None:
                made.append(make(("from del", len(made) % 3)))

        thresholds = gc.get_threshold() if hasattr(gc, "get_threshold") else None
        if thresholds:
            gc.set_threshold(5)
        try:
            handles = []
            for number in range(300):
                Maker()
                handles.append(make(("beside", number)))
                handles.append(make(f"beside {number}"))
        finally:
            if thresholds:
                gc.set_threshold(*thresholds)
        deathwatch.collect()
        assert len(made) == 300
        assert len(set(made)) <= 3
        assert len(set(handles)) == 600
        made.clear()  # see above


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run `work(0..count-1)` in threads that start together; raise what any of them raised."""
    gate = threading.Barrier(count)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        gate.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]


VALUES: dict[str, Callable[[int], Any]] = {
    "str": lambda n: f"value {n}",
    "tuple": lambda n: ("value", n),
    "bad hash": lambda n: Keyed(n, 0),
    "truncated hash": lambda n: Keyed(n, hash(n) & 3),
}


class TestThreads:
    """Go's tests of the map under load; `HashTrieMap` with good, bad and truncated hashes."""

    @pytest.mark.parametrize("kind", VALUES)
    def test_handles_held_by_several_threads_are_the_same(self, kind: str) -> None:
        """U1, U3: shared keys, values that come and go. Equal and alive at once means identical."""
        build = VALUES[kind]
        held: list[list[tuple[int, Handle[Any]]]] = [[] for _ in range(4)]

        def work(me: int) -> None:
            rng = random.Random(me)
            for _ in range(150):
                number = rng.randrange(8)
                handle = make(build(number))
                assert make(build(number)) is handle
                mine = held[me]
                mine.append((number, handle))
                for other in held:
                    for other_number, other_handle in other[:]:
                        assert (number == other_number) is (handle is other_handle)
                if len(mine) > 3:
                    mine.clear()

        in_threads(4, work)
        held.clear()

    @pytest.mark.parametrize("kind", VALUES)
    def test_threads_that_make_first_at_once_agree(self, kind: str) -> None:
        """U1: eight threads, each value made by all of them at the same time."""
        build = VALUES[kind]
        made: list[list[Handle[Any]]] = [[] for _ in range(8)]

        def work(me: int) -> None:
            for number in range(40):
                made[me].append(make(build(number)))

        in_threads(8, work)
        assert all(handles == made[0] for handles in made)
        assert len(set(made[0])) == 40

    @pytest.mark.parametrize("kind", VALUES)
    def test_unshared_values(self, kind: str) -> None:
        """Each thread with values of its own: nothing of the others' gets in the way."""
        build = VALUES[kind]

        def work(me: int) -> None:
            for _ in range(5):
                handles = [make(build(1000 * me + number)) for number in range(20)]
                assert len(set(handles)) == 20

        in_threads(4, work)

    def test_value_of_a_dying_handle_is_never_seen_by_another(self) -> None:
        """U7 under load: two threads make and drop one value as fast as they can."""

        def work(me: int) -> None:
            for _ in range(2000):
                one, two = make("contended"), make("contended")
                assert one is two
                three, four = make(("contended", 1)), make(("contended", 1))
                assert three is four

        in_threads(4, work)


def test_handles_in_a_forked_child() -> None:
    """Parent and child have their own tables from then on, and both reclaim."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    code = """
import gc, os
from lastref import _evictions, unique
from lastref.cleanup import add_cleanup, drain
def entries():
    for _ in range(3):
        gc.collect()
        assert drain(30)
    return len(unique._strings), len(unique._buckets)
kept, pair = unique.make("kept"), unique.make(("kept", 1))
unique.make("gone")
child = os.fork()
same = unique.make("kept") is kept and unique.make(("kept", 1)) is pair
before = entries()
del kept, pair
after = entries()
if child == 0:
    os._exit(0 if (same, before, after) == (True, (1, 1), (0, 0)) else 1)
print(os.waitpid(child, 0)[1], same, before, after)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "0 True (1, 1) (0, 0)\n", done.stderr


atoms = (
    st.text(max_size=2)
    | st.binary(max_size=1)
    | st.integers(-2, 2)
    | st.floats(-2, 2, width=16)
    | st.booleans()
    | st.none()
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=2)


values = st.recursive(atoms, nested, max_leaves=6)


def same(one: Any, other: Any) -> bool:
    """The specification: equal, and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, frozenset):
        return len(one) == len(other) and all(any(same(a, b) for b in other) for a in one)
    return bool(one == other)


@given(values, values)
@settings(deadline=None)
def test_handles_are_equal_iff_the_values_are(one: Any, other: Any) -> None:
    """U1, U2, over made-up nested values."""
    assert (make(one) is make(other)) is same(one, other)


class TableModel(RuleBasedStateMachine):
    """Handles come and go; equal means same, and the tables hold what is alive."""

    def __init__(self) -> None:
        super().__init__()
        self.before = entries()
        self.held: list[tuple[Any, Handle[Any]]] = []

    @rule(value=values, times=st.integers(1, 3))
    def make(self, value: Any, times: int) -> None:
        for _ in range(times):
            self.held.append((value, unique.make(value)))

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        if self.held:
            del self.held[data.draw(st.integers(0, len(self.held) - 1))]

    @rule()
    def settle(self) -> None:
        alive: list[Any] = []
        for value, _ in self.held:
            if not any(same(value, other) for other in alive):
                alive.append(value)
        # Values with one hash share an entry.
        expected = self.before + len({hash(unique._key(value)) for value in alive})
        await_entries(expected)

    @invariant()
    def equal_means_same(self) -> None:
        for value, handle in self.held:
            assert unique.make(value) is handle
            assert same(handle.value(), value)
            for other_value, other in self.held:
                assert (handle is other) is same(value, other_value)

    def teardown(self) -> None:
        self.held.clear()
        await_entries(self.before)


TableModel.TestCase.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)
TestTableModel = TableModel.TestCase


def test_the_package_drains_the_evictions() -> None:
    """The module-level `drain` covers the thread that evicts."""
    before = entries()
    make("drained away")
    deathwatch.collect()
    assert lastref.cleanup.drain() is True
    assert len(unique._strings) + len(unique._buckets) == before
