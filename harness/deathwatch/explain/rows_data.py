"""Edges of containers, instances, classes and modules."""

from __future__ import annotations

import types
from collections import deque
from itertools import islice
from typing import Any

from .names import class_dict, instance_dict, is_a, key_mark, key_text, module_dict, mro, plain
from .steps import Path, Step, attribute, name_in, position, through_namespace, words


def of_dict(path: Path, at: int) -> Step | None:
    owner, child = path[at], path[at + 1]
    index = position(dict.values(owner), child)
    if index is not None:
        key = next(islice(dict.keys(owner), index, None))
        return Step("dict value", f"[{key_text(key)}]", f"[{key_mark(key)}]", 1)
    if position(dict.keys(owner), child) is not None:
        return words("dict key", "a key of the dict", 1, "key")
    return None


def of_sequence(path: Path, at: int) -> Step | None:
    owner, child = path[at], path[at + 1]
    kind: Any = next(kind for kind in (list, tuple, deque) if is_a(owner, kind))
    index = position(kind.__iter__(owner), child)
    if index is None:
        return None
    fields = class_dict(type(owner)).get("_fields")
    if kind is tuple and type(fields) is tuple and index < len(fields):
        return attribute(plain(fields[index]), 1)
    return Step(f"{kind.__name__} index", f"[{index}]", "[]", 1)


def of_set(path: Path, at: int) -> Step | None:
    found = position((set if is_a(path[at], set) else frozenset).__iter__(path[at]), path[at + 1])
    return None if found is None else words("set member", "a member of the set", 1, "member")


def of_module(path: Path, at: int) -> Step | None:
    return through_namespace(module_dict(path[at]), path, at)


def of_namespace(path: Path, at: int) -> Step | None:
    """`types.SimpleNamespace` keeps its `__dict__` out of the way of `instance_dict`."""
    return through_namespace(vars(path[at]), path, at)


def of_class(path: Path, at: int) -> Step | None:
    owner, child = path[at], path[at + 1]
    if type(child) is dict and at + 2 < len(path):
        name = name_in(class_dict(owner), path[at + 2])
        if name is not None:
            return Step("class attribute", f".{name}", f".{name}", 2)
    name = name_in(class_dict(owner), child)  # PyPy
    if name is not None:
        return Step("class attribute", f".{name}", f".{name}", 1)
    for name in ("__mro__", "__bases__"):
        bases = vars(type)[name].__get__(owner)
        if child is bases and at + 2 < len(path):
            if path[at + 2] is owner:  # a class is the first in its own order
                return Step("own class", f".{name}[0]", f".{name}[0]", 2)
            return Step("base class", ".__base__", ".__base__", 2)
    if child is vars(type)["__base__"].__get__(owner):
        return Step("base class", ".__base__", ".__base__", 1)
    return None


def of_slots(path: Path, at: int) -> Step | None:
    """Members: `__slots__`, and fields of C types that have one."""
    owner, child = path[at], path[at + 1]
    for cls in mro(type(owner)):
        for name, member in list(class_dict(cls).items()):
            if type(member) is types.MemberDescriptorType and name != "__dict__":
                try:
                    value = member.__get__(owner)
                except (AttributeError, TypeError):
                    continue  # unset
                if value is child:
                    return Step("slot", f".{name}", f".{plain(name)}", 1)
    return None


def of_instance(path: Path, at: int) -> Step | None:
    """Attributes in slots and in `__dict__`, which may lie inside the object; last, the class."""
    owner, child = path[at], path[at + 1]
    step = of_slots(path, at) if not is_a(owner, type) else None
    if step is not None:
        return step
    if type(owner) is child:
        return Step("class", ".__class__", ".__class__", 1)
    namespace = instance_dict(owner)
    step = through_namespace(namespace, path, at)
    if step is not None:
        return step
    inline = name_in(namespace, child)
    return None if inline is None else attribute(inline, 1)
