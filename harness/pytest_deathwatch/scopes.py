"""What did fixtures of a class or a module make, and is it gone when their scope has ended?"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import islice
from weakref import ref

import pytest

from deathwatch.watch.snapshot import weakly

from .heap import Key, Node, is_a, package
from .memory import Memory

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
        if refs := _watchable(made):
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


def left(
    scope: list[tuple[pytest.Item, list[ref[object]]]], memory: Memory
) -> list[tuple[pytest.Item, set[Key]]]:
    """Return the tests whose fixtures left something, with the kinds of it that are a reason to
    look closer; collects the whole heap if need be."""
    if not any(_suspects(each, memory) for each in scope):
        return []
    gc.collect()
    found = [(made[0], _suspects(made, memory)) for made in scope]
    return [each for each in found if each[1]]


def _suspects(made: tuple[pytest.Item, list[ref[object]]], memory: Memory) -> set[Key]:
    alive = [obj for wr in made[1] if (obj := wr()) is not None]
    return memory.suspects(alive, made[0].nodeid)


def _watchable(objs: list[object]) -> list[ref[object]]:
    """Return weak references to instances. Functions and the like are what pytest makes of every
    fixture, and looking closer costs a collection of the whole heap."""
    instances = (o for o in objs if package(type(o)) not in _UNTELLING and not is_a(o, type))
    return list(islice(filter(None, map(weakly, instances)), _WATCHED))
