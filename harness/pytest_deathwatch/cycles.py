"""Which cycles did a test drop? Groups of garbage that its own references kept from dying."""

from __future__ import annotations

import hashlib
import sys
import types
from collections.abc import Iterator

from deathwatch.referents import referents

from .findings import Finding
from .grouping import Hanging, Heap
from .heap import (
    NOT_FOREIGN,
    Key,
    classes_of,
    exactly,
    is_a,
    is_foreign,
    is_runners,
    key,
    key_of_instances,
    of_classes,
    words,
)

Mark = frozenset[Key]
"""The kinds of objects in a cycle: the same for the same cycle in every run."""

LIMIT = 20_000
"""Objects of one test that are looked at for cycles; more are left out, for good: what was found
stands for all tests that make the same kinds."""

# The number of what is in no cycle that is still open.
_CLOSED = sys.maxsize
_BETWEEN: tuple[type, ...] = (types.TracebackType, dict, tuple, list, types.CellType)


def telling(obj: object) -> bool:
    """Tell whether a cycle with this object is someone's: an instance, or a program's frame."""
    if type(obj) is types.FrameType:
        return _is_users_module(obj.f_globals.get("__name__"))
    return _has_telling_instances(type(obj))


def _has_telling_instances(cls: type) -> bool:
    return is_foreign(cls) and not issubclass(cls, (type, types.ModuleType))


def _is_users_module(name: object) -> bool:
    top = name.partition(".")[0] if isinstance(name, str) else "?"
    return top not in NOT_FOREIGN


def telling_kinds(objs: list[object]) -> frozenset[Key]:
    """Return the kinds of the telling objects among these.

    By class: a test can leave a hundred thousand functions and classes, and nothing telling.
    """
    classes = classes_of(objs)
    kinds = set(map(key_of_instances, filter(_has_telling_instances, classes)))
    if any(cls is types.FrameType for cls in classes):
        kinds.update(map(key, filter(telling, exactly(objs, types.FrameType))))
    return frozenset(kinds)


def cycles(objs: list[object]) -> dict[Mark, list[object]]:
    """Return the cycles that are someone's: of each strongly connected part, the shortest one.

    What only hangs on a cycle is left out. So are parts with classes and modules, which every
    class has, and those with the runner's own objects, such as `pytest.raises`' result.
    """
    found: dict[Mark, list[object]] = {}
    looked_at = objs[:LIMIT]
    nodes = dict(zip(map(id, looked_at), looked_at, strict=True))
    may_tell = of_classes(looked_at, lambda cls: cls is types.FrameType or is_foreign(cls))
    starts = dict.fromkeys(map(id, filter(telling, may_tell)))
    for component in _components(nodes, starts):
        if not any(is_a(o, type, types.ModuleType) or is_runners(o) for o in component):
            cycle = _shortest(min(component, key=_naming), component)
            found.setdefault(_mark(cycle), cycle)
    return found


def _mark(cycle: list[object]) -> Mark:
    """Return what is the same of a cycle wherever it is met: not the frames between."""
    kinds = {key(obj) for obj in cycle if not is_a(obj, *_BETWEEN)}
    return frozenset(kinds or map(key, cycle))


def _naming(obj: object) -> tuple[bool, bool, Key]:
    return not is_a(obj, BaseException), not is_foreign(type(obj)), key(obj)


def _shortest(start: object, component: list[object]) -> list[object]:
    """Return the objects of a shortest cycle through `start`, in order."""
    nodes = {id(obj): obj for obj in component}
    came: dict[int, int] = {}
    level = [id(start)]
    while level:
        fresh = []
        for node in level:
            for target in _edges(nodes, node):
                if target == id(start):
                    way = [node]
                    while way[-1] != id(start):
                        way.append(came[way[-1]])
                    return [nodes[each] for each in reversed(way)]
                if target not in came:
                    came[target] = node
                    fresh.append(target)
        level = fresh
    return [start]


def _components(nodes: dict[int, object], starts: dict[int, None]) -> Iterator[list[object]]:
    """Yield the strongly connected components that are cycles, with any of these nodes in them.

    Tarjan's algorithm, iterative: `low` is the lowest number of an open node that a node was seen
    to reach. A node whose component is known, or that leads nowhere, has a number above all.
    """
    numbers: dict[int, int] = {}
    path: list[int] = []
    loops: set[int] = set()
    work: list[tuple[int, int, int, Iterator[int]]] = []
    node, number, low, left = 0, 0, 0, iter(starts)
    while True:
        for target in left:
            known = numbers.get(target)
            if known is None:
                numbers[target] = _CLOSED
                if edges := _edges(nodes, target):
                    work.append((node, number, low, left))
                    node, left = target, iter(edges)
                    number = low = numbers[node] = len(numbers)
                    path.append(node)
                    break
            elif known < low:
                low = known
            elif known == number:
                loops.add(node)
        else:
            if not work:
                return
            if low == number:
                component = [path.pop()]
                while component[-1] != node:
                    component.append(path.pop())
                numbers.update(dict.fromkeys(component, _CLOSED))
                in_cycle = len(component) > 1 or node in loops
                if in_cycle and not starts.keys().isdisjoint(component):
                    yield [nodes[member] for member in component]
            below = low
            node, number, low, left = work.pop()
            low = min(low, below)


def _edges(nodes: dict[int, object], node: int) -> list[int]:
    return list(filter(nodes.__contains__, map(id, referents(nodes[node]))))


def finding_of(mark: Mark, cycle: list[object], heap: Heap, test: str) -> Finding:
    """Put a cycle into words."""
    from deathwatch.explain.edges import edges
    from deathwatch.explain.names import describe

    hanging = Hanging.on(heap, cycle[0])
    steps = list(edges([*cycle, cycle[0]]))
    text = [describe(cycle[0])]
    text += [f"  {step.text}  ->  {step.to}" for step in steps]
    lines = sorted(map(_stable, mark))
    return Finding(
        kind="cycle",
        fingerprint=hashlib.sha256("\n".join(["cycle", *lines]).encode()).hexdigest()[:16],
        type=words((key(cycle[0])[0],)),
        summary="cycle of " + ", ".join(sorted(map(words, mark))),
        text="\n".join(text),
        verdict="needs the collector",
        objects=hanging.objects,
        size=hanging.size,
        types=hanging.types,
        judged=[test],
        status="cycle",
    )


def _stable(kind: Key) -> str:
    """Leave out folders: they differ from machine to machine."""
    if len(kind) == 3 and kind[0] != "class":
        return f"{kind[0]} {kind[1].replace(chr(92), '/').rpartition('/')[2]} {kind[2]}"
    return " ".join(kind)
