"""Demanding of a whole region that nothing survives it, or that it makes no cycles."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .collecting import TIMEOUT, collect, collector_state
from .snapshot import Snapshot
from .watching import REFCOUNTS

_SHOWN = 3
"""How many objects of a failure are explained; the others are counted."""

_ASKED = 12
"""How many objects of a garbage heap are asked at most until so many different cycles are found."""


@contextmanager
def no_survivors(*types: type, timeout: float = TIMEOUT) -> Iterator[None]:
    """Demand that no instance of `types` made in the region survives it.

    Instances of subclasses count. Without types: of every class that is not the standard
    library's (or this harness's). Tracked objects only: instances without any reference field
    escape, as do objects made before. Not guaranteed: which thread made them; what other threads
    make meanwhile counts too. The heap is frozen in the region where the program has not frozen
    it itself, and unfrozen after it.

    Raises `AssertionError`, which counts the survivors by type, says of the first few what keeps
    them alive, and keeps none of them alive. An exception in the region passes through.

    >>> from deathwatch import no_survivors
    >>> class Connection: pass
    >>> with no_survivors(Connection):
    ...     Connection() and None
    """
    for cls in types:
        if not isinstance(cls, type):
            raise TypeError(f"no_survivors takes classes, not {cls!r}: pass type(obj)")
    collect()
    snapshot = Snapshot()
    try:
        yield
        collect(timeout)
        failure = _describe_survivors(snapshot, types)
    finally:
        snapshot.release()
    if failure:
        raise AssertionError(failure)


@contextmanager
def no_cycles() -> Iterator[None]:
    """Demand that everything dropped in the region dies by its reference count.

    Fails for what only the collector could free: cycles through attributes, closures, and those
    of exception, traceback and frame. Automatic collection is off in the region. Not guaranteed:
    which thread made a cycle; a cycle still held when the region ends is not garbage yet, and not
    reported. Finalizers of the garbage run before it is described.

    Raises `AssertionError`, which prints the cycles and keeps none of them alive. Where the
    interpreter doesn't count references (PyPy), everything needs the collector: it raises
    `unittest.SkipTest`.

    >>> from contextlib import suppress
    >>> from unittest import SkipTest
    >>> from deathwatch import no_cycles
    >>> with suppress(SkipTest), no_cycles():  # PyPy skips
    ...     parent = {}
    ...     parent["child"] = [1, 2]
    ...     del parent
    """
    if not REFCOUNTS:
        import unittest

        raise unittest.SkipTest(
            f"cycles: {sys.implementation.name} frees every object by its collector"
        )
    collect()
    explicit = _Collections()
    with collector_state(enabled=False):
        gc.callbacks.append(explicit.note)
        try:
            yield
        finally:
            gc.callbacks.remove(explicit.note)
        failure = _describe_garbage(explicit.found)
    collect()
    if failure:
        raise AssertionError(failure)


class _Collections:
    """What explicit collections inside a region have freed, unseen by us."""

    def __init__(self) -> None:
        self.found = 0

    def note(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "stop":
            self.found += info["collected"]


def _describe_garbage(already_freed: int) -> str | None:
    garbage = _take_garbage()
    if not garbage and not already_freed:
        return None
    lines = []
    if already_freed:
        lines.append(
            f"{already_freed} objects were freed by a collection inside the region, which left"
            " no trace of them: take gc.collect() out of it to see them"
        )
    if garbage:
        lines.append(f"{len(garbage)} objects could only be freed by the collector:")
        lines.append(_by_type(garbage))
        lines.extend(_explain_cycles(garbage))
    return "\n".join(lines)


def _take_garbage() -> list[object]:
    """What a collection would free now, kept from being freed."""
    before = len(gc.garbage)
    with collector_state(debug=gc.DEBUG_SAVEALL):
        gc.collect()
    garbage = gc.garbage[before:]
    del gc.garbage[before:]
    return garbage


def _explain_cycles(garbage: list[object]) -> list[str]:
    """The first few different cycles, instances of the program's own classes first.

    What merely hangs on a cycle is told only where no cycle was found among the first.
    """
    foreign = list(map(_foreign, map(type, garbage)))
    order = sorted(range(len(garbage)), key=foreign.__getitem__, reverse=True)
    texts: dict[str, str] = {}
    hanging: dict[str, str] = {}
    for i in order[:_ASKED]:
        retention = _explain(garbage, i)
        chosen = texts if retention.cycle else hanging
        chosen.setdefault(retention.fingerprint, str(retention))
        if len(texts) == _SHOWN:
            break
    return list((texts or hanging).values())[:_SHOWN]


def _explain(objects: list[object], index: int) -> Any:
    from deathwatch.explain import why_alive

    return why_alive(objects[index])


def _describe_survivors(snapshot: Snapshot, types: tuple[type, ...]) -> str | None:
    survivors = [o for o in snapshot.new() if _counts(type(o), types)]
    if not survivors:
        return None
    lines = [f"{len(survivors)} objects made in the region survived it:", _by_type(survivors)]
    lines.extend(str(_explain(survivors, i)) for i in range(min(_SHOWN, len(survivors))))
    return "\n".join(lines)


def _counts(cls: type, types: tuple[type, ...]) -> bool:
    if not types:
        return _foreign(cls)
    return any(t in cls.__mro__ for t in types)


def _foreign(cls: type) -> bool:
    """Whether a class is neither the standard library's nor the harness's."""
    package = str(cls.__module__).partition(".")[0]
    return package not in sys.stdlib_module_names and package not in _OWN


_OWN = frozenset({"builtins", "deathwatch", "pytest_deathwatch", "_pytest", "pytest"})


def _by_type(objects: list[object]) -> str:
    counts = Counter(f"{type(o).__module__}.{type(o).__qualname__}" for o in objects)
    rows = [f"  {n} x {name.removeprefix('builtins.')}" for name, n in counts.most_common(8)]
    if len(counts) > 8:
        rows.append(f"  ... and {len(counts) - 8} more types")
    return "\n".join(rows)
