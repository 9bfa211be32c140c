"""What is a scenario? A promise, where it is made, and a function that returns what it observed.

A scenario is stated once, and run with each binding: it gets the binding as its only argument and
returns a short text without addresses, times or counts that may vary, so that two runs can be
compared. It raises `Unavailable` where it can't be tried. What differs from the promise is
explained beside the scenario, by outcome: an outcome that nobody explained fails the matrix, and
so does an explanation that nothing needs any more.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple

STDLIB, LASTREF, GO = "standard library", "lastref", "go"
BINDINGS = (STDLIB, LASTREF, GO)

MODULES = (
    "cleanups",
    "captures",
    "pointers",
    "handles",
    "caches",
    "mappings",
    "recipe",
    "deaths",
    "holders",
    "exits",
)

GROUPS = {
    "C": "Cleanups",
    "W": "Weak pointers",
    "U": "Unique handles",
    "K": "Weak caches",
    "M": "Mapped files",
    "T": "Testing object death",
    "D": "Finalizers and death",
    "H": "Holders",
    "E": "Exit, fork, interpreters",
}
"""The groups of scenarios, by the first letter of their ids."""

Observe = Callable[[Any], str]


class Unavailable(Exception):
    """A scenario can't be tried here. Its text is the reason, a sentence."""


class Difference(NamedTuple):
    """Why the cells of `binding` in `columns` show `outcome` and not what was promised.

    `columns` are patterns of column names such as "cpython-3.1[1-4]".
    """

    binding: str
    outcome: str
    why: str
    source: str
    columns: tuple[str, ...] = ("*",)


class Scenario(NamedTuple):
    id: str
    title: str
    promise: str
    expected: str
    sources: tuple[str, ...]
    absent: dict[str, str]
    differences: tuple[Difference, ...]
    observe: Observe

    @property
    def where(self) -> str:
        """File and line, relative to the folder of the conformance suite."""
        code = self.observe.__code__  # type: ignore[attr-defined]
        return f"scenarios/{os.path.basename(code.co_filename)}:{code.co_firstlineno}"


_all: dict[str, Scenario] = {}


def scenario(
    id: str,
    title: str,
    *,
    promise: str,
    expected: str,
    sources: tuple[str, ...],
    absent: dict[str, str] | None = None,
    differences: tuple[Difference, ...] = (),
) -> Callable[[Observe], Observe]:
    """Enter a function in the catalogue. `absent` says per binding why there is no cell."""

    def enter(observe: Observe) -> Observe:
        if id in _all:
            raise ValueError(f"two scenarios have the id {id}")
        _all[id] = Scenario(
            id, title, promise, expected, sources, absent or {}, differences, observe
        )
        return observe

    return enter


def catalogue(modules: tuple[str, ...] = MODULES) -> dict[str, Scenario]:
    """All scenarios by id, in the order of the modules and of their lines."""
    for name in modules:
        importlib.import_module(f"{__package__}.{name}")
    return _all
