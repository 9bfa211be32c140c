"""System calls on chosen files, counted by ptrace from Python: where there is no strace binary.

A tracer process of our own starts the traced one, follows its threads and reads each call from
the kernel (PTRACE_GET_SYSCALL_INFO, Linux 5.3), as strace does; the calls become the same stream,
cut at the same markers. Some 80 us for the calls of one map. Numbers of calls are known for
x86_64 and aarch64.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from . import selftest
from .processes import ChildFailed, Json, run_job, serve
from .stream import Call
from .syscalls import Span, spans
from .unavailable import Unavailable

INSTEAD = "strace, or the audit hook, which counts requests and not calls"

_NUMBERS = {
    "x86_64": {
        2: "open", 3: "close", 5: "fstat", 8: "lseek", 9: "mmap", 11: "munmap", 16: "ioctl",
        21: "access", 32: "dup", 72: "fcntl", 257: "openat", 262: "newfstatat", 269: "faccessat",
        439: "faccessat2",
    },
    "aarch64": {
        23: "dup", 25: "fcntl", 29: "ioctl", 48: "faccessat", 56: "openat", 57: "close",
        62: "lseek", 79: "newfstatat", 80: "fstat", 215: "munmap", 222: "mmap", 439: "faccessat2",
    },
}  # fmt: skip

_SYSCALL, _SEIZE, _INTERRUPT, _INFO = 24, 0x4206, 0x4207, 0x420E
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x100000  # TRACESYSGOOD, fork, vfork, clone, EXITKILL
_ENTRY, _EXIT = 1, 2
_WALL = 0x40000000
_DUPLICATES = (0, 1030)  # F_DUPFD, F_DUPFD_CLOEXEC
_ACCESSES = ("access", "faccessat", "faccessat2")
_BY_PATH = (*_ACCESSES, "open", "openat", "munmap")


def trace(module: str, job: Json, files: Collection[str]) -> tuple[Json, dict[str, Span]]:
    """Run `job` in a fresh, traced process: its answer, and the spans that it marked.

    `files` are the real paths on which calls are counted. The tracer is a process of its own, so
    that no other child of this one is waited for. Raises `Unavailable`, `ChildFailed`.
    """
    if not sys.platform.startswith("linux") or platform.machine() not in _NUMBERS:
        because = f"its numbers are not known on {sys.platform}, {platform.machine()}"
        raise Unavailable("ptrace", because, INSTEAD)
    found = run_job(
        __name__, {"job": "trace", "module": module, "inner": job, "files": list(files)}
    )
    stream = (Call(*call) for call in found["calls"])
    return found["answer"], spans(stream, frozenset(files))


def check() -> dict[str, int]:
    """Count the known truth; raise `Unavailable` unless the count is right."""
    with tempfile.NamedTemporaryFile(prefix="deathwatch-") as file:
        file.write(b"known truth")
        file.flush()
        path = os.path.realpath(file.name)
        try:
            _, found = trace(selftest.__name__, {"job": "maps", "path": path}, [path])
        except (ChildFailed, OSError) as error:
            raise Unavailable("ptrace", f"it can't trace here ({error})", INSTEAD) from None
    counted = found["self-test"].counts if "self-test" in found else {}
    if any(counted.get(name) != selftest.MAPS for name in ("openat", "mmap", "munmap")):
        because = f"its self-test of {selftest.MAPS} maps counted {counted}"
        raise Unavailable("ptrace", because, INSTEAD)
    return counted


@dataclass(slots=True)
class _Tracee:
    """What is known of the traced process: which descriptors are our files', and calls begun.

    A descriptor is looked up, and a closed one forgotten, when the call begins: before it returns,
    another thread may be given the number anew, and be stopped first.
    """

    files: frozenset[str]
    descriptors: dict[int, str] = field(default_factory=dict)
    begun: dict[int, tuple[str, tuple[int, ...], str | None]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def enter(self, tid: int, name: str, given: tuple[int, ...]) -> None:
        fd = _signed(given[4 if name == "mmap" else 0])
        path = None if name in _BY_PATH else self.descriptors.get(fd)
        self.begun[tid] = name, given, path
        if name == "close":
            self.descriptors.pop(fd, None)
        elif name == "munmap":  # before another thread is given the address
            self.calls.append(Call(name, None, f"{given[0]:#x}", False))
        elif name in _ACCESSES:
            marker = _string(tid, given[0 if name == "access" else 1])
            self.calls.append(Call("access", marker, None, False))

    def leave(self, tid: int, result: int) -> None:
        name, given, path = self.begun.pop(tid, ("", (), None))
        if name in ("open", "openat"):
            name, path = "openat", self._opened(tid, result)
        if path is None:
            return
        address = f"{result:#x}" if name == "mmap" else None
        named = "fstat" if name == "newfstatat" else name
        self.calls.append(Call(named, path, address, result < 0))
        duplicates = name == "dup" or (name == "fcntl" and given[1] in _DUPLICATES)
        if name == "openat" or (duplicates and result >= 0):
            self.descriptors[result] = path

    def _opened(self, tid: int, result: int) -> str | None:
        try:
            path = os.readlink(f"/proc/{tid}/fd/{result}") if result >= 0 else ""
        except OSError:
            return None
        return path if path in self.files else None


def _trace(job: Json) -> Json:
    """The tracer's side: start, seize, hand over the job, follow until the end."""
    import json

    command = [sys.executable, "-P", "-m", job["module"]]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    _ptrace(_SEIZE, process.pid, 0, _OPTIONS)
    _ptrace(_INTERRUPT, process.pid)
    tracee = _Tracee(frozenset(job["files"]))
    stops = _stops(process.pid)
    _resume(*next(stops))  # stopped where it reads its job: now it may have it
    process.stdin.write(json.dumps(job["inner"]).encode())
    process.stdin.close()
    for tid, status in stops:
        if os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
            _note(tracee, tid)
        _resume(tid, status)
    answer = process.stdout.read()
    process.returncode = 0  # it was waited for here
    calls = [[c.name, c.path, c.address, c.failed] for c in tracee.calls]
    return {"answer": json.loads(answer), "calls": calls}


def _stops(pid: int) -> Iterator[tuple[int, int]]:
    """Every stop of the traced threads, until the process has ended."""
    while True:
        tid, status = os.waitpid(-1, _WALL)
        if os.WIFSTOPPED(status):
            yield tid, status
        elif tid == pid:
            if status:
                raise SystemExit(f"the traced process ended with status {status}")
            return


def _resume(tid: int, status: int) -> None:
    """On to its next system call, with the signal that it was stopped by, if it was one."""
    stopped = os.WSTOPSIG(status)
    ours = stopped in (signal.SIGTRAP, signal.SIGTRAP | 0x80) or status >> 16
    try:
        _ptrace(_SYSCALL, tid, 0, 0 if ours else stopped)
    except ProcessLookupError:  # killed meanwhile
        return


def _note(tracee: _Tracee, tid: int) -> None:
    info = ctypes.create_string_buffer(88)
    _ptrace(_INFO, tid, 88, ctypes.addressof(info))
    kind = info.raw[0]
    if kind == _ENTRY:
        number, *given = struct.unpack_from("7Q", info.raw, 24)
        name = _NUMBERS[platform.machine()].get(number)
        if name is not None:
            tracee.enter(tid, name, tuple(given))
    elif kind == _EXIT:
        (result,) = struct.unpack_from("q", info.raw, 24)
        tracee.leave(tid, result)


def _string(tid: int, address: int) -> str | None:
    try:
        with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return os.fsdecode(memory.read(256).partition(b"\0")[0])
    except (OSError, ValueError):
        return None


def _ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(request, tid, address, data) == -1 and (number := ctypes.get_errno()):
        ctypes.set_errno(0)
        raise OSError(number, os.strerror(number))


def _signed(value: int) -> int:
    return ctypes.c_int(value & 0xFFFFFFFF).value


if __name__ == "__main__":
    serve({"trace": _trace})
