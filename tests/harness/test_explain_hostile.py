"""Explaining runs no code of the objects it looks at, and works on any object."""

from __future__ import annotations

import functools
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deathwatch.explain import Retention, Verdict, why_alive

PYPY = sys.implementation.name == "pypy"
registry: dict[object, Any] = {}


class Link:
    next: Link | None = None


class Touched(Exception):
    """A method of a hostile object ran."""


def _refuse(*_: object, **__: object) -> Any:
    raise Touched


# What Python calls without being asked to by name. `__hash__` is let through once per object,
# so that it can be put in a dict at all.
SPECIAL = [
    "__repr__",
    "__str__",
    "__eq__",
    "__ne__",
    "__lt__",
    "__bool__",
    "__len__",
    "__iter__",
    "__contains__",
    "__getitem__",
    "__getattr__",
    "__getattribute__",
    "__setattr__",
    "__delattr__",
    "__dir__",
    "__format__",
    "__bytes__",
    "__index__",
    "__int__",
    "__float__",
    "__reduce__",
    "__reduce_ex__",
    "__sizeof__",
    "__copy__",
    "__fspath__",
    "__del_watch__",
]


class HostileMeta(type):
    """A class that refuses to be looked at as well."""

    def __getattribute__(cls, name: str) -> Any:
        raise Touched(name)

    __repr__ = __eq__ = __instancecheck__ = __subclasscheck__ = _refuse
    __hash__ = _refuse


Hostile: Any = type.__new__(
    HostileMeta,
    "Hostile",
    (),
    {
        **dict.fromkeys(SPECIAL, _refuse),
        "__hash__": lambda self: 1,
        "__class__": property(_refuse),
        "__dict__": property(_refuse),
        "session": property(_refuse),
    },
)


HostileOwner: Any = type.__new__(
    HostileMeta,
    "HostileOwner",
    (),
    {
        **dict.fromkeys(SPECIAL, _refuse),
        "__hash__": lambda self: 1,
        "__class__": property(_refuse),
        "__slots__": ("session",),
    },
)


class HostileDict(dict):  # type: ignore[type-arg]
    __getitem__ = __iter__ = items = keys = values = get = __len__ = _refuse
    __repr__ = __eq__ = __getattribute__ = _refuse
    __hash__ = None


class HostileList(list):  # type: ignore[type-arg]
    __getitem__ = __iter__ = __len__ = __repr__ = __eq__ = __getattribute__ = _refuse
    __hash__ = None


class HostileSet(set):  # type: ignore[type-arg]
    __iter__ = __len__ = __contains__ = __repr__ = __eq__ = __getattribute__ = _refuse
    __hash__ = None


class Slots:
    __slots__ = ("__weakref__", "session")
    __getattribute__ = __eq__ = _refuse
    __hash__ = None


def hostile() -> Any:
    return object.__new__(Hostile)


def owned(target: object) -> object:
    """Its class answers no `issubclass`, which an ABC's check asks of every class."""
    holder = object.__new__(HostileOwner)
    type.__getattribute__(HostileOwner, "session").__set__(holder, target)
    return holder


class HostilePartial(functools.partial):  # type: ignore[type-arg]
    func = args = keywords = property(_refuse)  # type: ignore[assignment]
    __repr__ = __eq__ = __getattribute__ = _refuse
    __hash__ = None


def partially(target: object) -> object:
    return HostilePartial(print, target)


def slotted(target: object) -> object:
    holder = Slots()
    vars(Slots)["session"].__set__(holder, target)
    return holder


def listed(target: object) -> object:
    holder = HostileList()
    list.append(holder, target)
    return holder


def mapped(target: object) -> object:
    holder = HostileDict()
    dict.__setitem__(holder, "x", target)
    return holder


def gathered(target: object) -> object:
    holder = HostileSet()
    set.add(holder, target)
    return holder


HOLDERS: list[tuple[Callable[[Any], object], str]] = [
    (lambda target: {target: 1}, "a key of the dict"),
    (lambda target: {hostile(): target}, "[<"),
    (lambda target: [hostile(), target], "[1]"),
    (lambda target: {target}, "a member of the set"),
    (slotted, ".session"),
    (owned, ".session"),
    (partially, "argument 1 of functools.partial(print())"),
    (listed, "[0]"),
    (mapped, "['x']"),
    (gathered, "a member of the set"),
]


@pytest.mark.parametrize(("hold", "said"), HOLDERS)
def test_no_code_of_the_objects_runs(hold: Callable[[Any], object], said: str) -> None:
    """Neither the object's methods nor its holder's are called, and the edge is named."""
    if PYPY and hold in (listed, mapped, gathered):
        pytest.skip("PyPy's iterators ask the container for its length, and so a subclass's method")
    if PYPY and hold is partially:
        pytest.skip("there partial is a class in Python, whose subclass has no fields of its own")
    target = hostile()
    registry["k"] = hold(target)
    try:
        retention = why_alive(target)
    finally:
        registry.clear()
    first = str(retention.paths[0])
    assert first.partition("registry['k']")[2].removeprefix(" -> ").startswith(said)
    assert "Hostile" in retention.target


class Wrapping:
    """A callable that wraps itself, as a careless proxy does."""

    def __init__(self, session: object) -> None:
        self.session = session
        self.__wrapped__ = self

    def __call__(self) -> None:
        pass


def test_a_callable_that_wraps_itself_has_a_name() -> None:
    """Following `__wrapped__` ends, also where it leads back."""
    wrapping = Wrapping(types.SimpleNamespace())
    box = [wrapping.session]
    try:
        vars(wrapping).pop("session")
        registry["k"] = functools.partial(wrapping, box.pop())
        retention = why_alive(registry["k"].args[0])
        assert "argument 1 of functools.partial(" in str(retention.paths[0])
        assert "Wrapping" in str(retention.paths[0])
    finally:
        vars(wrapping).clear()
        registry.clear()


REFUSING_AT_EXIT = """
import atexit, weakref
from deathwatch.explain import why_alive

class Session:
    def close(self): pass

class Refusing:
    def __call__(self): pass
    def __eq__(self, other): raise ValueError("not to be compared")
    __hash__ = None

def registered():
    session = Session()
    calls = [Refusing(), session.close]
    atexit.register(calls[FIRST])
    atexit.register(calls[1 - FIRST])
    return weakref.ref(session)

wr = registered()
print(why_alive(wr()).verdict)
"""


@pytest.mark.parametrize("first", [0, 1])
def test_a_callback_that_refuses_to_be_compared_ends_no_search(
    first: int, run_python: Callable[..., str]
) -> None:
    """`atexit` asks its callbacks' `__eq__`: what one raises is its own affair."""
    if PYPY:
        pytest.skip("what C code holds is not looked for on PyPy")
    out = run_python(REFUSING_AT_EXIT.replace("FIRST", str(first))).strip()
    assert out in ("immortal", "outside the collector's view")


def test_names_without_order_stay_on_their_line() -> None:
    """Control characters in names are escaped: they can't forge a line, nor colour a terminal."""
    evil = "x\n2. fake.path\x1b[31m"
    session = type(evil, (), {})()
    registry[evil] = session
    try:
        retention = why_alive(session)
    finally:
        registry.clear()
    text = str(retention)
    assert "\x1b" not in text
    assert "\n2. fake" not in text


@pytest.mark.parametrize(
    "value", [[1, 2], "text" * 9, b"bytes" * 9, (1, "a"), {"a": 1}, 10**30, 1.5]
)
def test_any_object_can_be_explained(value: object) -> None:
    """An object needs neither weak references nor a place among what the collector tracks."""
    if PYPY and isinstance(value, (str, bytes, float)):
        pytest.skip("on PyPy such a value is made anew where it is asked for")
    registry["k"] = box = [value]
    try:
        retention = why_alive(box[0])
    finally:
        registry.clear()
    assert str(retention.paths[0]).endswith("registry['k'][0]")


@pytest.mark.parametrize("value", [None, 1, "", (), True, int, len])
def test_what_lives_for_ever_can_be_explained(value: object) -> None:
    """An object of the interpreter's own gets an answer too, within its references or without."""
    assert isinstance(why_alive(value), Retention)


def test_other_threads_may_change_everything_meanwhile() -> None:
    """Dicts, lists and stacks that change while they are read make no error and hide no holder."""
    stop = threading.Event()
    churning: dict[object, object] = {}

    def churn(depth: int = 0) -> None:
        while not stop.wait(0.001):
            for number in range(50):
                churning[number] = [churning.get(number - 1), {number: object()}]
                module = types.ModuleType(f"churn{number}")
                sys.modules[module.__name__] = module
            churning.clear()
            for number in range(50):
                sys.modules.pop(f"churn{number}", None)
            if depth < 5:
                return churn(depth + 1)
        return None

    def churn_for_long() -> None:
        while not stop.is_set():
            churn()

    threads = [threading.Thread(target=churn_for_long) for _ in range(2)]
    for thread in threads:
        thread.start()
    target = types.SimpleNamespace()
    registry["k"] = [target]
    try:
        for _ in range(5):
            retention = why_alive(target)
            assert str(retention.paths[0]).endswith("registry['k'][0]")
            assert retention.verdict is Verdict.IMMORTAL
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        registry.clear()


def test_no_path_is_asked_for_and_none_is_given() -> None:
    """`paths` is how many are told at most; the verdict does not depend on it."""
    registry["k"] = session = types.SimpleNamespace()
    try:
        none, two = why_alive(session, paths=0), why_alive(session, paths=2)
    finally:
        registry.clear()
    assert (none.paths, none.verdict) == ((), Verdict.IMMORTAL)
    assert len(two.paths) == 2


def endless() -> Iterator[weakref.ref[Any]]:
    head = node = Link()
    for _ in range(20_000):
        node.next = Link()
        node = node.next
    registry["head"] = head
    yield weakref.ref(node)


def test_a_path_of_any_length_is_told_by_its_two_ends() -> None:
    """A chain of twenty thousand links is explained, and its middle left out."""
    wr = next(endless())
    try:
        text = str(why_alive(wr()))
    finally:
        head = registry.pop("head")
        while head is not None:  # one by one: dying all at once may overflow the stack
            head = head.next
    assert "registry['head'].next.next" in text
    assert "more …" in text


def test_asking_leaves_an_interpreter_that_can_still_collect(
    run_python: Callable[..., str],
) -> None:
    """gh-122695: in CPython 3.12.0 to 3.12.5, to ask one module breaks the next collection."""
    out = run_python(
        """
import asyncio, gc, weakref
from deathwatch.explain import why_alive

async def wait(future):
    await future

async def main():
    futures = [asyncio.get_running_loop().create_future() for _ in range(4)]
    tasks = [asyncio.create_task(wait(future)) for future in futures]
    await asyncio.sleep(0)
    for future in futures:
        future.set_result(None)
    await asyncio.gather(*tasks)

class Session:
    pass

asyncio.run(main())
gc.disable()
session = Session()
session.itself = session  # held by no module, and so every module is asked
wr = weakref.ref(session)
del session
print(why_alive(wr()).verdict)
gc.collect()
print("collected")
"""
    )
    assert out.splitlines()[-1] == "collected"
