"""What files mapped by this process cost: mappings, descriptors, memory, page tables, faults.

Read from /proc on Linux and through psutil elsewhere; what a system does not tell is None, never
0. RSS counts a page once per mapping of it, and so overstates what de-duplication saves; USS
inverts it; PSS is right within a process, and falls when another process maps the same file.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from .checked import once
from .unavailable import Unavailable, require

_PROC = "/proc/self"  # elsewhere than on Linux it isn't there


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at this process. Bytes; None where the system does not say."""

    mappings: int | None
    descriptors: int | None
    rss: int | None
    pss: int | None
    uss: int | None
    page_tables: int | None
    minor_faults: int | None

    def to_dict(self) -> dict[str, int | None]:
        """For JSON."""
        return asdict(self)


def snapshot(files: Collection[str]) -> Snapshot:
    """Look at this process now. `files` (real paths) are those whose mappings are counted.

    Only shared mappings count, which is what `mmap.ACCESS_READ` makes: the loader's own, private
    mappings of a library that happens to be among the files do not. Costs some 200 us, and about
    1 us more per mapping of the process. The first call tests itself: it maps a file of its own, in
    the folder for temporary files. Raises `MissingExtra` where psutil is not installed, and
    `Unavailable` where the self-test fails.

    >>> from deathwatch.measure import snapshot
    >>> seen = snapshot([])
    >>> seen.rss > 0, seen.to_dict()["rss"] == seen.rss
    (True, True)
    """
    once(check)
    process = require("psutil").Process()
    full = _full(process)
    return Snapshot(
        mappings=live_mappings(files),
        descriptors=process.num_fds() if hasattr(process, "num_fds") else None,
        rss=getattr(full, "rss", None),
        pss=getattr(full, "pss", None),
        uss=getattr(full, "uss", None),
        page_tables=_page_tables(),
        minor_faults=_minor_faults(),
    )


def check() -> dict[str, int]:
    """Map a file of known size ten times, touch it, and see just that; raise `Unavailable` else.

    On Linux that is ten mappings more, and RSS that grew by all ten while PSS grew by less;
    elsewhere, that the process has any memory.
    """
    pages, times = 64, 10
    with tempfile.NamedTemporaryFile(prefix="deathwatch-") as file:
        file.write(b"x" * pages * mmap.PAGESIZE)
        file.flush()
        path = os.path.realpath(file.name)
        before = snapshot([path])
        maps = [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) for _ in range(times)]
        touched = [one[at] for one in maps for at in range(0, len(one), mmap.PAGESIZE)]
        after = snapshot([path])
        for one in maps:
            one.close()
    if not after.rss:
        raise Unavailable("memory", "the system does not tell it")
    if sys.platform.startswith("linux"):
        mapped = (after.mappings or 0) - (before.mappings or 0)
        rss = (after.rss or 0) - (before.rss or 0)
        pss = (after.pss or 0) - (before.pss or 0)
        if mapped != times or rss < pss or rss < len(touched) * mmap.PAGESIZE // 2:
            because = f"{times} maps of {pages} pages were {mapped} maps, {rss} RSS and {pss} PSS"
            raise Unavailable("memory", because)
        return {"mappings": mapped}
    return {}


def live_mappings(files: Collection[str]) -> int | None:
    """How many shared mappings of `files` this process has; None elsewhere than Linux."""
    wanted = {os.fsencode(file).replace(b"\n", rb"\012") for file in files}
    try:
        with open(f"{_PROC}/maps", "rb") as maps:
            return sum(_is_mapping_of(line, wanted) for line in maps)
    except OSError:
        return None


def _is_mapping_of(line: bytes, wanted: set[bytes]) -> bool:
    # address perms offset device inode path, the path padded and perhaps with spaces
    fields = line.rstrip(b"\n").split(None, 5)
    if len(fields) < 6 or not fields[1].endswith(b"s"):
        return False
    return fields[5] in wanted or fields[5].removesuffix(b" (deleted)") in wanted


def _full(process: Any) -> Any:
    try:
        return process.memory_full_info()
    except (require("psutil").Error, OSError, AttributeError, NotImplementedError):
        return process.memory_info()


def _page_tables() -> int | None:
    try:
        with open(f"{_PROC}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmPTE:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _minor_faults() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
