"""What did it cost? System calls, memory and the machine they were measured on.

Every instrument checks itself on a known truth before its first use, and raises `Unavailable`,
saying why and what to use instead, where it can't be trusted.
"""

from .instructions import Callgrind
from .memory import Snapshot, snapshot
from .objects import Allocation, allocation, live
from .processes import ChildFailed, run_job
from .requests import Requests, listening
from .syscalls import Span, Strace, span
from .tracing import trace_calls
from .unavailable import MissingExtra, Unavailable

__all__ = [
    "Allocation",
    "Callgrind",
    "ChildFailed",
    "MissingExtra",
    "Requests",
    "Snapshot",
    "Span",
    "Strace",
    "Unavailable",
    "allocation",
    "listening",
    "live",
    "run_job",
    "snapshot",
    "span",
    "trace_calls",
]
