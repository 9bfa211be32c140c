"""System calls on chosen files, counted by the kernel: strace, with markers in the stream.

The markers are accesses to paths that don't exist; they show in the trace by name, and what lies
between two of them is a span. Counted are calls on the chosen files alone, by the descriptor's
path, and the munmaps of the addresses at which those files were mapped: the interpreter's own
anonymous mappings, files and pipes are not. Nothing is ever timed under the trace, which makes a
call some ten times slower.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import selftest
from .processes import ChildFailed, Json, run_job
from .stream import Call, calls
from .unavailable import Unavailable

MARK = "/@deathwatch/"
INSTEAD = "ptrace from Python, or the audit hook, which counts requests and not calls"
PERMIT = "docker run --cap-add SYS_PTRACE ... (whatever forbids ptrace here has to permit it)"
"""What makes tracing work where there is a tracer, and it may not trace."""

# %file and %desc: whatever takes a path or a descriptor, so that a call nobody thought of is
# counted too. munmap takes neither.
_COMMAND = ["-f", "-qq", "-y", "-e", "trace=%file,%desc,munmap", "-e", "signal=none"]


@contextmanager
def span(name: str) -> Iterator[None]:
    """Mark what is done in the block as the span `name`, for a trace of this process.

    Costs two system calls; without a trace nobody sees them. Spans don't nest.

    >>> from deathwatch.measure import span
    >>> with span("reading"):
    ...     status = os.stat(os.devnull)
    """
    os.access(f"{MARK}begin/{name}", os.F_OK)
    try:
        yield
    finally:
        os.access(f"{MARK}end/{name}", os.F_OK)


@dataclass(frozen=True, slots=True)
class Span:
    """What the kernel saw between two markers: names of calls, in the order of the trace.

    `left` is the number of mappings made in the span and not unmapped in it.
    """

    calls: tuple[str, ...]
    left: int

    @property
    def counts(self) -> dict[str, int]:
        """How often each call was made, by normalised name (newfstatat is fstat)."""
        return dict(Counter(self.calls).most_common())


class Strace:
    """strace, checked on a known truth. Made by `Strace.find`.

    Not guaranteed: that calls on files opened before a span, or inherited, are left out; a call
    counts by its file alone. Threads and child processes are followed. `version()` is for people.
    """

    def __init__(self, command: list[str]) -> None:
        self.command = command

    @classmethod
    def find(cls) -> Strace:
        """The fastest way to run strace that counts right here.

        Raises `Unavailable`, saying why, where there is none: not Linux, no strace, tracing not
        permitted, or a self-test (100 maps by two threads, among anonymous ones) that came out
        wrong.
        """
        program = shutil.which("strace")
        if not sys.platform.startswith("linux"):
            raise Unavailable("strace", f"{sys.platform} has none", INSTEAD)
        if program is None:
            raise Unavailable("strace", "it is not installed", INSTEAD)
        # --seccomp-bpf stops only at the calls asked for: 18-25 us for the calls of one map, not
        # 86-97. Older kernels and straces don't have it.
        because, remedy = "", None
        for options in (["--seccomp-bpf", *_COMMAND], _COMMAND):
            found = cls([program, *options])
            try:
                found.check()
            except Unavailable as reason:
                because, remedy = reason.because, reason.remedy
            else:
                return found
        raise Unavailable("strace", because, INSTEAD, remedy)

    def check(self) -> dict[str, int]:
        """Count 100 known maps and return the counts; raise `Unavailable` unless they're right."""
        with tempfile.NamedTemporaryFile(prefix="deathwatch-") as file:
            file.write(b"known truth")
            file.flush()
            path = os.path.realpath(file.name)
            job: Json = {"job": "maps", "path": path}
            try:
                _, spans = self.trace(selftest.__name__, job, [path])
            except (ChildFailed, OSError) as error:
                because = f"it can't trace here ({error})"
                raise Unavailable("strace", because, INSTEAD, PERMIT) from None
        counted = spans["self-test"].counts if "self-test" in spans else {}
        wrong = [
            f"{counted.get(name, 0)} x {name}"
            for name in ("openat", "mmap", "munmap")
            if counted.get(name, 0) != selftest.MAPS
        ]
        if wrong:
            truth = f"its self-test of {selftest.MAPS} maps counted {', '.join(wrong)}"
            raise Unavailable("strace", truth, INSTEAD)
        return counted

    def version(self) -> str:
        """What `strace -V` says of itself, or an empty string."""
        said = subprocess.run([self.command[0], "-V"], capture_output=True, text=True, check=False)
        return said.stdout.partition("\n")[0]

    def trace(self, module: str, job: Json, files: Collection[str]) -> tuple[Json, dict[str, Span]]:
        """Run `job` in a fresh, traced process: its answer, and the spans that it marked.

        `files` are the real paths (`os.path.realpath`) on which calls are counted.
        """
        with tempfile.TemporaryDirectory(prefix="deathwatch-") as folder:
            output = Path(folder, "trace")
            answer = run_job(module, job, under=[*self.command, "-o", str(output)])
            with output.open(encoding="utf-8", errors="surrogateescape") as lines:
                return answer, spans(calls(lines), frozenset(files))


def spans(stream: Iterable[Call], files: Collection[str]) -> dict[str, Span]:
    """Cut a stream of calls at its markers, and keep the calls on `files`."""
    found: dict[str, Span] = {}
    name: str | None = None
    names: list[str] = []
    live: set[str] = set()
    for call in stream:
        if call.name == "access" and (call.path or "").startswith(MARK):
            edge, _, label = (call.path or "").removeprefix(MARK).partition("/")
            if edge == "end" and label == name:
                found[label] = Span(tuple(names), len(live))
            name, names, live = (label if edge == "begin" else None), [], set()
        elif name is not None and _counts(call, files, live):
            names.append(call.name)
    return found


def _counts(call: Call, files: Collection[str], live: set[str]) -> bool:
    """Whether a call is one on our files; follows their mappings by address."""
    if call.name == "munmap":
        if call.address not in live:
            return False
        live.discard(call.address)
        return True
    if call.path not in files:
        return False
    if call.name == "mmap" and not call.failed and call.address is not None:
        live.add(call.address)
    return True
