"""The library that is judged, from a given folder, in a process of its own."""

from __future__ import annotations

import sys
from typing import Any


def load(folder: str) -> Any:
    """Import the library from `folder`, before anything else of that name can be.

    Only for measuring processes: what was imported stays. Raises `ImportError` where another copy
    would be judged than the one asked for.
    """
    from deathwatch.bench.contenders import library

    sys.path.insert(0, folder)
    lib = library()
    if not str(lib.__file__).startswith(folder):
        raise ImportError("another copy of the library was imported than the one to judge")
    return lib
