"""What is this called? Names of objects, classes, keys and places, without running their code.

Attributes are read through the descriptors of `type` and of other exact built-in types, so that
no `__getattribute__`, `__repr__`, `__eq__`, `__hash__` or property of a user's class runs.
"""

from __future__ import annotations

import os
import re
import types
from collections import deque
from collections.abc import Callable, Mapping
from enum import EnumType
from typing import Any, TypeGuard, TypeVar

T = TypeVar("T")
_MRO: Any = type.__dict__["__mro__"]
_CLASS_DICT: Any = type.__dict__["__dict__"]
_QUALNAME: Any = type.__dict__["__qualname__"]
_FLAGS: Any = type.__dict__["__flags__"]
_MODULE_DICT: Any = vars(types.ModuleType)["__dict__"]
_DICT_GETTERS = (types.GetSetDescriptorType, types.MemberDescriptorType)
_SIZED = (dict, list, set, frozenset, tuple, deque)
KEY_WIDTH = 40
MOST_WRAPPERS = 20
_WORD = re.compile(r"[^\W\d]+")


def is_a(obj: object, cls: type[T]) -> TypeGuard[T]:
    """Tell whether `obj` is an instance, by its real type: `__class__` is not asked."""
    return type.__subclasscheck__(cls, type(obj))


def is_exactly(obj: object, *kinds: type) -> bool:
    """Tell whether the type of an object is one of these: no metaclass's `__eq__` is asked."""
    return any(type(obj) is kind for kind in kinds)


def mro(cls: type) -> tuple[type, ...]:
    found: tuple[type, ...] | None = _MRO.__get__(cls)
    return found or (cls,)


def class_dict(cls: type) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _CLASS_DICT.__get__(cls)
    return found


def module_dict(module: types.ModuleType) -> dict[str, Any]:
    found: dict[str, Any] = _MODULE_DICT.__get__(module)
    return found


def plain(value: object, default: str = "?") -> str:
    """Return a string as an exact `str` of printable characters, and `default` for the rest."""
    if not is_a(value, str):
        return default
    text = str.__str__(value)
    return text if text.isprintable() else repr(text)[1:-1]


def instance_dict(obj: object) -> dict[str, Any] | None:
    """Return the `__dict__` of an instance, by its own descriptor, or None if it has none."""
    for cls in mro(type(obj)):
        getter: Any = class_dict(cls).get("__dict__")
        if is_exactly(getter, *_DICT_GETTERS) and cls is not type:
            try:
                found = getter.__get__(obj)
            except Exception:  # a proxy in C asks what it stands for
                return None
            return found if type(found) is dict else None
    return None


def class_name(cls: type) -> str:
    return plain(_QUALNAME.__get__(cls))


def class_text(cls: type) -> str:
    """Return `module.qualname`, without `builtins.`."""
    module = plain(class_dict(cls).get("__module__"), "")
    is_static = not _FLAGS.__get__(cls) & (1 << 9)
    if not module and is_static:  # it keeps its module in tp_name
        module = plain(type.__dict__["__module__"].__get__(cls), "")
    name = class_name(cls)
    return name if module in ("", "builtins") else f"{module}.{name}"


def clip(text: str, width: int = KEY_WIDTH) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _enum_member(key: object) -> str | None:
    cls = type(key)
    if not is_a(cls, EnumType):
        return None
    name = (instance_dict(key) or {}).get("_name_")
    return f"{class_name(cls)}.{plain(name)}"


def key_text(key: Any) -> str:
    """Return a key as a person writes it; one that isn't built of built-in atoms by its type."""
    cls = type(key)
    if cls is str or cls is bytes:
        return clip(repr(key[: KEY_WIDTH + 1]))
    if cls is int:
        return str(key) if -(10**20) < key < 10**20 else "int"
    if is_exactly(key, bool, float, complex, type(None)):
        return repr(key)
    if cls is tuple and len(key) <= 4:
        items = [key_text(item) for item in key]
        return clip(f"({', '.join(items)}{',' if len(items) == 1 else ''})")
    if cls is type or is_a(key, type):
        return class_text(key)
    if is_exactly(key, types.FunctionType, types.MethodType, types.BuiltinFunctionType):
        return f"<{callable_text(key)}>"
    return _enum_member(key) or f"<{class_text(cls)}{_own_name(key)}>"


def _own_name(obj: object) -> str:
    """Return the name that an object keeps in an attribute or a slot of its own, if it does."""
    for name in ("name", "_name"):
        found = (instance_dict(obj) or {}).get(name)
        for cls in mro(type(obj)):
            member: Any = class_dict(cls).get(name)
            if type(member) is types.MemberDescriptorType:
                try:
                    found = member.__get__(obj)
                except AttributeError:
                    continue
        if type(found) is str:
            return f" {clip(found)!r}"
    return ""


def key_mark(key: Any) -> str:
    """Return what of a key lasts from one process to the next: short words, or its type.

    `'handlers'` counts as itself; `'user:42'`, 42 and `(1, 2)` as `str`, `int` and `tuple`.
    """
    if type(key) is str and len(key) <= 24 and _WORD.fullmatch(key):
        return repr(key)
    if is_a(key, type):
        return class_text(key)
    return _enum_member(key) or class_text(type(key))


def place(code: types.CodeType, line: int | None) -> str:
    """Return `file.py:12`: below the working directory, or the last two parts of its path."""
    path = plain(code.co_filename)
    try:
        here = os.getcwd() + os.sep
    except OSError:
        here = os.sep
    last_parts = os.sep.join(path.split(os.sep)[-2:])
    shown = path[len(here) :] if path.startswith(here) else last_parts
    return f"{shown}:{line if line is not None else code.co_firstlineno}"


def call_text(code: types.CodeType) -> str:
    return plain(code.co_qualname).replace(".<locals>", "") + "()"


def function_text(function: types.FunctionType) -> str:
    return plain(function.__qualname__).replace(".<locals>", "") + "()"


def callable_text(obj: object) -> str:
    """Return a short name for something that is called: `on_click()`, `Session.close()`."""
    called = _unwrapped(obj)
    if type(called) is types.FunctionType:
        return function_text(called)
    if is_a(called, type):
        return class_text(called) + "()"
    if type(called) is types.BuiltinFunctionType:
        return plain(called.__qualname__) + "()"
    return class_text(type(called))


def _unwrapped(obj: Any) -> object:
    """Follow methods and `__wrapped__` to what is called in the end; a circle ends somewhere."""
    for _ in range(MOST_WRAPPERS):
        if is_exactly(obj, types.FunctionType, types.BuiltinFunctionType) or is_a(obj, type):
            break
        own = instance_dict(obj) or {}
        wrapped = obj.__func__ if type(obj) is types.MethodType else own.get("__wrapped__")
        if wrapped is None:
            break
        obj = wrapped
    return obj


def module_of(obj: Any) -> str:
    """Return the module of a function or method, or else of an object's class."""
    if type(obj) is types.MethodType:
        return module_of(obj.__func__)
    if is_exactly(obj, types.FunctionType, types.BuiltinFunctionType):
        return plain(obj.__module__, "")
    return plain(class_dict(obj if is_a(obj, type) else type(obj)).get("__module__"), "")


def _function(obj: types.FunctionType) -> str:
    code = obj.__code__
    where = f" at {place(code, None)}" if type(code) is types.CodeType else ""  # PyPy's built-ins
    return f"function {function_text(obj)}{where}"


def _exception(obj: BaseException) -> str:
    args = vars(BaseException)["args"].__get__(obj)
    first = args[0] if args else None
    return class_text(type(obj)) + (f"({clip(repr(first))})" if type(first) is str else "")


def _suspended(word: str, frame: str, code: str) -> Callable[[Any], str]:
    def text(obj: Any) -> str:
        at = getattr(obj, frame)
        body = getattr(obj, code)
        return f"{word} {call_text(body)} at {place(body, at.f_lineno if at else None)}"

    return text


def _bound(obj: Any) -> str:
    if type(obj) is types.MethodType:
        return f"bound method {callable_text(obj)}"
    return f"built-in {callable_text(obj)}"


# What an object is called where a path leads to it: one row for each type that has more to say
# than its name.
_TEXTS: dict[int, Callable[[Any], str]] = {
    id(types.ModuleType): lambda obj: f"module {plain(module_dict(obj).get('__name__'))}",
    id(types.FunctionType): _function,
    id(types.MethodType): _bound,
    id(types.BuiltinFunctionType): _bound,
    id(types.GeneratorType): _suspended("generator", "gi_frame", "gi_code"),
    id(types.CoroutineType): _suspended("coroutine", "cr_frame", "cr_code"),
    id(types.AsyncGeneratorType): _suspended("async generator", "ag_frame", "ag_code"),
    id(types.FrameType): lambda obj: (
        f"frame of {call_text(obj.f_code)} at {place(obj.f_code, obj.f_lineno)}"
    ),
    id(types.TracebackType): lambda obj: (
        f"traceback at {place(obj.tb_frame.f_code, obj.tb_lineno)}"
    ),
    id(BaseException): _exception,
    id(type): lambda obj: f"class {class_text(obj)}",
}


def describe(obj: Any) -> str:
    """Return what an object is, in a few words: `function on_click() at app.py:33`, `dict of 3`."""
    for cls in mro(type(obj)):
        text = _TEXTS.get(id(cls))
        if text is not None:
            return text(obj)
        if type(obj) is cls and any(cls is sized for sized in _SIZED):
            size: Any = obj
            return f"{class_text(cls)} of {len(size)}"
    return class_text(type(obj))


_NAMED = (
    types.ModuleType,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
)


def kind_text(obj: object) -> str:
    """Return what of a description holds in every process: a name in the source, or the type's."""
    if is_exactly(obj, *_NAMED) or is_a(obj, type):
        return describe(obj).partition(" at ")[0]
    return class_text(type(obj))
