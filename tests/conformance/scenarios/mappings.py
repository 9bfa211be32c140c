"""Files mapped into memory (M): the post's MemoryMappedFile, and what it stands for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .catalogue import GO, LASTREF, STDLIB, Difference, Unavailable, scenario
from .dying import run_python

POST = "goblog:cleanups-and-weak"
LINUX = sys.platform.startswith("linux")


@contextmanager
def _file(content: bytes = b"content" * 1000) -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        path = Path(folder, "file")
        path.write_bytes(content)
        yield str(path)


def _maps(path: str) -> int:
    """How many mappings of the file this process has."""
    if not LINUX:
        raise Unavailable("Only Linux tells a process what it has mapped (/proc/self/maps).")
    real = os.path.realpath(path)
    return sum(line.endswith(real) for line in Path("/proc/self/maps").read_text().splitlines())


@scenario(
    "M1/unmapped",
    "A mapping after its object died",
    promise="The file is unmapped some time after the object died.",
    expected="1, then 0 mappings",
    sources=(POST, "contract:MappedFile"),
)
def unmapped(api: Any) -> str:
    with _file() as path:
        box = [api.mapped(path)]
        before = _maps(path)
        box.clear()
        api.settle()
        return f"{before}, then {_maps(path)} mappings"


@scenario(
    "M1/cycle",
    "A mapping that dies in a cycle",
    promise="The file is unmapped where the object was part of a cycle, too.",
    expected="1, then 0 mappings",
    sources=(POST, "contract:MappedFile"),
)
def in_a_cycle(api: Any) -> str:
    with _file() as path:
        cycle: list[Any] = [api.mapped(path)]
        cycle.append(cycle)
        before = _maps(path)
        del cycle
        api.settle()
        return f"{before}, then {_maps(path)} mappings"


@scenario(
    "M2/view",
    "A view that outlives the object",
    promise="There is never a view into unmapped memory.",
    expected="readable",
    sources=("contract:MappedFile",),
    differences=(
        Difference(
            GO,
            "unmapped under the view",
            "The slice points to memory that Go's collector does not manage: it does not keep the"
            " object alive, whose cleanup unmaps what the slice points to.",
            POST,
        ),
    ),
)
def view(api: Any) -> str:
    with _file() as path:
        view = api.view(api.mapped(path))
        api.settle()
        return "readable" if bytes(view[:7]) == b"content" else "something else"


@scenario(
    "M2/unviewed",
    "A mapping after its last view died",
    promise="The file is unmapped when the object and every view are dead.",
    expected="1, then 0 mappings",
    sources=("contract:MappedFile",),
    absent={GO: "In Go the mapping does not wait for its views (M2/view)."},
)
def last_view(api: Any) -> str:
    with _file() as path:
        views = [api.view(api.mapped(path))[1:3]]
        api.settle()
        before = _maps(path)
        views.clear()
        api.settle()
        return f"{before}, then {_maps(path)} mappings"


@scenario(
    "M3/empty",
    "An empty file",
    promise="An empty file is mapped as an empty view.",
    expected="empty",
    sources=("contract:MappedFile",),
    differences=(
        Difference(
            STDLIB, "ValueError", "mmap.mmap refuses empty files.", "docs:library/mmap#mmap.mmap"
        ),
        Difference(
            GO,
            "an error",
            "mmap(2) of no bytes is EINVAL, and the post's code does not ask for the size first.",
            "goblog:cleanups-and-weak",
        ),
    ),
)
def empty(api: Any) -> str:
    with _file(b"") as path:
        try:
            return "empty" if len(api.view(api.mapped(path))) == 0 else "not empty"
        except ValueError:
            return "ValueError"


@scenario(
    "M4/fifo",
    "A FIFO instead of a file",
    promise="What can't be mapped is refused at once, and nothing hangs.",
    expected="an OSError at once",
    sources=("contract:MappedFile",),
    differences=(
        Difference(
            STDLIB, "hung for 2 s", "open() waits for a writer.", "docs:library/functions#open"
        ),
        Difference(GO, "hung for 2 s", "os.Open waits for a writer.", "go:os#Open"),
    ),
)
def fifo(api: Any) -> str:
    if not hasattr(os, "mkfifo"):
        raise Unavailable("This system has no FIFOs.")
    import tempfile

    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        path = os.path.join(folder, "fifo")
        os.mkfifo(path)
        return run_python(
            f"""
            from scenarios.bindings import binding
            try:
                binding({api.name!r}).mapped({path!r})
            except OSError:
                print("an OSError at once")
            """,
            timeout=2.0,
        )


@scenario(
    "M5/calls",
    "The system calls of a mapping's life",
    promise="A mapping's life costs five system calls on its file.",
    expected="5",
    sources=("contract:MappedFile", POST),
    differences=(
        Difference(
            LASTREF,
            "7",
            "mmap.mmap duplicates the descriptor, and closes the duplicate; from 3.13 on it can be"
            " told not to (trackfd=False).",
            "docs:library/mmap#mmap.mmap",
            ("cpython-3.1[12]", "pypy-3.11"),
        ),
        Difference(
            STDLIB,
            "10",
            "open() asks for the size and whether it is a terminal, and mmap.mmap duplicates the"
            " descriptor.",
            "docs:library/functions#open",
        ),
        Difference(
            STDLIB,
            "9",
            "From 3.14 on, open() does not ask whether a regular file is a terminal.",
            "gh:90102",
            ("cpython-3.1[4-9]*",),
        ),
        Difference(
            GO,
            "10",
            "os.Open prepares the file for the network poller, and SyscallConn asks again.",
            "gosrc:os/file_unix.go",
        ),
    ),
)
def calls(api: Any) -> str:
    from deathwatch.measure import Strace
    from deathwatch.measure import Unavailable as NoStrace

    from . import tracing

    try:
        strace = Strace.find()
    except NoStrace as reason:
        raise Unavailable(f"{reason}") from None
    with _file() as path:
        real = os.path.realpath(path)
        if api.name == GO:
            return str(len(tracing.life_in_go(strace, api.program, real)))
        return str(len(tracing.life(strace, api.name, real)))
