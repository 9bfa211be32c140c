"""Whose is this? Modules, and what can be imported from them, by whom they belong to."""

from __future__ import annotations

import os
import re
import sys
import types
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

from .names import class_dict, class_name, is_a, is_exactly, module_dict, plain
from .steps import name_in, position


class Rank(IntEnum):
    """How telling a path from such a root is; lower is better."""

    USER = 0  # a module of the user
    NAMED = 1  # what lives on its own: a thread, a context, a signal handler, …
    LIBRARY = 2  # a module of an installed package
    STDLIB = 3
    RUNNER = 4  # a module of a test runner, or of this package
    INTERPRETER = 5  # what the interpreter holds in C
    UNSEEN = 6  # something in C, but what?
    GARBAGE = 7  # a cycle that the collector has not come to
    LOCAL = 8  # a call in progress in this thread
    PASSING = 9  # the call that asks
    MACHINERY = 10  # a test runner's calls, and this package's


class Root(NamedTuple):
    """An object that lives by itself, and what a person calls it.

    `base` is what the next edge is written after: `app` before `.registry`; `mark` is the part
    of the text that holds in every process. `owner` comes before the object in the path (the
    module of a namespace). `slots` is how many references the root itself owns, where the
    collector sees none: a frame's slot, a list in C. It is None for a root that is seen.
    """

    rank: Rank
    value: object
    text: str
    base: str
    mark: str
    owner: object = None
    slots: int | None = None


_SITES = ("site-packages", "dist-packages")
_STDLIB = os.path.dirname(os.__file__) + os.sep
RUNNERS = (
    "deathwatch",
    "pytest_deathwatch",
    "pytest",
    "_pytest",
    "pluggy",
    "xdist",
    "execnet",
    "coverage",
    "pytest_cov",
)
"""Packages whose modules and calls are there for the test alone."""


def rank_of_module(name: str, namespace: dict[str, object]) -> Rank:
    """Rank a module by its name and file; one without a file is the user's."""
    top = name.partition(".")[0]
    file = namespace.get("__file__")
    if top in RUNNERS:
        return Rank.RUNNER
    if type(file) is not str:
        return Rank.STDLIB if top in sys.stdlib_module_names else Rank.USER
    if any(site in file.split(os.sep) for site in _SITES):
        return Rank.LIBRARY
    return Rank.STDLIB if file.startswith((_STDLIB, "<frozen")) else Rank.USER


def assigns(file: object, name: str) -> bool:
    """Tell whether the source of a module assigns to a name, at the beginning of a line."""
    if type(file) is not str or not file.endswith(".py"):
        return False
    try:
        with open(file, "rb") as source:
            text = source.read()
    except OSError:
        return False
    pattern = rb"^%s[ \t]*(:[^=\n]*)?=(?!=)" % re.escape(name.encode("utf-8", "replace"))
    return re.search(pattern, text, re.MULTILINE) is not None


class Modules:
    """A snapshot of `sys.modules`."""

    def __init__(self) -> None:
        self.named = {plain(name): module for name, module in list(dict.items(sys.modules))}
        self.rank = {
            name: rank_of_module(name, self.namespace(name)) if self.is_module(name) else Rank.USER
            for name in self.named
        }
        self._makers: dict[tuple[Rank, int], str | None] = {}

    def is_module(self, name: str) -> bool:
        return is_a(self.named[name], types.ModuleType)

    def namespace(self, name: str) -> dict[str, Any]:
        module = self.named.get(name)
        return module_dict(module) if is_a(module, types.ModuleType) else {}

    def barrier(self) -> Iterator[object]:
        """Yield what no path goes through: each module is a root of its own."""
        yield sys.modules
        for name, module in self.named.items():
            yield module
            if self.is_module(name):
                yield self.namespace(name)
        for root in self._hooks():
            yield root.value

    def _hooks(self) -> Iterator[Root]:
        """Yield a test runner's import hooks: every module that it loads leads to them."""
        for at, hook in enumerate(list(sys.meta_path)):
            module = plain(class_dict(type(hook)).get("__module__"), "")
            if module.partition(".")[0] in RUNNERS:
                name = f"sys.meta_path[{at}]"
                yield Root(Rank.RUNNER, hook, name, name, name)

    def roots(self, rank: Rank) -> Iterator[Root]:
        """Yield the modules of one rank: the last imported first, packages after modules.

        Of two modules that have the same object, the one imported last is likelier to have made
        it than a package, or a main program, that imports the name from it.
        """
        chosen = [name for name, whose in self.rank.items() if whose is rank]
        chosen.reverse()
        chosen.sort(key=lambda name: (self._is_alias(name), "__path__" in self.namespace(name)))
        for name in chosen:
            module = self.named[name]
            if self.is_module(name):
                yield Root(rank, self.namespace(name), name, name, name, owner=module)
            yield Root(rank, module, name, name, name, None, 1)  # the reference of sys.modules
        if rank is Rank.RUNNER:
            yield from self._hooks()

    def origin(self, root: Root, value: object) -> Root:
        """Return the root that is the module which made a value, of all that have it."""
        name = self.maker(root.rank, value) or root.text
        if name == root.text:
            return root
        return Root(root.rank, self.namespace(name), name, name, name, owner=self.named[name])

    def maker(self, rank: Rank, value: object) -> str | None:
        """Return the module of this rank that made a value, or None if at most one has it.

        Whatever was imported, and in which order: it is a module whose source assigns to the
        name, or else the first by name, and a package or a main program only if no other has it.
        """
        at = rank, id(value)
        if at not in self._makers:
            self._makers[at] = self._made_by(rank, value)
        return self._makers[at]

    def _made_by(self, rank: Rank, value: object) -> str | None:
        ranked = [name for name, whose in self.rank.items() if whose is rank]
        having = [n for n in ranked if position(self.namespace(n).values(), value) is not None]
        if len(having) < 2:
            return None
        return min(having, key=lambda name: (not self._assigns(name, value), self._order(name)))

    def _assigns(self, name: str, value: object) -> bool:
        namespace = self.namespace(name)
        return assigns(namespace.get("__file__"), name_in(namespace, value) or "")

    def _order(self, name: str) -> tuple[bool, bool, bool, str]:
        namespace = self.namespace(name)
        return self._is_alias(name), name == "__main__", "__path__" in namespace, name

    def _is_alias(self, name: str) -> bool:
        """`multiprocessing` enters the main program a second time, as `__mp_main__`."""
        return plain(self.namespace(name).get("__name__"), name) != name

    def home(self, obj: object) -> tuple[str, str] | None:
        """Return the module and the qualified name that a class or function is imported by."""
        if type(obj) is types.FunctionType:
            name, module = plain(obj.__qualname__), plain(obj.__module__, "")
        elif is_a(obj, type):
            name, module = class_name(obj), plain(class_dict(obj).get("__module__"), "")
        else:
            return None
        if "<" in name:
            return None
        found: Any = None
        scope: Any = self.namespace(module)
        for part in name.split("."):
            found = scope.get(part)
            scope = class_dict(found) if is_a(found, type) else {}
        if is_exactly(found, staticmethod, classmethod):
            found = found.__func__
        return (module, name) if found is obj else None

    def foreign(self, obj: object) -> bool:
        """Tell whether a class or function belongs to a module that isn't the user's."""
        home = self.home(obj)
        return home is not None and self.rank[home[0]] is not Rank.USER
