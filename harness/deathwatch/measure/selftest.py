"""The known truth on which instruments are checked, run in a process of its own."""

from __future__ import annotations

import mmap
import os
import threading

from .processes import Json, serve

MAPS = 100
"""Maps of one file that the self-test makes, by two threads."""

ANONYMOUS = 7
"""Anonymous maps among them, which no instrument may count."""


def map_known(path: str, maps: int) -> None:
    """Open, map, close and unmap `path`, `maps` times."""
    for _ in range(maps):
        fd = os.open(path, os.O_RDONLY)
        try:
            mapping = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)
        mapping.close()


def known_truth(path: str) -> None:
    """`MAPS` maps of `path`, half of them by another thread, among `ANONYMOUS` others."""
    other = threading.Thread(target=map_known, args=(path, MAPS // 2))
    other.start()
    for _ in range(ANONYMOUS):
        mmap.mmap(-1, 4096).close()
    map_known(path, MAPS - MAPS // 2)
    other.join()


def _maps(job: Json) -> Json:
    from .syscalls import span

    with span("self-test"):
        known_truth(job["path"])
    return {}


if __name__ == "__main__":
    serve({"maps": _maps})
