"""System calls on chosen files, counted by whichever tracer can be trusted here."""

from __future__ import annotations

from collections.abc import Collection

from . import ptrace
from .processes import Json
from .syscalls import Span, Strace
from .unavailable import Unavailable


def trace_calls(
    module: str, job: Json, files: Collection[str]
) -> tuple[str, Json, dict[str, Span]]:
    """Run a job under strace, or where that can't be trusted under ptrace.

    Returns which of them it was, what the job returned, and the calls on `files` (real paths) in
    each span that the job marked. Both count what the kernel is asked, and agree. Raises
    `Unavailable`, with what is wrong with strace, where neither can be trusted, and `ChildFailed`
    where the job fails.
    """
    try:
        strace = Strace.find()
    except Unavailable as no_strace:
        try:
            ptrace.check()
        except Unavailable:
            raise no_strace from None
        return "ptrace", *ptrace.trace(module, job, files)
    return "strace", *strace.trace(module, job, files)
