"""One edge of a path, and what rows of the table of edges build it with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress, count, islice, repeat
from operator import is_
from typing import Any, NamedTuple

from .names import plain


class Step(NamedTuple):
    """One edge as a person writes it: `.name` and `[key]` join what comes before, words don't.

    `mark` is what of it holds in every process; `length` the number of objects that it takes;
    `base` what the next edge is written after, if it joins.
    """

    kind: str
    text: str
    mark: str
    length: int
    base: str = "…"


Path = Sequence[Any]
Row = Callable[[Path, int], Step | None]


def position(items: Iterable[object], child: object) -> int | None:
    """Return where an object is, by identity."""
    return next(compress(count(), map(is_, list(items), repeat(child))), None)


def name_in(namespace: Mapping[Any, object] | None, child: object) -> str | None:
    """Return the name of an object in a namespace, by identity."""
    if namespace is None:
        return None
    index = position(namespace.values(), child)
    return None if index is None else plain(next(islice(namespace.keys(), index, None)))


def attribute(name: str, length: int) -> Step:
    return Step("attribute", f".{name}", f".{name}", length)


def words(kind: str, text: str, length: int, mark: str = "", base: str = "…") -> Step:
    return Step(kind, text, mark or text, length, base)


def after(path: Path, at: int) -> Any:
    """Return the object two steps on, or None at the end of the path."""
    return path[at + 2] if at + 2 < len(path) else None


def upto(path: Path, at: int, length: int) -> int:
    """Return how many of `length` steps the path still has."""
    return min(length, len(path) - 1 - at)


def through_namespace(namespace: Any, path: Path, at: int) -> Step | None:
    """Name the step from an owner through its `__dict__`, which stands next in the path."""
    if namespace is None or path[at + 1] is not namespace:
        return None
    if at + 2 == len(path):
        return attribute("__dict__", 1)
    name = name_in(namespace, path[at + 2])
    return None if name is None else attribute(name, 2)
