"""System calls of this process, counted in it by the kernel's tracepoints (perf_event_open).

The quickest of the exact instruments, 7 to 8 us for the calls of one map, and the most demanding:
root, and tracefs. It counts by name, and leaves out anonymous maps by a filter in the kernel; it
knows no files, so that other files' calls and munmaps of anonymous maps are counted with the rest.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import selftest
from .checked import once
from .unavailable import Unavailable

TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
INSTEAD = "strace, or ptrace from Python"

_SYSCALL = {"x86_64": 298, "aarch64": 241}
_TYPE_TRACEPOINT = 2
_DISABLED, _INHERIT = 1, 2
_ENABLE, _DISABLE, _SET_FILTER = 0x2400, 0x2401, 0x40082406
_ATTR_SIZE = 112
_FILTERS = {"mmap": b"fd < 0x40000000"}
"""An anonymous map is asked for with descriptor -1, which is the largest number there is."""


@contextmanager
def counting(names: Iterable[str]) -> Iterator[dict[str, int]]:
    """Count the calls `names` of this thread, and of threads that it starts, in the block.

    The counts are there when the block has ended. The first use tests itself: two threads map a
    file in the folder for temporary files. Raises `Unavailable`, saying why.
    """
    once(check)
    counts: dict[str, int] = {}
    descriptors: dict[str, int] = {}
    try:
        for name in names:
            descriptors[name] = _open(name)
        for fd in descriptors.values():
            _control(fd, _ENABLE)
        try:
            yield counts
        finally:
            for fd in descriptors.values():
                _control(fd, _DISABLE)
            for name, fd in descriptors.items():
                (counts[name],) = struct.unpack("Q", os.read(fd, 8))
    finally:
        for fd in descriptors.values():
            os.close(fd)


def check() -> dict[str, int]:
    """Count the known truth; raise `Unavailable` unless opens and maps of files are right."""
    with tempfile.NamedTemporaryFile(prefix="deathwatch-") as file:
        file.write(b"known truth")
        file.flush()
        with counting(["openat", "mmap", "munmap", "close"]) as counts:
            selftest.known_truth(os.path.realpath(file.name))
    wrong = {name: counts[name] for name in ("openat", "mmap") if counts[name] != selftest.MAPS}
    if wrong or counts["munmap"] < selftest.MAPS + selftest.ANONYMOUS:
        because = f"its self-test of {selftest.MAPS} maps counted {counts}"
        raise Unavailable("perf tracepoints", because, INSTEAD)
    return counts


def _open(name: str) -> int:
    number = _SYSCALL.get(platform.machine())
    if not sys.platform.startswith("linux") or number is None:
        raise _unavailable(f"it is not known on {sys.platform}, {platform.machine()}")
    attr = struct.pack(
        "IIQQQQQ", _TYPE_TRACEPOINT, _ATTR_SIZE, _tracepoint(name), 0, 0, 0, _DISABLED | _INHERIT
    ).ljust(_ATTR_SIZE, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    arguments = [ctypes.c_long(value) for value in (0, -1, -1, 0)]
    fd = int(libc.syscall(ctypes.c_long(number), attr, *arguments))
    if fd < 0:
        because = f"perf_event_open failed: {os.strerror(ctypes.get_errno())}"
        raise _unavailable(because, "sysctl kernel.perf_event_paranoid=-1 (as root)")
    if name in _FILTERS:
        _control(fd, _SET_FILTER, _FILTERS[name])
    return fd


def _tracepoint(name: str) -> int:
    because, remedy = "there is no tracefs", None
    for root in TRACEFS:
        try:
            return int(Path(root, "events", "syscalls", f"sys_enter_{name}", "id").read_text())
        except PermissionError:
            because, remedy = "only root may read tracefs", "sudo -E python -m deathwatch doctor"
        except (OSError, ValueError):
            continue
    raise _unavailable(because, remedy)


def _control(fd: int, request: int, argument: bytes | int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    given = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_long(argument)
    if libc.ioctl(fd, ctypes.c_ulong(request), given):
        raise _unavailable(f"its ioctl failed: {os.strerror(ctypes.get_errno())}")


def _unavailable(because: str, remedy: str | None = None) -> Unavailable:
    return Unavailable("perf tracepoints", because, INSTEAD, remedy)
