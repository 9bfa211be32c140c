"""What lives although no root reaches it? Orphans, which C code holds, and garbage.

A reference count above what the collector can account for is the only trace of a holder in C:
an interpreter's list of callbacks, the arguments of a thread, an extension's static variable.
"""

from __future__ import annotations

import gc
import sys
import types
from collections import Counter
from collections.abc import Iterator
from itertools import compress, repeat
from operator import add, gt, not_

from deathwatch.referents import referents

from .names import is_exactly
from .walk import CHUNK, COUNTED, count, key, refers

LONGEST_WAY = 100


def unreached(marks: set[int], own: list[object], kinds: tuple[type, ...]) -> list[object]:
    """Return what the collector tracks beside the marked objects and our own."""
    objs = gc.get_objects()
    marks = marks.union(map(key, own), (key(own), key(objs)))
    flags = map(not_, map(marks.__contains__, map(key, objs)))
    return [obj for obj in compress(objs, flags) if not is_exactly(obj, *kinds)]


def references_from(objs: list[object], target: object) -> int:
    """Return how many references to the target these objects have."""
    return sum(
        count(referents(*objs[at : at + CHUNK]), target) for at in range(0, len(objs), CHUNK)
    )


def count_references(objs: list[object], counts: Counter[int]) -> None:
    """Count every reference that these objects have, by the key of what it leads to."""
    for at in range(0, len(objs), CHUNK):
        counts.update(map(key, referents(*objs[at : at + CHUNK])))


def held_elsewhere(objs: list[object], known: Counter[int], ours: int) -> list[object]:
    """Return those with more references than the `known` ones, and `ours` to each.

    `ours` are what the caller holds, this list included. Where references can't be counted,
    return those to which none is known: C code holds what is alive all the same.
    """
    if not COUNTED:
        return [obj for obj in objs if not known[key(obj)]]
    given = map(add, map(known.__getitem__, map(key, objs)), repeat(ours + 1))
    more = list(map(gt, map(sys.getrefcount, objs), given))
    return list(compress(objs, more))


def around(region: list[object], target: object) -> tuple[list[object], list[object]]:
    """Go back from the target to a cycle that holds it: return the cycle, and the way from there.

    The cycle begins and ends at the object that the way begins at. Both are empty when there is
    none among these objects.
    """
    back = [target]
    while len(back) < LONGEST_WAY:
        holder = next(_holders(region, back[-1]), None)
        if holder is None:
            break
        index = next((at for at, obj in enumerate(back) if obj is holder), None)
        if index is not None:
            return _from_the_telling([holder, *back[:index:-1]], back[index::-1])
        back.append(holder)
    return [], []


def _from_the_telling(circle: list[object], way: list[object]) -> tuple[list[object], list[object]]:
    """Begin both at an object with a name of its own, rather than at its `__dict__` or a list."""
    for _ in circle:
        if not is_exactly(circle[0], dict, list, tuple, set, frozenset, types.CellType):
            break
        circle.insert(0, circle.pop())
        way.insert(0, circle[0])
    return [*circle, circle[0]], way


def _holders(objs: list[object], target: object) -> Iterator[object]:
    for at in range(0, len(objs), CHUNK):
        chunk = objs[at : at + CHUNK]
        if refers(chunk, target):
            yield from (obj for obj in chunk if refers([obj], target))
