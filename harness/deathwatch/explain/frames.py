"""What does a frame hold? Its locals by name, and what lies on its stack, leaving no trace.

Up to Python 3.12, reading `frame.f_locals` of a function stores a snapshot in the frame that
keeps every local alive until the function ends: an object explained that way would not die when
it should. So the frames of this thread are read in place, by the layout of the interpreter's
frame on each version, which is checked against the frame before it is believed. Others are read
by `PyFrame_GetVar` (3.12), or through a snapshot that is emptied at once (3.11, PyPy).
"""

from __future__ import annotations

import gc
import struct
import sys
import types
from collections.abc import Iterator
from itertools import compress, repeat
from operator import is_
from typing import Any, NamedTuple

from .names import plain

ctypes: Any
try:
    import ctypes
except ImportError:  # a build without libffi
    ctypes = None

# co_flags: a function's locals are in slots (a class or module body has a real dict); a
# generator's, coroutine's or asynchronous generator's frame is a part of that object.
OPTIMIZED = 0x01
_GENERATORS = 0x20 | 0x80 | 0x200
_WORD = struct.calcsize("P")
_CPYTHON = sys.implementation.name == "cpython"
FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()


class Local(NamedTuple):
    """A variable or, without a name, a temporary of a frame; a cell stands for its variable."""

    name: str | None
    value: object
    counted: bool  # whether the slot owns a reference: since 3.14 it may borrow one


class _Layout(NamedTuple):
    """Words from the start of `_PyInterpreterFrame` (pycore_frame.h of each version)."""

    code: int
    frame_object: int
    top: int
    localsplus: int
    tagged: bool  # slots are `_PyStackRef`: bit 0 marks a reference that isn't counted


_LAYOUTS = {
    (3, 11): _Layout(4, 5, 8, 9, False),
    (3, 12): _Layout(0, 6, 8, 9, False),
    (3, 13): _Layout(0, 6, 8, 9, False),
    (3, 14): _Layout(0, 6, 8, 10, True),
    (3, 15): _Layout(0, 6, 8, 10, True),
}
_layout = (
    _LAYOUTS.get(sys.version_info[:2])
    if ctypes is not None and _CPYTHON and not FREE_THREADED and _WORD == 8
    else None
)
_F_FRAME = 3 * _WORD  # PyFrameObject: two words of header, f_back, f_frame


def _word(address: int) -> int:
    return int(ctypes.c_size_t.from_address(address).value)


def _names(code: types.CodeType) -> list[str]:
    """Return the names of the slots: arguments and locals, further cells, free variables."""
    cells = [name for name in code.co_cellvars if name not in code.co_varnames]
    return [*code.co_varnames, *cells, *code.co_freevars]


def _address(frame: types.FrameType) -> int | None:
    """Return where the interpreter keeps this frame, or None where that can't be made sure of."""
    if _layout is None:
        return None
    start = _word(id(frame) + _F_FRAME)
    code = _word(start + _layout.code * _WORD) & ~3
    if code != id(frame.f_code) or _word(start + _layout.frame_object * _WORD) != id(frame):
        return None
    return start


def _depth(start: int, slots: int) -> int:
    """Return how many slots are in use; of a frame that runs C code, up to 3.13: its variables."""
    assert _layout is not None
    if _layout.tagged:
        end = _word(start + _layout.top * _WORD)
        return (end - start) // _WORD - _layout.localsplus if end else slots
    top: int = ctypes.c_int.from_address(start + _layout.top * _WORD).value
    return max(top, slots)


def in_place(frame: types.FrameType) -> Iterator[Local] | None:
    """Read a frame that can't run meanwhile: this thread's, a suspended or a finished one.

    None where the layout isn't known.
    """
    start = _address(frame)
    return None if start is None else _slots(frame, start)


def _slots(frame: types.FrameType, start: int) -> Iterator[Local]:
    assert _layout is not None
    names = _names(frame.f_code)
    first = start + _layout.localsplus * _WORD
    for index in range(_depth(start, len(names))):
        bits = _word(first + index * _WORD)
        if _layout.tagged and bits & 2:
            continue  # a tagged integer
        if not bits & ~3:
            continue
        value = ctypes.cast(bits & ~3, ctypes.py_object).value
        name = names[index] if index < len(names) else None
        yield Local(name, value, not bits & 1)


def addresses_on_stack(frame: types.FrameType) -> set[int]:
    """Return what may lie on the stack of a frame of this thread that runs C code, up to 3.13.

    There the interpreter doesn't keep how deep the stack is: some of these are of former values,
    so that an address means something only of an object that something unknown holds.
    """
    start = _address(frame)
    if start is None or _layout is None or _layout.tagged:
        return set()
    if ctypes.c_int.from_address(start + _layout.top * _WORD).value >= 0:
        return set()
    first = start + (_layout.localsplus + len(_names(frame.f_code))) * _WORD
    return {_word(first + index * _WORD) for index in range(frame.f_code.co_stacksize)}


def generator_of(frame: types.FrameType) -> object | None:
    """Return the generator, coroutine or asynchronous generator that a frame runs for."""
    if not frame.f_code.co_flags & _GENERATORS:
        return None
    if sys.version_info >= (3, 14):
        found: object = getattr(frame, "f_generator", None)
        return found
    start = _address(frame)
    return _among_all(frame) if start is None else _around(start, frame)


def _among_all(frame: types.FrameType) -> object | None:
    objs = gc.get_objects()
    for cls, kind in _KINDS.values():
        for found in compress(objs, map(is_, map(type, objs), repeat(cls))):
            if getattr(found, kind) is frame:
                return found  # type: ignore[no-any-return]
    return None


def _around(start: int, frame: types.FrameType) -> object | None:
    """Look for the object that a frame lies in: 6 to 12 words before, known by its type."""
    for words in range(6, 13):
        _, kind = _KINDS.get(_word(start - (words - 1) * _WORD), (None, ""))
        if kind:
            found: object = ctypes.cast(start - words * _WORD, ctypes.py_object).value
            if getattr(found, kind) is frame:
                return found
    return None


_KINDS = {
    id(types.GeneratorType): (types.GeneratorType, "gi_frame"),
    id(types.CoroutineType): (types.CoroutineType, "cr_frame"),
    id(types.AsyncGeneratorType): (types.AsyncGeneratorType, "ag_frame"),
}


def _by_call(frame: types.FrameType) -> Iterator[Local]:
    """Read by the public function of 3.12: a cell's contents come instead of the cell."""
    get: Any = ctypes.pythonapi.PyFrame_GetVar
    get.restype, get.argtypes = ctypes.py_object, (ctypes.py_object, ctypes.py_object)
    for name in _names(frame.f_code):
        try:
            yield Local(name, get(frame, name), True)
        except NameError:
            continue


def _by_snapshot(frame: types.FrameType) -> list[Local]:
    """Read `f_locals`, and empty the snapshot that this leaves, unless it is someone else's."""
    snapshot: Any = frame.f_locals
    found = [Local(name, value, True) for name, value in list(snapshot.items())]
    foreign = snapshot.keys() - set(_names(frame.f_code))
    if frame.f_trace is None and not foreign and type(snapshot) is dict:
        snapshot.clear()
    return found


def variables(frame: types.FrameType, *, still: bool) -> list[Local]:
    """Return what a frame holds. `still`: it is this thread's, suspended or finished.

    Other threads' frames are read by name only: their temporaries stay unknown.
    """
    if not frame.f_code.co_flags & OPTIMIZED:
        return []  # a module's or class's body: its namespace is reached otherwise
    slots = in_place(frame) if still else None
    if slots is not None:
        return list(slots)
    if sys.version_info >= (3, 13) and _CPYTHON:
        return [Local(plain(name), value, True) for name, value in frame.f_locals.items()]
    if sys.version_info >= (3, 12) and _CPYTHON and ctypes is not None:
        return list(_by_call(frame))
    return _by_snapshot(frame)
