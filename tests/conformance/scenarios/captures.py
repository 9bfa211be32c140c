"""Captures: cleanups that hold their own object and would never run (semantics C8, C17)."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import Any

from .catalogue import GO, STDLIB, Difference, scenario
from .dying import Victim, refused

_ACCEPTED = Difference(
    STDLIB,
    "accepted",
    "weakref.finalize does not look; its documentation warns.",
    "docs:library/weakref#weakref.finalize",
)
_PROMISE = "A cleanup that holds its object one step away is refused: it would never run."


@scenario(
    "C8/closure",
    "The object is a closure variable of the cleanup",
    promise=_PROMISE,
    expected="refused",
    sources=("C8", "gotest:runtime/mcleanup_test.go TestCleanupUnreachableClosure"),
    differences=(_ACCEPTED,),
)
def closure(api: Any) -> str:
    victim = Victim()
    return refused(lambda: api.add_cleanup(victim, lambda _: victim, 0))


@scenario(
    "C8/method",
    "The cleanup is a bound method of the object",
    promise=_PROMISE,
    expected="refused",
    sources=("C8", "gosrc:runtime/mcleanup.go"),
    differences=(_ACCEPTED,),
)
def method(api: Any) -> str:
    class Closing(Victim):
        def close(self, _: object) -> None:
            pass

    victim = Closing()
    return refused(lambda: api.add_cleanup(victim, victim.close, 0))


@scenario(
    "C8/default",
    "The object is a default of the cleanup",
    promise=_PROMISE,
    expected="refused",
    sources=("C8",),
    absent={GO: "Go has no default arguments."},
    differences=(_ACCEPTED,),
)
def default(api: Any) -> str:
    victim = Victim()

    def positional(_: object, held: object = victim) -> None:
        pass

    def keyword(_: object, *, held: object = victim) -> None:
        pass

    outcomes = {refused(lambda f=f: api.add_cleanup(victim, f, 0)) for f in (positional, keyword)}  # type: ignore[misc]
    return " and ".join(sorted(outcomes))


@scenario(
    "C8/partial",
    "The object is an argument of a partial",
    promise=_PROMISE,
    expected="refused",
    sources=("C8",),
    absent={GO: "Go has no partial application but closures (C8/closure)."},
    differences=(_ACCEPTED,),
)
def partial(api: Any) -> str:
    victim = Victim()
    return refused(lambda: api.add_cleanup(victim, functools.partial(print, victim), 0))


@scenario(
    "C8/container",
    "The argument is a container of the object",
    promise=_PROMISE,
    expected="refused",
    sources=("C8", "contract:add_cleanup"),
    differences=(
        _ACCEPTED,
        Difference(
            GO,
            "accepted",
            "Go compares the argument with the object, and looks into closures alone.",
            "gosrc:runtime/mcleanup.go",
        ),
    ),
)
def container(api: Any) -> str:
    victim = Victim()
    held: list[Any] = [[victim], (victim,), {"key": victim}, {victim}, Victim(held=victim)]
    outcomes = {refused(lambda arg=arg: api.add_cleanup(victim, id, arg)) for arg in held}  # type: ignore[misc]
    return " and ".join(sorted(outcomes))


@scenario(
    "C8/part",
    "The argument is a part of the object",
    promise="An argument that lies inside of the object is refused.",
    expected="refused",
    sources=("C8", "gotest:runtime/mcleanup_test.go TestCleanupUnreachablePointer"),
    absent={
        STDLIB: "Python has no pointers into an object: a part does not keep the whole alive.",
        "lastref": "Python has no pointers into an object: a part does not keep the whole alive.",
    },
)
def part(api: Any) -> str:
    raise AssertionError("not applicable to Python")


@scenario(
    "C8/deeper",
    "The object is held two steps away",
    promise="Only one step is looked at when registering: what is deeper is accepted.",
    expected="accepted",
    sources=("C8", "contract:add_cleanup"),
)
def deeper(api: Any) -> str:
    victim = Victim()
    return refused(lambda: api.add_cleanup(victim, id, Victim(deep=Victim(held=victim))))


def _holding(held: object) -> Any:
    return lambda _: held


@scenario(
    "C17/exact",
    "A detector, one cleanup that holds its object, and one that doesn't",
    promise="A detector reports exactly the cleanups that can never run, and where they were made.",
    expected="1 of 2 reported, with its site",
    sources=("C17", "gotest:runtime/gc_test.go TestDetectFinalizerAndCleanupLeaks"),
    differences=(
        Difference(
            STDLIB,
            "1 of 2 reported",
            "tracemalloc tells where a finalize was made, and PyPy has none.",
            "docs:library/tracemalloc",
            ("pypy-*",),
        ),
    ),
)
def detector(api: Any) -> str:
    """What `deathwatch.check_cleanups` says."""
    import linecache

    from deathwatch import check_cleanups

    if api.ours:
        from lastref.cleanup import record_sites

        record_sites()
    else:
        with suppress(ImportError):
            import tracemalloc

            tracemalloc.start()
    faulty, sound = Victim(name="faulty"), Victim(name="sound")
    api.add_cleanup(faulty, _holding(Victim(deep=Victim(held=faulty))), 0)
    api.add_cleanup(sound, _holding(Victim(deep=Victim(held=Victim()))), 0)
    found = check_cleanups()
    # The binding registers: the site is the line there that says so.
    files = [(f.site or ":0").rpartition(":") for f in found]
    lines = [linecache.getline(file, int(line)) for file, _, line in files]
    sited = all("(obj, func, arg)" in line for line in lines)
    return f"{len(found)} of 2 reported" + (", with its site" if sited else "")
