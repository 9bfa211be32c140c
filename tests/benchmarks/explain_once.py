"""Explain once, in a process of its own: `explain_once.py SHAPE OBJECTS WHO [--traced]`
prints JSON.

A heap of so many objects that the collector tracks, and one object behind five holders that a
module's global leads to. In the shape `tree`, 200 children point back at the object too. What is
timed is the first call in the process, when all is imported.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
import weakref
from collections.abc import Callable

BEHIND, CHILDREN = 5, 200
PER_NODE = 5  # tracked objects: the node, its list, its dict, the tuple in it, the list in that


class Node:
    def __init__(self, number: int) -> None:
        self.number = number
        self.payload = [number]
        self.meta = {"n": (number, [])}


class Holder:
    parent: object
    child: object


class Target:
    children: list[Holder]


def behind_holders(target: Target, shape: str) -> Holder:
    if shape == "tree":
        target.children = [Holder() for _ in range(CHILDREN)]
        for child in target.children:
            child.parent = target
    child = target
    for _ in range(BEHIND):
        holder = Holder()
        holder.child = child
        child = holder
    return holder


Explain = Callable[[weakref.ref[Target]], bool]


def ours() -> Explain:
    from deathwatch.explain import why_alive

    return lambda wr: "ROOT" in str(why_alive(wr()))


def guppy3() -> Explain:
    from guppy import hpy

    return lambda wr: "ROOT" in str(hpy().iso(wr()).sp)


def objgraph() -> Explain:
    import objgraph

    return lambda wr: len(objgraph.find_backref_chain(wr(), objgraph.is_proper_module)) > BEHIND


def referrers() -> Explain:
    import referrers

    return lambda wr: "ROOT" in str(referrers.get_referrer_graph(wr()))


def collection() -> Explain:
    return lambda wr: gc.collect() >= 0


CONTENDERS: dict[str, Callable[[], Explain]] = {
    "deathwatch": ours,
    "guppy3": guppy3,
    "objgraph": objgraph,
    "referrers": referrers,
    "gc.collect()": collection,
}


def measure(explain: Explain, wr: weakref.ref[Target], *, traced: bool) -> dict[str, object]:
    objects = len(gc.get_objects())
    if traced:
        tracemalloc.start()
    start = time.perf_counter()
    found = explain(wr)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    return {"seconds": seconds, "found": found, "objects": objects, "peak": peak}


if __name__ == "__main__":
    shape, size, who = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    FILLING = [Node(number) for number in range(size // PER_NODE)]
    TARGET = Target()
    wr = weakref.ref(TARGET)
    ROOT = behind_holders(TARGET, shape)
    del TARGET  # no variable is to hold it: the shortest path would begin there
    explain = CONTENDERS[who]()
    gc.collect()
    gc.collect()
    print(json.dumps(measure(explain, wr, traced="--traced" in sys.argv)))
