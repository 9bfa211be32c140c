"""Weak pointers: one identity per object, before and after its death."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import deathwatch
from lastref import weak
from lastref.cleanup import add_cleanup, drain

REFCOUNTS = sys.implementation.name == "cpython"

# Semantics W5 and W6: what a finalizer sees in a weak pointer to its own object. Measured.
SEEN_BY_FINALIZER = {
    "refcount": REFCOUNTS,
    # gh-136189: CPython 3.15 clears weak references without callbacks after the finalizers.
    "collector": REFCOUNTS and sys.version_info >= (3, 15),
}


class Node:
    """A referent whose own comparison and hash must never be asked."""

    def __init__(self, name: str = "node") -> None:
        self.name = name
        self.me: Node | None = None

    def __eq__(self, other: object) -> bool:
        raise AssertionError("a weak pointer asked its object")

    def __hash__(self) -> int:
        raise AssertionError("a weak pointer asked its object")


class Plain:
    """A referent with identity for equality."""


class Twin:
    """All of them are equal to each other."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Twin)

    def __hash__(self) -> int:
        return 1


def in_cycle(node: Node) -> Node:
    node.me = node
    return node


def pointer_to_dead(make: Callable[[Any], Any], cls: type = Node) -> Any:
    def build() -> Any:
        return make(cls())

    pointer = build()
    deathwatch.collect()
    return pointer


class WeakPointerContract:
    """What a weak pointer promises. Binders say how to make one and how to look."""

    make: Callable[[Any], Any]

    def look(self, pointer: Any) -> Any:
        raise NotImplementedError

    @pytest.mark.parametrize("build", [Node, lambda: in_cycle(Node())], ids=["plain", "cycle"])
    def test_does_not_keep_its_object_alive(self, build: Callable[[], Node]) -> None:
        """W1, both ways to die."""
        pointers = []

        def victim() -> Node:
            node = build()
            pointers.append(self.make(node))
            return node

        deathwatch.assert_dies(victim)
        assert self.look(pointers[0]) is None

    def test_value_is_the_object_and_stays_none_after_its_death(self) -> None:
        """W2; Go's TestPointer: alive over a collection while held, nil after."""
        node = Node()
        pointer = self.make(node)
        deathwatch.collect()
        assert self.look(pointer) is node
        del node
        deathwatch.collect()
        assert self.look(pointer) is None
        deathwatch.collect()
        assert self.look(pointer) is None

    def test_pointers_to_one_living_object_are_equal(self) -> None:
        """W3; Go's TestPointerEquality, before death."""
        obj = Plain()
        assert self.make(obj) == self.make(obj)
        assert hash(self.make(obj)) == hash(self.make(obj))
        assert (self.make(obj) != self.make(obj)) is False

    def test_pointers_to_one_object_stay_equal_after_its_death(self) -> None:
        """W3; Go's TestPointerEquality, after death."""

        def build() -> list[Any]:
            twin = Twin()
            return [self.make(twin) for _ in range(10)]

        pointers = build()
        before = {hash(p) for p in pointers}
        deathwatch.collect()
        assert [self.look(p) for p in pointers] == [None] * 10
        assert all(p == pointers[0] for p in pointers)
        assert {hash(p) for p in pointers} == before

    def test_pointers_to_equal_objects_differ(self) -> None:
        """W3: whatever the objects' own `__eq__` and `__hash__` say."""
        one, other = Twin(), Twin()
        assert one == other
        assert self.make(one) != self.make(other)

    def test_the_object_itself_is_never_asked(self) -> None:
        """W3: neither comparing nor hashing runs code of the object's class."""
        one, other = Node(), Node()
        assert self.make(one) != self.make(other)
        assert hash(self.make(one)) == hash(self.make(one))

    def test_hash_can_first_be_taken_after_death(self) -> None:
        """W3: a pointer to the dead is a dict key as good as any."""
        pointer = pointer_to_dead(self.make)
        assert {pointer: 1}[pointer] == 1

    def test_a_later_object_at_the_same_address_has_another_pointer(self) -> None:
        """W3: address reuse never makes two equal. Thousands of addresses are reused here."""
        dead: list[Any] = []
        addresses: set[int] = set()
        reused = 0

        def one() -> None:
            nonlocal reused
            obj = Plain()
            reused += id(obj) in addresses
            addresses.add(id(obj))
            pointer = self.make(obj)
            assert all(pointer != old for old in dead[-500:])
            dead.append(pointer)

        for _ in range(2000):
            one()
        if REFCOUNTS:
            assert reused > 1000

    def test_immortal_objects_have_canonical_pointers(self) -> None:
        """W9; Go's TestImmortalPointer: never cleared, and equal."""
        pointer = self.make(int)
        deathwatch.collect()
        assert self.look(pointer) is int
        assert pointer == self.make(int)

    @pytest.mark.parametrize(
        "victim", [1, "a", (), [], {}, 1.5, b"", object()], ids=lambda obj: type(obj).__name__
    )
    def test_objects_without_weak_references_are_refused(self, victim: object) -> None:
        """W2, C13: TypeError at the call, naming the type."""
        with pytest.raises(TypeError, match=type(victim).__name__):
            self.make(victim)


class TestPointer(WeakPointerContract):
    make = staticmethod(weak.make)

    def look(self, pointer: weak.Pointer[Any]) -> Any:
        return pointer.value()

    def test_the_null_pointer(self) -> None:
        """W8; Go's tests of zero and nil: nil value, mutually equal, equal to nothing else."""
        null = weak.make(None)
        assert null.value() is None
        assert null == weak.make(None) == weak.Pointer()
        assert hash(null) == hash(weak.Pointer())
        assert null != weak.make(int)
        assert null != pointer_to_dead(weak.make)
        assert repr(null) == "<weak.Pointer: null>"


class TestNativeReference(WeakPointerContract):
    """The standard library's nearest thing, and where it falls short of the contract."""

    make = staticmethod(weakref.ref)

    def look(self, pointer: weakref.ref[Any]) -> Any:
        return pointer()

    def test_pointers_to_one_object_stay_equal_after_its_death(self) -> None:
        """Falls short for references that are not one and the same object, e.g. of a subclass."""

        class Ref(weakref.ref[Any]):
            pass

        def build() -> list[Any]:
            twin = Twin()
            return [Ref(twin), Ref(twin)]

        def equal_while_alive() -> bool:
            twin = Twin()
            return Ref(twin) == Ref(twin)

        assert equal_while_alive()
        one, other = build()
        deathwatch.collect()
        assert one != other

    def test_pointers_to_equal_objects_differ(self) -> None:
        """Falls short: it compares by what the objects say."""
        one, other = Twin(), Twin()
        assert weakref.ref(one) == weakref.ref(other)

    def test_the_object_itself_is_never_asked(self) -> None:
        """Falls short: it asks."""
        one, other = Node(), Node()
        with pytest.raises(AssertionError, match="asked its object"):
            bool(weakref.ref(one) == weakref.ref(other))

    def test_hash_can_first_be_taken_after_death(self) -> None:
        """Falls short: it fails."""
        with pytest.raises(TypeError, match="weak object has gone away"):
            hash(pointer_to_dead(weakref.ref))


def test_finalizer_by_refcount_still_sees_the_object() -> None:
    """W5, the deviation: Go's pointer is nil once a finalizer is queued."""
    if not REFCOUNTS:
        pytest.skip("objects die by the collector alone on this interpreter")
    assert seen_by_finalizer(lambda node: None) is SEEN_BY_FINALIZER["refcount"]


def test_finalizer_by_collector_sees_what_the_version_says() -> None:
    """W5: None up to CPython 3.14 and on PyPy, as in Go; from 3.15 on still the object."""
    assert seen_by_finalizer(in_cycle) is SEEN_BY_FINALIZER["collector"]


def seen_by_finalizer(tie: Callable[[Any], object]) -> bool:
    seen: list[bool] = []

    class Finalized(Node):
        def __del__(self) -> None:
            seen.append(pointers[0].value() is self)

    pointers: list[weak.Pointer[Finalized]] = []

    def victim() -> Finalized:
        node = Finalized()
        tie(node)
        pointers.append(weak.make(node))
        return node

    deathwatch.assert_dies(victim)
    deathwatch.collect()
    assert pointers[0].value() is None
    assert len(seen) == 1
    return seen[0]


@pytest.mark.parametrize("way", ["refcount", "collector"])
def test_pointer_made_after_resurrection_is_unequal_where_the_object_counted_as_dead(
    way: str,
) -> None:
    """W6; Go's TestPointerFinalizer: equal exactly where the finalizer still saw the object."""
    if way == "refcount" and not REFCOUNTS:
        pytest.skip("objects die by the collector alone on this interpreter")
    risen: list[Node] = []

    class Phoenix(Node):
        def __del__(self) -> None:
            risen.append(self)

    def build() -> weak.Pointer[Phoenix]:
        node = Phoenix()
        if way == "collector":
            in_cycle(node)
        return weak.make(node)

    old = build()
    deathwatch.collect()
    (phoenix,) = risen
    if SEEN_BY_FINALIZER[way]:
        assert old.value() is phoenix
        assert weak.make(phoenix) == old
    else:
        assert old.value() is None
        assert weak.make(phoenix) != old
        assert weak.make(phoenix).value() is phoenix
    phoenix.me = None


@pytest.mark.parametrize("tie", [lambda node: None, in_cycle], ids=["plain", "cycle"])
def test_pointer_is_none_before_any_cleanup_runs(tie: Callable[[Any], object]) -> None:
    """W7: by the time that a cleanup of the object runs, none of its pointers shows it."""
    seen: list[object] = []

    def victim() -> Node:
        node = Node()
        tie(node)
        pointer = weak.make(node)
        add_cleanup(node, lambda _: seen.append(pointer.value()), None)
        return node

    deathwatch.assert_dies(victim)
    assert drain()
    assert seen == [None]


def test_pointer_in_the_cleanup_of_a_resurrected_object() -> None:
    """W7: found dead by the collector, so the cleanup runs; CPython 3.15 keeps the pointer."""
    risen: list[Node] = []
    seen: list[object] = []

    class Phoenix(Node):
        def __del__(self) -> None:
            risen.append(self)

    def build() -> None:
        node = in_cycle(Phoenix())
        pointer = weak.make(node)
        add_cleanup(node, lambda _: seen.append(pointer.value()), None)

    build()
    deathwatch.collect()
    assert drain()
    assert len(risen) == 1
    assert [node is risen[0] for node in seen] == [SEEN_BY_FINALIZER["collector"]]
    risen[0].me = None


def test_a_pointer_made_in_a_finalizer_does_not_resurrect() -> None:
    """W10: made from an object about to die, it is None afterwards."""
    made: list[weak.Pointer[Node]] = []

    class Finalized(Node):
        def __del__(self) -> None:
            made.append(weak.make(self))

    deathwatch.assert_dies(Finalized)
    deathwatch.assert_dies(lambda: in_cycle(Finalized()))
    deathwatch.collect()
    assert [p.value() for p in made] == [None, None]
    assert made[0] != made[1]


def test_a_table_keyed_by_pointers_does_not_weaken_its_values() -> None:
    """W11: a value that reaches its key's object keeps it alive, as in WeakKeyDictionary."""
    table: dict[weak.Pointer[Node], Node] = {}

    def build() -> deathwatch.Watch:
        node = Node()
        table[weak.make(node)] = node
        return deathwatch.watch(node)

    watched = build()
    deathwatch.collect()
    assert watched.alive
    table.clear()
    watched.assert_dead()


def test_small_objects_die_with_their_pointers_held() -> None:
    """Go's TestPointerSize: at least 3/4 of 1,000 small objects are cleared. Here, all."""

    class Small:
        __slots__ = ("__weakref__",)

    def build() -> list[weak.Pointer[Small]]:
        return [weak.make(Small()) for _ in range(1000)]

    pointers = build()
    deathwatch.collect()
    assert [p for p in pointers if p.value() is not None] == []


def test_upgrade_racing_the_collector_gives_the_object_or_none() -> None:
    """Go's Issue69803 and Issue70739: a look beside a collection is never something else."""
    stop = threading.Event()
    wrong: list[object] = []
    current: list[weak.Pointer[Node]] = [weak.make(None)]

    def look() -> None:
        while not stop.is_set():
            obj = current[0].value()
            if obj is not None and (type(obj) is not Node or obj.me is not obj):
                wrong.append(obj)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            for _ in range(20):
                node = in_cycle(Node())
                current[0] = weak.make(node)
                del node
            gc.collect()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_threads_that_make_at_once_get_equal_pointers() -> None:
    """W3 under threads: the first pointers to an object, made by 8 threads at once."""
    for _ in range(100):
        obj = Node()
        made: list[weak.Pointer[Node]] = []
        gate = threading.Barrier(8)

        def make(
            obj: Node = obj,
            made: list[weak.Pointer[Node]] = made,
            gate: threading.Barrier = gate,
        ) -> None:
            gate.wait()
            made.append(weak.make(obj))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 8
        assert len(set(made)) == 1


def test_a_slot_is_the_remedy_for_a_slotted_class() -> None:
    """C13: the message names the type and what to do; doing it helps."""

    class Slotted:
        __slots__ = ("a",)

    class Mended(Slotted):
        __slots__ = ("__weakref__",)

    mended = Mended()
    assert weak.make(mended).value() is mended
    if REFCOUNTS:  # PyPy has weak references to instances of every class made in Python
        with pytest.raises(TypeError, match=r"add '__weakref__' to the __slots__ of .*Slotted"):
            weak.make(Slotted())


@pytest.mark.parametrize("base", [int, tuple, bytes])
def test_a_wrapper_is_the_remedy_where_no_slot_helps(base: type) -> None:
    """C13: subclasses of int, tuple and bytes can't have the slot."""
    victim = type("Sub", (base,), {"__slots__": ()})()
    if not REFCOUNTS:
        pytest.skip("PyPy has weak references to instances of every class made in Python")
    with pytest.raises(TypeError, match=r"instance of Sub: .*wraps it"):
        weak.make(victim)


def test_pointers_are_immutable() -> None:
    """A pointer is a dict key: nobody can change what it points to."""
    pointer = weak.make(Node)
    with pytest.raises(AttributeError, match="immutable"):
        pointer.value = lambda: None
    with pytest.raises(AttributeError, match="immutable"):
        del pointer.value
    with pytest.raises(AttributeError):
        pointer.other = 1
    assert pointer.value() is Node


def test_copies_are_the_pointer_itself_and_pickles_are_refused() -> None:
    """An identity can be copied only by keeping it, and not sent elsewhere at all."""
    node = Node()
    pointer = weak.make(node)
    assert copy.copy(pointer) is pointer
    assert copy.deepcopy([pointer])[0] is pointer
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match=r"can't pickle a weak\.Pointer"):
            pickle.dumps(pointer, protocol)


def test_repr_says_what_it_points_to_and_keeps_nothing() -> None:
    """The text names the class while the object lives, and keeps nothing alive."""
    texts: list[str] = []

    def victim() -> Node:
        node = Node()
        texts.append(repr(weak.make(node)))
        return node

    deathwatch.assert_dies(victim)
    assert "to a Node" in texts[0]
    assert "dead" in repr(pointer_to_dead(weak.make))


def test_pointers_work_in_a_forked_child() -> None:
    """The copy of a pointer in a child points to the copy of the object, and dies with it."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    code = """
import gc, os
from lastref import weak
class Node: pass
node = Node()
pointer = weak.make(node)
child = os.fork()
if child == 0:
    ok = pointer.value() is node and weak.make(node) == pointer
    del node
    gc.collect(); gc.collect()
    os._exit(0 if ok and pointer.value() is None else 1)
print(os.waitpid(child, 0)[1], pointer.value() is node)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["0", "True"], done.stderr


class PointerModel(RuleBasedStateMachine):
    """Objects come, die by either way and at reused addresses; pointers keep their identities."""

    def __init__(self) -> None:
        super().__init__()
        # By strings: on PyPy a dict of ints can hold what was taken out of it.
        self.alive: dict[str, Twin] = {}
        self.pointers: list[tuple[str, weak.Pointer[Twin]]] = []
        self.born = 0

    @rule(cycle=st.booleans())
    def bear(self, cycle: bool) -> None:
        twin = Twin()
        if cycle:
            twin.me = twin  # type: ignore[attr-defined]
        self.alive[f"{self.born:03}"] = twin
        self.pointers.append((f"{self.born:03}", weak.make(twin)))
        self.born += 1

    @rule(data=st.data())
    def point_again(self, data: st.DataObject) -> None:
        if self.alive:
            name = data.draw(st.sampled_from(sorted(self.alive)))
            self.pointers.append((name, weak.make(self.alive[name])))

    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        if self.alive:
            del self.alive[data.draw(st.sampled_from(sorted(self.alive)))]
            gc.collect()
            if not REFCOUNTS:
                gc.collect()

    @invariant()
    def pointers_know_who_is_alive(self) -> None:
        for name, pointer in self.pointers:
            assert pointer.value() is self.alive.get(name)

    @invariant()
    def pointers_are_equal_iff_of_one_object(self) -> None:
        for name, pointer in self.pointers:
            for other_name, other in self.pointers:
                assert (pointer == other) is (name == other_name)
                assert name != other_name or hash(pointer) == hash(other)


PointerModel.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestPointerModel = PointerModel.TestCase
