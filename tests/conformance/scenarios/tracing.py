"""What did the kernel see of one mapping's life? A process of ours, or of Go's, under strace."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from deathwatch.measure import Strace, span
from deathwatch.measure.processes import serve
from deathwatch.measure.stream import calls
from deathwatch.measure.syscalls import spans

_POLLER = re.compile(r"epoll_ctl\(\d+<[^>]*>, \w+, ")


def life(strace: Strace, binding: str, path: str) -> tuple[str, ...]:
    """The calls on `path` of one mapping's life with a Python binding."""
    job = {"job": "life", "binding": binding, "path": path}
    _, found = strace.trace(__name__, job, [path])
    return found["life"].calls


def life_in_go(strace: Strace, program: str, path: str) -> tuple[str, ...]:
    """The same of the post's program."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        output = Path(folder, "trace")
        subprocess.run(
            [*strace.command, "-o", str(output), program, "-life", path],
            check=True,
            timeout=30,
            stdout=subprocess.DEVNULL,
        )
        with output.open(encoding="utf-8", errors="surrogateescape") as lines:
            # epoll_ctl names the poller first and the file that it is about second.
            about = (_POLLER.sub("epoll_ctl(", line) for line in lines)
            return spans(calls(about), frozenset([path]))["life"].calls


def _life(job: dict[str, Any]) -> dict[str, Any]:
    from .bindings import binding

    api = binding(job["binding"])
    api.view(api.mapped(job["path"]))[:1]  # imports, and whatever is done once
    api.settle()
    with span("life"):
        box = [api.mapped(job["path"])]
        bytes(api.view(box[0])[:1])
        box.clear()
        api.settle()
    return {}


if __name__ == "__main__":
    serve({"life": _life})
