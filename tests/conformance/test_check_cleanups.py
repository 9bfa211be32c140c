"""C17: `deathwatch.check_cleanups` reports each cleanup that can never run, and none else."""

from __future__ import annotations

import builtins
import functools
import gc
import inspect
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deathwatch import NeverRuns, check_cleanups
from lastref.cleanup import CleanupQueue, add_cleanup, drain, record_sites

GLOBAL: list[Any] = []


class Connection:
    def close(self, _: object = None) -> None:
        pass


class Holder:
    def __init__(self, held: object) -> None:
        self.held = held


@pytest.fixture(autouse=True)
def recording() -> Iterator[None]:
    """Sites are recorded, and whatever a test registered is gone after it."""
    record_sites()
    yield
    record_sites(False)
    GLOBAL.clear()


def holding(held: object) -> Callable[[object], object]:
    return lambda _: held


def uses_global(_: object) -> object:
    return GLOBAL


def in_generator(held: object) -> Callable[[object], object]:
    def generate() -> Iterator[object]:
        yield
        yield held

    generator = generate()
    next(generator)
    return holding(generator)


FAULTY: dict[str, Callable[[Connection], tuple[Any, Any]]] = {
    "closure, two steps": lambda c: (holding(Holder(c)), 0),
    "closure of a closure": lambda c: (holding(holding(c)), 0),
    "argument, two steps": lambda c: (id, Holder([c])),
    "argument, in a dict of a dict": lambda c: (id, {"a": {"b": c}}),
    "partial of a bound method": lambda c: (
        functools.partial(functools.partial(print, c.close)),
        0,
    ),
    "default of an inner function": lambda c: (holding(lambda held=[c]: held), 0),
    "suspended generator": lambda c: (in_generator(c), 0),
    "long chain": lambda c: (id, functools.reduce(lambda h, _: Holder(h), range(100), Holder(c))),
}


def suspended() -> Iterator[int]:
    """A generator that has begun: its frame leads to its code, and on PyPy on to the globals."""
    made = numbers()
    next(made)
    return made


def numbers() -> Iterator[int]:
    yield 1
    yield 2


SOUND: dict[str, Callable[[Connection], tuple[Any, Any]]] = {
    "another object": lambda c: (holding(Holder(Connection())), 0),
    "a weak reference": lambda c: (holding(weakref.ref(c)), weakref.ref(c)),
    "a module global": lambda c: (GLOBAL.append(c), (uses_global, 0))[1],
    "the class": lambda c: (holding(Connection), Connection),
    "a plain function": lambda c: (print, 7),
    "a builtin": lambda c: (setattr(builtins, "_kept", c), (lambda _: None, 0))[1],
    "a generator beside a global": lambda c: (GLOBAL.append(c), (holding([suspended()]), 0))[1],
    "its module": lambda c: (holding(sys.modules[__name__]), 0),
}


def found_of(make: Callable[[Connection], tuple[Any, Any]]) -> tuple[list[NeverRuns], int]:
    connection = Connection()
    func, arg = make(connection)
    frame = inspect.currentframe()
    assert frame is not None
    line = frame.f_lineno + 1
    cleanup = add_cleanup(connection, func, arg)
    try:
        return check_cleanups(), line
    finally:
        cleanup.stop()
        drain(10)


@pytest.mark.parametrize("kind", FAULTY)
def test_a_cleanup_that_holds_its_object_is_reported_with_its_site(kind: str) -> None:
    """Go's TestDetectFinalizerAndCleanupLeaks: the faulty ones, each with where it was made."""
    [found], line = found_of(FAULTY[kind])
    assert found.site == f"{__file__}:{line}"
    assert found.obj == "Connection"
    assert found.path[-1] == "Connection"
    assert f"{__file__}:{line}" in str(found)


@pytest.mark.parametrize("kind", SOUND)
def test_a_cleanup_that_can_run_is_not_reported(kind: str) -> None:
    """Go's TestDetectFinalizerAndCleanupLeaks: none of the sound ones."""
    try:
        found, _ = found_of(SOUND[kind])
    finally:
        GLOBAL.clear()
        vars(builtins).pop("_kept", None)
    assert found == []


def test_faulty_ones_are_found_among_many_and_in_every_queue() -> None:
    """Exactly the 3 of 1,003, registered with queues of any kind."""
    queue = CleanupQueue(workers=0)
    sound = [Connection() for _ in range(1000)]
    faulty = [Connection() for _ in range(3)]
    cleanups = [add_cleanup(c, holding(Holder(Connection())), 0) for c in sound]
    cleanups += [add_cleanup(c, id, Holder([c]), queue=queue) for c in faulty]
    assert len(check_cleanups()) == 3
    for cleanup in cleanups:
        cleanup.stop()
    assert check_cleanups() == []


def test_finalize_is_looked_at_too() -> None:
    """`weakref.finalize` with a bound method, the usual mistake, is found by its registry."""
    connection = Connection()
    finalize = weakref.finalize(connection, connection.close)
    [found] = check_cleanups()
    assert "Connection.close" in found.func
    finalize.detach()
    assert check_cleanups() == []


def test_looking_keeps_nothing_alive_and_changes_nothing() -> None:
    """After the check an object dies as it would have, and its cleanup runs."""
    ran: list[int] = []
    box = [Connection()]
    wr = weakref.ref(box[0])
    add_cleanup(box[0], ran.append, 1)
    assert check_cleanups() == []
    box.clear()
    gc.collect()
    assert wr() is None
    assert drain(10)
    assert ran == [1]


def test_sites_are_kept_only_where_asked_for() -> None:
    """Without `record_sites` the report says which function it is, and where that is."""
    record_sites(False)
    [found], _ = found_of(FAULTY["closure, two steps"])
    assert found.site is None
    assert f"{__file__}:" in found.func


def test_sites_of_what_has_run_are_forgotten() -> None:
    """Recording sites for long does not keep what is over."""
    from lastref import _sites

    for _ in range(10):
        for _ in range(1000):
            add_cleanup(Connection(), id, [1])
        gc.collect()
        assert drain(10)
    assert len(_sites._sites) <= 4096
