"""What did fixtures of a class or a module make, and is it gone when their scope has ended?"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from weakref import ref

import pytest

from .heap import Node, is_a, package

_UNTELLING = frozenset({"builtins", "functools", "types", "?"})
_WATCHED = 500
"""Objects of one fixture that are watched at most: one that stays is enough to look closer."""


class Scopes:
    """The scopes of classes and modules that are set up at the moment.

    Of each: the tests that were the first to ask for a fixture, and weak references to what the
    fixture made.
    """

    def __init__(self) -> None:
        self._open: dict[Node, list[tuple[pytest.Item, list[ref[object]]]]] = {}

    def note(self, node: Node, item: pytest.Item, made: list[object]) -> None:
        """Note what a fixture of this scope has made, when `item` asked for it first."""
        if refs := list(_weakly(made)):
            self._open.setdefault(node, []).append((item, refs))

    def ended(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Iterator[tuple[Node, list[tuple[pytest.Item, list[ref[object]]]]]]:
        """Yield the scopes that ended with `item`, inner ones first, with what was made in them."""
        if not self._open:
            return
        needed = nextitem.listchain() if nextitem is not None else []
        for node in reversed(item.listchain()[:-1]):
            if node in self._open and node not in needed:
                yield node, self._open.pop(node)


def left(scope: list[tuple[pytest.Item, list[ref[object]]]]) -> list[pytest.Item]:
    """Return the tests whose fixtures left something; collects the whole heap if need be."""
    if not any(map(_alive, scope)):
        return []
    gc.collect()
    return list(dict.fromkeys(item for item, refs in filter(_alive, scope)))


def _alive(made: tuple[pytest.Item, list[ref[object]]]) -> bool:
    return any(wr() is not None for wr in made[1])


def _weakly(objs: list[object]) -> Iterator[ref[object]]:
    """Yield weak references to instances. Functions and the like are what pytest makes of every
    fixture, and looking closer costs a collection of the whole heap."""
    count = 0
    for obj in objs:
        if package(type(obj)) in _UNTELLING or is_a(obj, type):
            continue
        try:
            yield ref(obj)
        except TypeError:
            continue
        count += 1
        if count == _WATCHED:
            return
