"""Run the post's program beside ours on this machine, and write what each costs.

    python tests/conformance/post.py [--output results/conformance] [PYTHON ...]

The Go program is the post's cache of mapped files; ours is lastref, with this interpreter and with
each PYTHON given. Each is asked for the system calls of one mapping's life (strace), for a cache
hit and for the registration of a cleanup (the best of five rounds of 100,000). The figures are
those of one run on one machine; nothing is judged by them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

BENCH = """
import gc, json, sys, time
from lastref.cache import WeakCache
from lastref.cleanup import add_cleanup, drain
class Value: pass
def nothing(_): pass
N = 100_000
def best(work, prepare=lambda: None):
    least = float("inf")
    for _ in range(5):
        prepared = prepare()
        gc.disable()
        begin = time.perf_counter()
        work(prepared)
        least = min(least, time.perf_counter() - begin)
        gc.enable()
        del prepared
        gc.collect()
        drain(60)
    return least / N * 1e9
cache = WeakCache(lambda key: Value())
value = cache.get("key")
def hits(_):
    get = cache.get
    for _ in range(N):
        get("key")
def register(values):
    for value in values:
        add_cleanup(value, nothing, 14)
print(json.dumps({
    "cache_hit_ns": best(hits),
    "add_cleanup_ns": best(register, lambda: [Value() for _ in range(N)]),
}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="The post's program, beside ours.")
    parser.add_argument("--output", default="results/conformance", help="a folder")
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="other interpreters")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        path = os.path.realpath(Path(folder, "file"))
        Path(path).write_bytes(b"content" * 1000)
        contenders = [_go(Path(folder), path)]
        for python in [sys.executable, *options.pythons]:
            contenders.append(_ours(python, path))
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, one run"
    result = {
        "format": "deathwatch-post",
        "version": 1,
        "machine": machine,
        "contenders": contenders,
    }
    from deathwatch.writing import write_text

    write_text(Path(options.output, "post.json"), json.dumps(result, indent=1) + "\n")
    for c in contenders:
        print(
            f"{c['name']}: {len(c['calls'])} calls, cache hit {c['cache_hit_ns']:.1f} ns,"
            f" registration {c['add_cleanup_ns']:.0f} ns"
        )
    return 0


def _go(folder: Path, path: str) -> dict[str, Any]:
    from run import build_go
    from scenarios import tracing

    from deathwatch.measure import Strace

    program, version = build_go(folder)
    figures = json.loads(_output([str(program), "-bench"]).strip().removeprefix("@"))
    calls = tracing.life_in_go(Strace.find(), str(program), path)
    return {"name": f"Go {version}, the post's program", "calls": list(calls), **figures}


def _ours(python: str, path: str) -> dict[str, Any]:
    name = _output([python, str(HERE / "run.py"), "--name"]).strip()
    calls = _output(
        [python, "-c", _CALLS, str(HERE), path],
    )
    return {
        "name": f"{name}, lastref",
        "calls": json.loads(calls),
        **json.loads(_output([python, "-c", BENCH])),
    }


_CALLS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from deathwatch.measure import Strace
from scenarios import tracing
print(json.dumps(tracing.life(Strace.find(), "lastref", sys.argv[2])))
"""


def _output(command: list[str]) -> str:
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, timeout=300
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
