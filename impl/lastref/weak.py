"""Weak pointers with an identity: Go's `weak.Make` and `weak.Pointer`.

A native weak reference compares by its referent while that lives and by identity afterwards: two
equal ones become unequal by dying, and its hash is lost if it was not taken in time. A `Pointer`
has one identity per object, before and after the object's death.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Never, NoReturn, TypeVar, final, overload
from weakref import ref

__all__ = ["Pointer", "make"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@final
class Pointer(Generic[T_co]):
    """Points to an object without keeping it alive (semantics W1). Made by `make`.

    `.value()` is the object, or None once it is dead (W2). Two pointers are equal if, and only
    if, they were made from the same object, while it lives and after its death, whatever its own
    `__eq__` and `__hash__` do; none equals a pointer to a later object at the same address (W3).
    Hashable, immutable, safe between threads. `Pointer()` is the null pointer, as `make(None)`:
    its value is None, and it equals only itself (W8).

    Not guaranteed:

    - That the value ever becomes None: the object may be kept alive, or be immortal (W2, W9).
    - Interior pointers: there are none in Python (W4).
    - That a finalizer sees it dead (W5). Where an object dies by its reference count, its
      `__del__` still gets the object from the pointer. Where the collector frees it, the pointer
      is None by then on CPython up to 3.14 and on PyPy; CPython 3.15 clears it only after the
      finalizers (gh-136189). A second reference, with a callback, is cleared before them there too,
      but the one without stays the identity of what a finalizer resurrects: of two equal pointers
      the older would be None and the newer not. It would also double a pointer's memory.
    - That a pointer made after a resurrection differs from an older one (W6): it does exactly
      where `__del__` saw None, see above. Elsewhere the object never counted as dead, and the
      pointers are equal.
    - That a cleanup of the object finds it None on CPython 3.15 and later, if the collector has
      finalizers to run, by which it may be resurrected. Else it does, always (W7).
    - That a table keyed by pointers weakens its values: a value that reaches the object of its
      key keeps it alive, as in `weakref.WeakKeyDictionary` (W11).

    A pointer never resurrects the dead (W10): it asks the interpreter's own weak reference, not
    an address. `copy` and `deepcopy` return the pointer itself; pickling raises `TypeError`, as
    an identity means nothing in another process.

    >>> class Node: pass
    >>> node = Node()
    >>> pointer = make(node)
    >>> pointer.value() is node, pointer == make(node)
    (True, True)
    """

    # The reference is called, not wrapped: `.value` is the native weak reference itself, so that
    # a look costs what the reference costs, not a Python frame on top.
    __slots__ = {"__weakref__": None, "value": "Return the object, or None once it is dead."}

    value: Callable[[], T_co | None]

    def __new__(cls) -> Pointer[Never]:
        return _null

    def __eq__(self, other: object) -> bool:
        if type(other) is not Pointer:
            return NotImplemented
        return self.value is other.value

    def __hash__(self) -> int:
        return id(self.value) >> 4  # objects are 16 bytes apart

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a weak.Pointer is immutable: can't set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a weak.Pointer is immutable: can't delete {name!r}")

    def __copy__(self) -> Pointer[T_co]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Pointer[T_co]:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "can't pickle a weak.Pointer: its identity means nothing in another process;"
            " pickle the object, and make a pointer there"
        )

    def __repr__(self) -> str:
        if self is _null:
            return "<weak.Pointer: null>"
        obj = self.value()
        if obj is None:
            return f"<weak.Pointer at {id(self.value):#x}: dead>"
        return f"<weak.Pointer at {id(self.value):#x}: to a {type(obj).__qualname__}>"


# Past Pointer.__setattr__, which refuses.
_point: Callable[[Pointer[Any], Callable[[], Any]], None] = vars(Pointer)["value"].__set__

_null: Pointer[Never] = object.__new__(Pointer)
_point(_null, type(None))  # calling NoneType returns None


@overload
def make(obj: None) -> Pointer[Never]: ...
@overload
def make(obj: T | None) -> Pointer[T]: ...
def make(obj: T | None) -> Pointer[T]:
    """Return the pointer to `obj`: equal pointers for the same object, as long as it lives.

    Keeps nothing alive but a weak reference. `make(None)` is the null pointer (semantics W8).
    Pointers to what never dies, such as a builtin class, stay valid for ever (W9).

    Raises `TypeError` where Python keeps no weak references (C13): int, str, tuple, list, dict,
    `object()`, instances of classes whose `__slots__` lack `__weakref__`, and others. The
    message names the type and the remedy.

    >>> class Node: pass
    >>> node = Node()
    >>> make(node) == make(node), make(node) == make(Node())
    (True, False)
    >>> make(None).value() is None
    True
    """
    if obj is None:
        return _null
    try:
        # Without a callback: the interpreter then hands out one and the same reference for as
        # long as somebody holds it, and the identity of that reference is the pointer's.
        wr = ref(obj)
    except TypeError:
        raise TypeError(f"no weak.Pointer to {_without_weak_references(type(obj))}") from None
    pointer: Pointer[T] = object.__new__(Pointer)
    _point(pointer, wr)
    return pointer


def _without_weak_references(cls: type) -> str:
    """Say of which type there are no weak references, and what to do about it (C13)."""
    slotted = [c for c in cls.__mro__ if "__slots__" in vars(c) and c.__module__ != "builtins"]
    if slotted and not any(issubclass(cls, base) for base in (tuple, int, bytes)):
        remedy = f"add '__weakref__' to the __slots__ of {slotted[0].__qualname__}"
    else:
        remedy = "use an instance of a class that wraps it"
    return f"an instance of {cls.__qualname__}: Python keeps no weak references to those; {remedy}"
