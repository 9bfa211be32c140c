"""Runs the gate again and again on unchanged code: on this machine, and beside busy loops.

    python3 noxfile.py -s equal

Whatever a blocking tier says against the code is then false. Writes what was seen to
`results/equal-code.json` after each run, so that one that is interrupted says how far it came.
The exit status is 1 where a blocking figure failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lastref
from deathwatch.measure import machine
from deathwatch.writing import write_text

BUSY = "while True: pass"


def main() -> int:
    """Run, count, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30, help="in each setting (30)")
    parser.add_argument("--loops", type=int, nargs="+", default=[0, 3],
                        help="settings: so many busy loops beside it (0 3)")  # fmt: skip
    parser.add_argument("--more", action="store_true", help="keep the settings in --output")
    parser.add_argument("--tiers", default="0,1,2,3,4,5,6,7,8", help="tiers to run (all)")
    parser.add_argument("--output", type=Path, default=Path("results/equal-code.json"))
    options = parser.parse_args()
    package = os.path.dirname(os.path.dirname(os.path.abspath(lastref.__file__)))
    settings: list[dict[str, Any]] = []
    if options.more:
        settings += json.loads(options.output.read_text(encoding="utf-8"))["settings"]
    with tempfile.TemporaryDirectory(prefix="deathwatch-equal-") as folder:
        gate = [
            sys.executable, "-m", "deathwatch", "gate", "--json", f"--tiers={options.tiers}",
            f"--base={package}", f"--baselines={folder}", f"--output={folder}/result.json",
        ]  # fmt: skip
        subprocess.run([*gate, "--accept"], check=True, capture_output=True)
        for loops in options.loops:
            setting = {"busy loops": loops, "tiers": options.tiers, "runs": 0, "seconds": 0.0}
            settings.append(setting)
            verdicts: Counter[str] = Counter()
            failures: list[str] = []
            for _ in range(options.runs):
                began = time.monotonic()
                with busy(loops):
                    done = subprocess.run(gate, capture_output=True, text=True)
                said = json.loads(done.stdout)["verdicts"]
                verdicts.update(
                    f"{'tier 7' if one['tier'] == 7 else 'blocking'}: {one['verdict']}"
                    for one in said
                )
                failures += [one["message"] for one in said if one["fails"]]
                setting["runs"] += 1
                setting["seconds"] += round(time.monotonic() - began, 1)
                setting.update(verdicts=dict(sorted(verdicts.items())), failures=failures)
                _write(options, settings)
                print(setting, flush=True)
    return 1 if any(setting["failures"] for setting in settings) else 0


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(loops)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def _write(options: argparse.Namespace, settings: list[dict[str, Any]]) -> None:
    result = {
        "schema": "deathwatch.equal-code/1",
        "machine": machine.describe(),
        "settings": settings,
    }
    write_text(options.output, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
