"""The markers `no_leaks` and `no_cycles`: a test that leaves something behind fails."""

from __future__ import annotations

import sys
import types
import unittest
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import ref

import pytest

from deathwatch.referents import referents

from .heap import is_a, is_foreign, is_runners, module_of

_SHOWN = 3
_pending = pytest.StashKey[list["ref[object]"]]()


@contextmanager
def demanded(item: pytest.Item) -> Iterator[None]:
    """Demand of a test's call what its markers say. An exception in the test passes through."""
    with ExitStack() as stack:
        if (marker := item.get_closest_marker("no_leaks")) is not None:
            stack.enter_context(_no_leaks(item, _classes(marker)))
        if item.get_closest_marker("no_cycles") is not None:
            stack.enter_context(_no_cycles())
        yield


def _classes(marker: pytest.Mark) -> tuple[Any, ...]:
    """Return what `no_leaks` was given: a lone class by `types=`, else pytest marks that."""
    types_ = marker.kwargs.get("types", ())
    return (*marker.args, *(types_ if isinstance(types_, (tuple, list)) else (types_,)))


@contextmanager
def _no_cycles() -> Iterator[None]:
    from deathwatch import no_cycles

    passed = False
    try:
        with no_cycles():
            yield
            passed = True
    except AssertionError as error:
        if not passed:
            raise
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    except unittest.SkipTest as error:
        if not passed:
            raise
        pytest.skip(str(error))


@contextmanager
def _no_leaks(item: pytest.Item, classes: tuple[type, ...]) -> Iterator[None]:
    """Fail for instances made in the call that survive it.

    What a fixture holds that the test has set up may go with the fixture: it is looked at again
    when the test has been torn down (`check_pending`).
    """
    from deathwatch import collect
    from deathwatch.watch.snapshot import Snapshot, weakly

    for cls in classes:
        if not isinstance(cls, type):
            pytest.fail(f"no_leaks takes classes, not {cls!r}", pytrace=False)
    collect()
    snapshot = Snapshot()
    try:
        yield
        collect()
        survivors = _counting(snapshot.new(), classes)
    finally:
        snapshot.release()
    if survivors:
        held = _held_by_fixtures(item)
        pending = map(weakly, (obj for obj in survivors if id(obj) in held))
        item.stash[_pending] = list(filter(None, pending))
        survivors[:] = [obj for obj in survivors if id(obj) not in held]
        del held
    if survivors:
        text = _describe(survivors)
        survivors.clear()
        pytest.fail(text, pytrace=False)


def _counting(objs: list[object], classes: tuple[type, ...]) -> list[object]:
    return [obj for obj in objs if _counts(obj, classes)]


def check_pending(item: pytest.Item) -> None:
    """Fail for what fixtures still held after the call, if it has survived them."""
    from deathwatch import collect

    pending = item.stash.get(_pending, [])
    if not pending:
        return
    del item.stash[_pending]
    if getattr(item, "funcargs", None):
        item.funcargs.clear()  # type: ignore[attr-defined]
    if any(wr() is not None for wr in pending):
        collect()
    survivors = [obj for wr in pending if (obj := wr()) is not None]
    if survivors:
        text = _describe(survivors)
        survivors.clear()
        pytest.fail(text, pytrace=False)


def _counts(obj: object, classes: tuple[type, ...]) -> bool:
    if classes:
        return any(cls is base for cls in classes for base in type(obj).__mro__)
    return is_foreign(type(obj)) and not is_a(obj, type)


def _held_by_fixtures(item: pytest.Item) -> set[int]:
    """Return what the test's fixtures reach, not counting modules, classes and pytest's own."""
    barrier = {id(module.__dict__) for module in list(sys.modules.values()) if module is not None}
    request = getattr(item, "_request", None)
    definitions = dict(getattr(request, "_fixture_defs", None) or {})
    roots = [each.cached_result[0] for each in definitions.values() if each.cached_result]
    seen: set[int] = set()
    todo = [*roots, *(getattr(item, "funcargs", None) or {}).values()]
    while todo:
        seen.update(map(id, todo))
        todo = [
            obj
            for obj in {id(obj): obj for obj in referents(*todo)}.values()
            if id(obj) not in seen
            and id(obj) not in barrier
            and not is_a(obj, type, types.ModuleType, types.CodeType)
            and not is_runners(obj)
        ]
    return seen


def _describe(survivors: list[object]) -> str:
    from deathwatch.explain import why_alive

    counts = Counter(f"{module_of(type(o))}.{type(o).__qualname__}" for o in survivors)
    lines = [f"{len(survivors)} objects made in the test survived it:"]
    lines.extend(f"  {count} x {name}" for name, count in counts.most_common(8))
    lines.extend(str(why_alive(survivors[i])) for i in range(min(_SHOWN, len(survivors))))
    return "\n".join(lines)
