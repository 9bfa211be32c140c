"""Cleanups beside `weakref.finalize`: registering, a whole life, memory."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from statistics import mean
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from lastref.cleanup import CleanupQueue, add_cleanup, drain

OBJECTS = 5000
SIZES = [10_000, 14_000, 20_000, 28_000, 40_000, 56_000, 80_000]


class Victim:
    pass


class Owner:
    def release(self, arg: object) -> None:
        pass


def release(arg: object) -> None:
    pass


class Bench:
    """Fresh victims for every round; what the last round registered has run before the next."""

    def __init__(
        self, func: Callable[[Any], object], arg: object = 1, objects: int = OBJECTS
    ) -> None:
        self.func = func
        self.arg = arg
        self.objects = objects
        self.victims: list[Victim] = []

    def renew(self) -> None:
        self.victims = [Victim() for _ in range(self.objects)]
        drain()
        gc.collect()

    def our_registrations(self) -> None:
        func, arg = self.func, self.arg
        for victim in self.victims:
            add_cleanup(victim, func, arg)

    def their_registrations(self) -> None:
        func, arg = self.func, self.arg
        for victim in self.victims:
            weakref.finalize(victim, func, arg)

    def our_lives(self) -> None:
        self.our_registrations()
        self.victims.clear()
        drain()

    def their_lives(self) -> None:
        self.their_registrations()
        self.victims.clear()

    def run(self, versus: Callable[..., float], ours: str, rival: str, **how: object) -> None:
        self.renew()
        versus(
            getattr(self, ours), getattr(self, rival), before=self.renew,
            operations=self.objects, name="weakref.finalize", **how,
        )  # fmt: skip
        self.renew()


def test_registering_a_module_level_function(versus: Callable[..., float]) -> None:
    """Registration, capture check included."""
    Bench(release).run(versus, "our_registrations", "their_registrations", floor=3.0)


def test_registering_with_a_tuple(versus: Callable[..., float]) -> None:
    """Reported: what can hold the object is looked into at each call."""
    Bench(release, ("path", 7)).run(versus, "our_registrations", "their_registrations")


def test_registering_a_bound_method(versus: Callable[..., float]) -> None:
    """A bound method is looked into at each call."""
    Bench(Owner().release).run(versus, "our_registrations", "their_registrations")


@pytest.mark.parametrize("objects", [1_000, OBJECTS, 20_000])
def test_a_life(versus: Callable[..., float], objects: int) -> None:
    """Register, die, run, so many at once.

    `drain` wakes the worker and waits for it once for all, which weighs where they are few;
    finalize's registry grows heavy where they are many.
    """
    bench = Bench(release, objects=objects)
    bench.run(versus, "our_lives", "their_lives", floor=2.0)


def bytes_each(count: int, register: Callable[[Victim], object]) -> float:
    """What one of `count` registrations takes. No argument is counted: there is one for all."""
    import tracemalloc  # PyPy has none

    victims = [Victim() for _ in range(count)]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for victim in victims:
            register(victim)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    victims.clear()
    return (after - before) / count


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy has no tracemalloc")
def test_memory_of_a_registration(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an argument, at sizes between which registries grow, in a registry of its own."""
    ours: dict[int, float] = {}
    theirs: dict[int, float] = {}

    def measure() -> None:
        for size in SIZES:
            queue = CleanupQueue(workers=0)
            ours[size] = bytes_each(size, lambda v, q=queue: add_cleanup(v, release, 1, queue=q))
            theirs[size] = bytes_each(size, lambda victim: weakref.finalize(victim, release, 1))

    benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info["untimed"] = True
    benchmark.extra_info["deathwatch"] = {
        f"bytes of a registration among {size:,}": {
            "add_cleanup": round(ours[size], 1),
            "weakref.finalize": round(theirs[size], 1),
        }
        for size in SIZES
    }
    with capsys.disabled():
        print("\nbytes of one of so many registrations, ours and weakref.finalize's:")
        for size in SIZES:
            print(f"{size:8,} {ours[size]:8.1f} {theirs[size]:8.1f}")
        print(f"{'mean':>8} {mean(ours.values()):8.1f} {mean(theirs.values()):8.1f}")
