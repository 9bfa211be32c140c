"""What would keep its own object alive is refused at the call (semantics C6, C7, C8)."""

from __future__ import annotations

import functools
import types
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from deathwatch import collect
from lastref import _captures
from lastref.cleanup import CleanupQueue, add_cleanup

QUEUE = CleanupQueue(workers=0, at_exit="nothing")


class Victim:
    def __init__(self) -> None:
        self.items: list[int] = []

    def close(self, arg: object) -> None: ...

    def __call__(self, arg: object) -> None: ...


class Holder:
    def __init__(self, held: object) -> None:
        self.held = held

    def __call__(self, arg: object) -> None: ...

    def use(self, arg: object) -> None: ...


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held: object) -> None:
        self.held = held


class Row(NamedTuple):
    held: object


def nothing(arg: object) -> None: ...


def materialized(obj: object) -> Holder:
    holder = Holder(obj)
    assert holder.__dict__  # now the instance has a dictionary of its own
    return holder


def closing_over(obj: object) -> Callable[[object], object]:
    def close(arg: object) -> object:
        return obj

    return close


def with_default(obj: object) -> Callable[[object], object]:
    def close(arg: object, held: object = obj) -> None: ...

    return close


def with_keyword_default(obj: object) -> Callable[[object], object]:
    def close(arg: object, *, held: object = obj) -> None: ...

    return close


def with_attribute(obj: object) -> Callable[[object], object]:
    def close(arg: object) -> None: ...

    close.held = obj  # type: ignore[attr-defined]
    return close


def method_with_closure(obj: object) -> Callable[[object], object]:
    def close(self: object, arg: object) -> object:
        return obj

    return types.MethodType(close, Holder(None))


FUNCTIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "closure": (closing_over, "closure variable 'obj' of func"),
    "bound method": (lambda obj: obj.close, "__self__ of func"),
    "the object itself": (lambda obj: obj, "func itself"),
    "method wrapper": (lambda obj: obj.__repr__, "__self__ of func"),
    "default": (with_default, "a default of func"),
    "keyword default": (with_keyword_default, "default of 'held' of func"),
    "function attribute": (with_attribute, "attribute 'held' of func"),
    "closure of a method": (method_with_closure, "closure variable 'obj' of func"),
    "partial argument": (
        lambda obj: functools.partial(nothing, obj),
        "argument 0 of the partial of func",
    ),
    "partial keyword": (
        lambda obj: functools.partial(nothing, held=obj),
        "argument 'held' of the partial of func",
    ),
    "partial of a bound method": (lambda obj: functools.partial(obj.close), "__self__ of func"),
    "partial of a closure": (
        lambda obj: functools.partial(closing_over(obj)),
        "closure variable 'obj' of func",
    ),
    "callable instance": (Holder, "an element or attribute of func"),
    "callable instance, own dictionary": (materialized, "attribute"),
}

ARGUMENTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "itself": (lambda obj: obj, "arg itself"),
    "list": (lambda obj: [1, obj], "an element of arg"),
    "tuple": (lambda obj: (obj,), "an element of arg"),
    "named tuple": (Row, "an element or attribute of arg"),
    "set": (lambda obj: {obj}, "an element of arg"),
    "frozenset": (lambda obj: frozenset([obj]), "an element of arg"),
    "dict value": (lambda obj: {"k": obj}, "an element of arg"),
    "dict key": (lambda obj: {obj: 1}, "an element of arg"),
    "deque": (lambda obj: deque([obj]), "an element or attribute of arg"),
    "instance": (Holder, "an element or attribute of arg"),
    "instance, own dictionary": (materialized, "attribute"),
    "slots": (Slotted, "an element or attribute of arg"),
    "bound method": (lambda obj: obj.close, "__self__ of arg"),
    "closure": (closing_over, "closure variable 'obj' of arg"),
    "partial": (lambda obj: functools.partial(nothing, obj), "argument 0 of the partial of arg"),
    "callback": (lambda obj: weakref.ref(nothing, obj), "the callback of arg"),
}


@pytest.mark.parametrize(("hold", "named"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_a_function_that_holds_the_object_is_refused(
    hold: Callable[[Any], Any], named: str
) -> None:
    """C8. Go: TestCleanupUnreachableClosure. The error names the place."""
    victim = Victim()
    with pytest.raises(ValueError, match=f"'Victim' object alive .* it is .*{named}"):
        add_cleanup(victim, hold(victim), 1, queue=QUEUE)


@pytest.mark.parametrize(("hold", "named"), ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_an_argument_that_holds_the_object_is_refused(
    hold: Callable[[Any], Any], named: str
) -> None:
    """C7, C8. Go: TestCleanupPointerEqualsArg, TestCleanupUnreachablePointer."""
    victim = Victim()
    with pytest.raises(ValueError, match=f"'Victim' object alive .* it is .*{named}"):
        add_cleanup(victim, nothing, hold(victim), queue=QUEUE)


@pytest.mark.parametrize(("hold", "named"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_a_function_that_holds_another_object_is_accepted(
    hold: Callable[[Any], Any], named: str
) -> None:
    """C8: no false alarm, and asking twice changes nothing."""
    victim, other = Victim(), Victim()
    func = hold(other)
    assert add_cleanup(victim, func, 1, queue=QUEUE).stop()
    assert add_cleanup(victim, func, 1, queue=QUEUE).stop()
    with pytest.raises(ValueError, match="never run"):
        add_cleanup(other, func, 1, queue=QUEUE)


@pytest.mark.parametrize(("hold", "named"), ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_an_argument_that_holds_another_object_is_accepted(
    hold: Callable[[Any], Any], named: str
) -> None:
    """C8: no false alarm."""
    assert add_cleanup(Victim(), nothing, hold(Victim()), queue=QUEUE)


@pytest.mark.parametrize("hold", [weakref.ref, weakref.proxy, lambda obj: [weakref.ref(obj)]])
def test_an_argument_that_holds_the_object_weakly_is_accepted(hold: Callable[[Any], Any]) -> None:
    """C6: it is reachability that counts."""
    victim = Victim()
    assert add_cleanup(victim, nothing, hold(victim), queue=QUEUE).stop()


def test_a_proxy_of_something_dead_is_accepted() -> None:
    """The check does not ask what it is given what it is: a dead proxy would raise."""

    def make() -> Any:
        return weakref.proxy(Victim())

    proxy = make()
    collect()
    assert add_cleanup(Victim(), nothing, proxy, queue=QUEUE)


def test_no_code_of_the_argument_runs() -> None:
    """Neither equality nor hash nor attributes of what is looked at."""

    class Rude:
        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __hash__(self) -> int:
            raise AssertionError

        def __getattribute__(self, name: str) -> Any:
            raise AssertionError

    for arg in (Rude(), [Rude()], (Rude(),), {"k": Rude()}, Holder(Rude())):
        assert add_cleanup(Victim(), nothing, arg, queue=QUEUE)


def test_deviation_what_is_held_two_levels_down_is_not_seen() -> None:
    """C8: one level only, as in Go. The object is kept alive."""
    victim = Victim()
    cleanup = add_cleanup(victim, nothing, [[victim]], queue=QUEUE)
    wr = weakref.ref(victim)
    del victim
    collect()
    assert wr() is not None
    assert cleanup.stop()


def test_deviation_a_large_container_is_not_searched() -> None:
    """A registration must not cost what its argument's size is."""
    victim = Victim()
    some: list[object] = [victim] * 1000
    with pytest.raises(ValueError, match="an element of arg"):
        add_cleanup(victim, nothing, some, queue=QUEUE)
    some.append(victim)
    assert add_cleanup(victim, nothing, some, queue=QUEUE).stop()


def test_deviation_a_function_is_looked_at_once() -> None:
    """A default that is set on a function that held nothing is not seen."""
    victim = Victim()

    def func(arg: object) -> None: ...

    assert add_cleanup(victim, func, 1, queue=QUEUE).stop()
    func.__defaults__ = (victim,)
    assert add_cleanup(victim, func, 1, queue=QUEUE).stop()


def test_an_unbound_closure_variable_is_nothing() -> None:
    """A cell may be empty when the function is looked at."""

    def make() -> Callable[[object], object]:
        def func(arg: object) -> object:
            return later

        if victim is None:
            later = 1
        return func

    victim: Victim | None = Victim()
    assert add_cleanup(victim, make(), 1, queue=QUEUE).stop()


def test_what_is_remembered_of_functions_stays_small() -> None:
    """A function made at every call is remembered weakly, and not for ever."""
    victim = Victim()
    for _ in range(1000):
        assert add_cleanup(victim, lambda arg: None, 1, queue=QUEUE).stop()
    assert len(_captures._harmless) <= 256


def test_refused_is_refused_on_the_fast_path_too() -> None:
    """The default queue registers a known function with a plain argument without a look at it."""
    victim = Victim()
    cleanup = add_cleanup(victim, nothing, 1)
    for arg in (victim, [victim]):
        with pytest.raises(ValueError, match="never run"):
            add_cleanup(victim, nothing, arg)
    with pytest.raises(ValueError, match="never run"):
        add_cleanup(victim, victim.close, 1)
    with pytest.raises(TypeError, match="no weak references"):
        add_cleanup(5, nothing, 1)
    assert cleanup.stop()


def test_a_known_function_is_no_object_of_its_own_cleanup() -> None:
    """C7: also where the function was registered before, and is not looked at any more."""

    def func(arg: object) -> None:
        pass

    victim = Victim()
    add_cleanup(victim, func, 1)
    with pytest.raises(ValueError, match="never"):
        add_cleanup(func, func, 1)
