"""What a unique handle costs, beside the ways to intern that Python has."""

from __future__ import annotations

import sys
from collections.abc import Callable

from lastref.cleanup import drain
from lastref.unique import make

LOOKS = 20_000
MISSES = 1_000


def test_str_hit_beside_setdefault(versus: Callable[..., float]) -> None:
    """Asked: at most 3 times `dict.setdefault`."""
    handle = make("key")
    table = {"key": "key"}

    def ours() -> None:
        for _ in range(LOOKS):
            make("key")

    def rival() -> None:
        for _ in range(LOOKS):
            table.setdefault("key", "key")

    versus(ours, rival, operations=LOOKS, name="dict.setdefault", ceiling=3.0)
    assert make("key") is handle


def test_str_hit_beside_intern(versus: Callable[..., float]) -> None:
    """Reported: `sys.intern`, which is C, and for exact str alone."""
    handle = make("key")

    def ours() -> None:
        for _ in range(LOOKS):
            make("key")

    def rival() -> None:
        for _ in range(LOOKS):
            sys.intern("key")

    versus(ours, rival, operations=LOOKS, name="sys.intern")
    assert make("key") is handle


def test_tuple_hit_beside_setdefault(versus: Callable[..., float]) -> None:
    """Reported: telling the types inside of a tuple apart."""
    handle = make(("key", 1))
    table = {("key", 1): ("key", 1)}

    def ours() -> None:
        for _ in range(LOOKS):
            make(("key", 1))

    def rival() -> None:
        for _ in range(LOOKS):
            table.setdefault(("key", 1), ("key", 1))

    versus(ours, rival, operations=LOOKS, name="dict.setdefault", rounds=20)
    assert make(("key", 1)) is handle


def test_comparing_handles_beside_comparing_values(versus: Callable[..., float]) -> None:
    """Reported, what handles are for: comparing equal strings of 1,000 characters."""
    one, other = make("x" * 1000), make("x" * 1000)
    text, twin = "x" * 1000, "".join(["x"] * 1000)

    def ours() -> None:
        for _ in range(LOOKS):
            one == other  # noqa: B015

    def rival() -> None:
        for _ in range(LOOKS):
            text == twin  # noqa: B015

    versus(ours, rival, operations=LOOKS, name="str.__eq__")


def test_life_of_a_handle_beside_setdefault(versus: Callable[..., float]) -> None:
    """Reported: made, died and evicted; the rival never forgets."""
    keys = [str(number) for number in range(MISSES)]
    table: dict[str, str] = {}

    def ours() -> None:
        for key in keys:
            make(key)
        drain()

    def rival() -> None:
        table.clear()
        for key in keys:
            table.setdefault(key, key)

    versus(ours, rival, operations=MISSES, name="dict.setdefault", rounds=20)
