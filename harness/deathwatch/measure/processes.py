"""Measuring in fresh processes: a job goes in as JSON, a result comes out as JSON.

Nothing of the parent's heap, descriptors or mappings is in such a figure, and whatever breaks in
the child (a lowered limit, an exhausted address space) breaks nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

TIMEOUT = 300.0
"""Seconds after which a child is killed: a hang is a finding, not a reason to wait."""


class ChildFailed(Exception):
    """A measuring process ended without a result; says how, with the last line it wrote."""


def run_job(module: str, job: Json, *, under: Sequence[str] = (), timeout: float = TIMEOUT) -> Json:
    """Run `job` in a fresh `python -m module`, and return what it answered.

    `under` is a command to run it under (strace). The child has a session of its own, so that a
    Ctrl-C at the terminal reaches it only through us: on every way out of here, exceptions and
    `KeyboardInterrupt` included, it is dead, with everything that it started. Where this process
    is killed without a chance to act (SIGKILL), the child ends by itself after its job.

    Raises `ChildFailed` where it gave no answer, `OSError` where it could not be started.

    >>> from deathwatch.measure import run_job
    >>> run_job("deathwatch.measure.selftest", {"job": "maps", "path": os.__file__})
    {}
    """
    command = [*under, sys.executable, "-P", "-m", module]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        start_new_session=True,
    )
    try:
        out, err = process.communicate(json.dumps(job).encode(), timeout=timeout)
    except subprocess.TimeoutExpired:
        raise ChildFailed(f"it gave no answer within {timeout:g} s") from None
    finally:
        _kill(process)
    return _answer(process.returncode, out, err)


def serve(jobs: dict[str, Any]) -> None:
    """The child's side: read a job, call `jobs[job["job"]](job)`, write what it returns."""
    job = json.load(sys.stdin)
    answer = jobs[job["job"]](job)
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()


def _environment() -> dict[str, str]:
    """Ours, with the import path of this process, however it came by it."""
    path = os.pathsep.join(p for p in sys.path if p)
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever is left of the child's session. Its number is free only once it is reaped."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform != "win32":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    process.communicate()


def _answer(status: int, out: bytes, err: bytes) -> Json:
    lines = [line.strip() for line in err.decode(errors="replace").splitlines() if line.strip()]
    if status:
        said = f": {lines[-1]}" if lines else ""
        raise ChildFailed(f"it ended with status {status}{said}")
    try:
        answer = json.loads(out)
    except ValueError:
        raise ChildFailed(f"it answered {out[:80]!r}, which is not JSON") from None
    if not isinstance(answer, dict):
        raise ChildFailed(f"it answered a {type(answer).__name__}, not an object")
    return answer
