"""What does an object refer to, as the collector sees it? Asked where asking does no harm."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from itertools import repeat
from operator import is_
from typing import Any

# In CPython 3.12.0 to 3.12.5, the module `_asyncio` shows the iterators that it has freed:
# `gc.get_referents` brings them back, they are freed again, and a later collection never ends
# (https://github.com/python/cpython/issues/122695).
_SHOWS_WHAT_IS_FREE = sys.implementation.name == "cpython" and (
    (3, 12) <= sys.version_info < (3, 12, 6)
)


def _referents_but_of_asyncio(*objs: object) -> list[Any]:
    module = sys.modules.get("_asyncio")
    if any(map(is_, objs, repeat(module))):
        objs = tuple(obj for obj in objs if obj is not module)
    return gc.get_referents(*objs)


referents: Callable[..., list[Any]] = (
    _referents_but_of_asyncio if _SHOWS_WHAT_IS_FREE else gc.get_referents
)
"""`gc.get_referents`, but for objects that would break the interpreter: these have none."""
