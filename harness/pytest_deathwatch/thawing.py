"""A frozen heap is thawed when the program asks for it: to collect it, or for a list of objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deathwatch.watch.snapshot import Snapshot

_ASKING = ("get_objects", "get_referrers")
_WHOLE = 2
"""The generation of a collection that goes through the whole heap."""


@contextmanager
def lending(heap: Snapshot) -> Iterator[None]:
    """Thaw the heap for every collection of the whole of it, and from when `gc.get_objects` or
    `gc.get_referrers` is looked up.

    These two are handed out by a `__getattr__` of the module `gc` (PEP 562), as they are: a
    function around them would itself be a referrer. Who has imported one by its name before sees
    the frozen heap.
    """

    def collecting(phase: str, info: dict[str, int]) -> None:
        if info["generation"] == _WHOLE:
            heap.thaw() if phase == "start" else heap.refreeze()

    def asked(name: str) -> Any:
        try:
            found = taken[name]
        except KeyError:
            raise AttributeError(f"module 'gc' has no attribute {name!r}") from None
        heap.lend()
        return found

    names = vars(gc)
    taken = {name: names[name] for name in _ASKING if name in names}
    gc.callbacks.append(collecting)
    names["__getattr__"] = asked
    for name in taken:
        del names[name]
    try:
        yield
    finally:
        for name, function in taken.items():
            names.setdefault(name, function)
        names.pop("__getattr__", None)
        if collecting in gc.callbacks:
            gc.callbacks.remove(collecting)
        heap.take_back()
