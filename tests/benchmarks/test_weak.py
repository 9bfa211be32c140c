"""What a look through a weak pointer costs."""

from __future__ import annotations

from collections.abc import Callable
from weakref import ref

from lastref import weak

LOOKS = 20_000


class Node:
    pass


def test_value_beside_a_bare_reference(versus: Callable[..., float]) -> None:
    """Asked: `.value()` at most 2 times a bare `ref()`."""
    node = Node()
    pointer, wr = weak.make(node), ref(node)

    def ours() -> None:
        for _ in range(LOOKS):
            pointer.value()

    def rival() -> None:
        for _ in range(LOOKS):
            wr()

    versus(ours, rival, operations=LOOKS, name="weakref.ref()", ceiling=2.0)


def test_make_beside_a_bare_reference(versus: Callable[..., float]) -> None:
    """Reported: a second pointer to an object, beside a second native reference."""
    node = Node()
    first, wr = weak.make(node), ref(node)

    def ours() -> None:
        for _ in range(LOOKS):
            weak.make(node)

    def rival() -> None:
        for _ in range(LOOKS):
            ref(node)

    versus(ours, rival, operations=LOOKS, name="weakref.ref(node)")
    assert first.value() is wr()
