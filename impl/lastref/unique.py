"""One handle for all equal values: Go's `unique.Make` and `unique.Handle`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, Generic, Never, TypeVar, final, overload
from weakref import ref

from lastref._evictions import evictions, remove_if_dead
from lastref.cleanup import add_cleanup

__all__ = ["Handle", "make"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T", bound=Hashable)
T_co = TypeVar("T_co", covariant=True)


@final
class Handle(Generic[T_co]):
    """Stands for a value: equal values of one type have one handle. Made by `make`.

    Compared and hashed by identity, at the price of a pointer, whatever the value's size
    (semantics U1). Holds its value; nothing else of ours does. `Handle()` is the zero handle:
    equal to itself alone, and its `.value()` raises `ValueError` (U8).

    `copy` and `deepcopy` return the handle itself. A pickle holds the value, and is made into the
    handle of the process that loads it. Handles can be weakly referenced.

    >>> handle = make("spam")
    >>> handle is make("".join(["sp", "am"])), handle.value()
    (True, 'spam')
    """

    __slots__ = ("__weakref__", "_bucket", "_key", "_value")

    _value: T_co
    # Not for strings:
    _bucket: _Bucket  # which holds the handle weakly
    _key: Any

    def __new__(cls) -> Handle[Never]:
        return _zero

    def value(self) -> T_co:
        """Return the value that the handle was made of: the first of the equal ones (U3, U9).

        Raises `ValueError` for the zero handle `Handle()`.
        """
        try:
            return self._value
        except AttributeError:
            raise ValueError("the zero unique.Handle has no value; use unique.make()") from None

    def __copy__(self) -> Handle[T_co]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Handle[T_co]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (Handle, ()) if self is _zero else (make, (self._value,))

    def __repr__(self) -> str:
        return "<unique.Handle: zero>" if self is _zero else f"<unique.Handle of {self._value!r}>"


_zero: Handle[Never] = object.__new__(Handle)


class _Bucket(list["ref[Handle[Any]]"]):
    """Handles of values with one hash, in the order of their entry. Held by its handles alone."""

    __slots__ = ("__weakref__",)


# Strings are filed under themselves, so that a hit is a look into a dict: they refer to nothing, so
# a table may hold them. All else is filed under its hash, and held by its handle alone.
_strings: dict[str, ref[Handle[str]]] = {}
_buckets: dict[int, ref[_Bucket]] = {}


@overload
def make(value: str) -> Handle[str]: ...
@overload
def make(value: bytes) -> Handle[bytes]: ...
@overload
def make(value: T) -> Handle[T]: ...
def make(value: Any) -> Handle[Any]:
    """Return the handle of `value`: the same one for all equal values of the same type.

    Values must be deeply immutable and hashable (semantics U3), and their `__hash__` and
    `__eq__`, which are asked in the calling thread with no lock held, must not change their mind.

    - 1, 1.0 and True have three handles, and so have (1,), (1.0,) and (True,): types are told
      apart at the top, and inside of tuples and frozensets at any depth, subclasses that inherit
      their `__eq__` (named tuples) included (U2). That is the line: inside of other objects, a
      dataclass for one, only the object's own `__eq__` is asked, and there 1 == 1.0.
    - A str or bytes of a subclass becomes the exact type (U4), an enumeration's member too. Inside
      of a tuple it is left as it is, and told apart from the exact type. Python's strings hold
      none of the memory that they were sliced from; a memoryview does, so make `bytes` of it.
    - A value unequal to itself, as a NaN, has a new handle each time, at any depth of tuples and
      frozensets; 0.0 and -0.0 share one, and the first representation stays (U9).

    A handle and its value are reclaimed with the last reference to the handle (U5), cycles and
    values that reach their own handle included; chains of nested handles too, however long (U6).
    The entry in the table goes a little later, in a thread of ours, and never takes a fresh handle
    with it (U7). For a str, that is also when the table lets go of the string.

    Not guaranteed: that a handle which a finalizer resurrects is still the one that `make`
    returns. Where the collector had found it dead, it isn't (compare W6).

    Raises `TypeError` for an unhashable value, naming the type and the remedy; `RecursionError`
    for tuples nested deeper than the interpreter recurses, which chains of handles are not; and
    whatever the value's own methods raise.

    >>> make((1, "a")) is make((1, "a")), make(1) is make(True), make((1,)) is make((1.0,))
    (True, False, False)
    """
    if type(value) is str:
        try:
            handle = _strings[value]()
        except KeyError:
            handle = None
        if handle is not None:
            return handle
        return _adopt(_strings, value, _new(value), _forget_string)
    cls = type(value)
    if issubclass(cls, str):
        return make("".join((value,)))  # str(value) would call what the subclass overrides
    if issubclass(cls, bytes) and cls is not bytes:
        return make(b"".join((value,)))
    key = _key(value)
    try:
        digest = hash(key)
    except TypeError as error:
        raise TypeError(
            f"no unique.Handle of an instance of {cls.__qualname__} ({error}); use a deeply"
            " immutable value: a tuple for a list, a frozenset for a set, bytes for a bytearray"
        ) from error
    wr = _buckets.get(digest)
    bucket = None if wr is None else wr()
    if bucket is None:
        bucket = _adopt(_buckets, digest, _Bucket(), _forget_bucket)
    handle = _first(bucket, key)
    return _enter(bucket, key, value) if handle is None else handle


def _new(value: Any) -> Handle[Any]:
    handle: Handle[Any] = object.__new__(Handle)
    handle._value = value
    return handle


def _key(value: Any) -> Any:
    """Return what is equal for equal values of the same types, and never equal to another's."""
    cls = type(value)
    if cls is str:
        return value
    equality: object = cls.__eq__
    if equality is tuple.__eq__:
        return cls, tuple([_key(item) for item in tuple.__iter__(value)])
    if equality is frozenset.__eq__:
        return cls, frozenset([_key(item) for item in frozenset.__iter__(value)])
    # Dicts take identical objects for equal: what is unequal to itself must not meet itself.
    return cls, value if value == value else object()


def _enter(bucket: _Bucket, key: Any, value: Any) -> Handle[Any]:
    """Enter a handle, and return the first of those with this key, which may be another's.

    A bucket grows at its end only and the dead don't come back, so of two threads that enter equal
    values the later one sees the earlier, whatever values' `__eq__` does meanwhile. (With
    `dict.setdefault` neither may see the other, if `__eq__` is Python code.)
    """
    handle = _new(value)
    handle._key = key
    handle._bucket = bucket
    bucket.append(ref(handle))
    return _first(bucket, key) or handle


def _first(bucket: _Bucket, key: Any) -> Handle[Any] | None:
    for wr in bucket.copy():
        handle = wr()
        if handle is None:
            with suppress(ValueError):  # removed by another thread
                bucket.remove(wr)
        elif handle._key is key or handle._key == key:
            return handle
    return None


def _adopt(table: dict[K, ref[V]], key: K, value: V, forget: Callable[[K], None]) -> V:
    """Return the living value filed under `key`; file `value` if there is none.

    Only for keys that C alone compares (str, int).
    """
    # Registered before it is filed: a Ctrl-C between leaves nothing that stays.
    add_cleanup(value, forget, key, queue=evictions)
    # The callback does nothing, but on CPython 3.15 references without one are cleared later than
    # the cleanup's (gh-136189), which would find the value alive if a finalizer resurrects it.
    wr = ref(value, id)
    while (found := table.setdefault(key, wr)()) is None:
        remove_if_dead(table, key)
    return found


def _forget_string(key: str) -> None:
    remove_if_dead(_strings, key)


def _forget_bucket(digest: int) -> None:
    remove_if_dead(_buckets, digest)
