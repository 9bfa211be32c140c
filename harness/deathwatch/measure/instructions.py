"""Instructions between two markers, counted by callgrind: the same on an idle and a busy machine.

The markers are those of `syscalls.span`: callgrind writes its counters down whenever the C
function `access` is entered, so that one process yields the counts of many spans. A cost per
operation is Ir(2N) - Ir(N) over N, from which whatever happens once has gone. Counted are
instructions of the process, in every thread; the kernel's are not, and nothing is said of caches
or time. Some 50 times slower than the work itself.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .processes import ChildFailed, Json, run_job, serve
from .syscalls import span
from .unavailable import Unavailable

_OPTIONS = ["--tool=callgrind", "--quiet", "--dump-line=no", "--dump-before=access"]
_SELF_TEST = 2_000
_AGREES = 0.005
"""Share by which N more operations may differ from N more; measured: at most 0.001."""

REPEATS = 3
"""Spans of each length, of which the least counts: a thread that wakes up only ever adds."""

Prepare = Callable[[int], Callable[[], object]]
"""`prepare(n)` makes ready what `n` operations need, and returns what does them."""


class Callgrind:
    """callgrind, checked on a known truth. Made by `Callgrind.find`."""

    def __init__(self, program: str) -> None:
        self.program = program

    @classmethod
    @cache
    def find(cls) -> Callgrind:
        """callgrind, if it counts right here; checked once per process.

        Raises `Unavailable` where it is missing, runs an interpreter whose instructions depend on
        a compiler at run time (PyPy), or fails its self-test: Ir(2N) - Ir(N) must be Ir(3N) -
        Ir(2N).
        """
        instead = "the allocation counters and, as advice, the clock"
        if sys.implementation.name != "cpython":
            because = f"{platform.python_implementation()} compiles while it runs"
            raise Unavailable("callgrind", because, instead)
        program = shutil.which("valgrind")
        if program is None:
            raise Unavailable("callgrind", "valgrind is not installed", instead)
        found = cls(program)
        try:
            counted = found.count(__name__, {"job": "known", "operations": _SELF_TEST})
        except (ChildFailed, OSError) as error:
            raise Unavailable("callgrind", f"it can't run here ({error})", instead) from None
        _check(counted[1], instead)
        return found

    def count(self, module: str, job: Json) -> tuple[Json, dict[str, int]]:
        """Run `job` in a fresh process: its answer, and the instructions of each of its spans.

        The answer must name, in `spans`, the spans that the job marked, in their order. The hash
        seed is 0, so that two runs of one build count alike.
        """
        with tempfile.TemporaryDirectory(prefix="deathwatch-") as folder:
            output = f"--callgrind-out-file={folder}/out"
            under = ["env", "PYTHONHASHSEED=0", self.program, *_OPTIONS, output]
            answer = run_job(module, job, under=under)
            return answer, _spans(Path(folder), answer["spans"])


def marked(operations: int, prepares: Mapping[str, Prepare]) -> Json:
    """The child's side: each workload `operations` times in a span, and twice as often, thrice.

    What was prepared is kept until the end: deaths, and what other threads do about them, would
    fall into the next span. A workload that can't be prepared leaves no spans: `absent` says why.
    """
    spans: list[str] = []
    absent: dict[str, str] = {}
    kept: list[Callable[[], object]] = []
    for name, prepare in prepares.items():
        try:
            work = prepare(operations // 4)
            work()  # specialises what the interpreter specialises
        except Exception as error:
            absent[name] = f"{type(error).__name__}: {error}"
            continue
        kept.append(work)
        for number in range(REPEATS):
            for times in (1, 2):
                work = prepare(times * operations)
                kept.append(work)
                spans.append(f"{name} x{times} #{number}")
                with span(spans[-1]):
                    work()
    return {"spans": spans, "absent": absent}


def per_operation(counted: dict[str, int], operations: int) -> dict[str, float]:
    """(Ir(2N) - Ir(N)) / N of each workload that `marked` ran, of the least counts of each."""
    least: dict[str, int] = {}
    for name, count in counted.items():
        span_name = name.rpartition(" #")[0]
        least[span_name] = min(count, least.get(span_name, count))
    names = [name.removesuffix(" x1") for name in least if name.endswith(" x1")]
    return {name: (least[f"{name} x2"] - least[f"{name} x1"]) / operations for name in names}


def _spans(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """Every second dump of the last ones: what was counted from a span's begin to its end."""
    dumps = sorted(folder.glob("out.*"), key=lambda path: int(path.suffix[1:]))
    ends = dumps[len(dumps) - 2 * len(names) :][1::2] if names else []
    if len(ends) != len(names):
        said = f"callgrind wrote {len(dumps)} times for {len(names)} spans"
        raise ChildFailed(said)
    return {name: _total(path) for name, path in zip(names, ends, strict=True)}


def _total(path: Path) -> int:
    with path.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith(("summary:", "totals:")):
                return int(line.split()[1])
    raise ChildFailed("callgrind wrote no total")


def _check(counted: dict[str, int], instead: str) -> None:
    once, twice, thrice = (counted[name] for name in ("1N", "2N", "3N"))
    first, second = twice - once, thrice - twice
    if first < _SELF_TEST or abs(second / first - 1) > _AGREES:
        because = f"its self-test counted {once}, {twice}, {thrice} for N, 2N, 3N operations"
        raise Unavailable("callgrind", because, instead)


def _known(job: Json) -> Json:
    """The known truth: one loop, N, 2N and 3N times."""
    look: dict[str, Any] = {"key": os}
    times = {"1N": 1, "2N": 2, "3N": 3}
    _loop(look, job["operations"])
    for name, factor in times.items():
        with span(name):
            _loop(look, factor * job["operations"])
    return {"spans": list(times)}


def _loop(look: dict[str, Any], times: int) -> None:
    for _ in range(times):
        look.get("key")


if __name__ == "__main__":
    serve({"known": _known})
