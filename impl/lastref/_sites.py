"""Where was it registered? Kept only where somebody asked for it.

A function that holds nothing, called with an argument that holds nothing, can't keep an object
alive, and is not recorded. `__deathwatch_cleanups__` is how tools find registrations: it yields
`(obj, func, args, site)` for each pending one, and they find it in `sys.modules`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from lastref import _process
from lastref._books import Registration, is_due
from lastref._queue import referent

_HERE = os.path.dirname(__file__)
_FEWEST = 1024
"""Sites of this many registrations are kept before those that are over are looked for."""

recording = sys.flags.dev_mode
_sites: dict[Registration, str] = {}
_prune_at = _FEWEST


def record_sites(on: bool = True) -> None:
    """Keep from now on where each cleanup was registered, or, with False, forget and stop.

    For `deathwatch.check_cleanups()`. On from the start under `python -X dev`. Costs a look at
    the stack and a string for each registration that could hold its object; those whose function
    and argument hold nothing are not recorded, and cost nothing.

    >>> record_sites()
    >>> record_sites(False)
    """
    global recording
    recording = on
    if not on:
        _sites.clear()


def remember(item: Registration) -> None:
    """Keep the caller's file and line."""
    global _prune_at
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and os.path.dirname(frame.f_code.co_filename) == _HERE:
        frame = frame.f_back
    if frame is not None:
        _sites[item] = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    if len(_sites) > _prune_at:
        for known in list(_sites):
            if not is_due(known):
                _sites.pop(known, None)
        _prune_at = max(_FEWEST, 2 * len(_sites))


def __deathwatch_cleanups__() -> Iterator[
    tuple[object, Callable[[Any], object], tuple[Any, ...], str | None]
]:
    """Every cleanup whose object is alive."""
    for core in _process.cores():
        for item in core.books.live.copy():
            obj, func, arg = referent(item), item._func, item._arg
            if obj is not None and is_due(item):
                yield obj, func, (arg,), _sites.get(item)
