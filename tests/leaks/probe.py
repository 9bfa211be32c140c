"""Put one reproducer to the harness, in a process of its own, and print what it says as JSON.

Run as `python -P probe.py REPRODUCER CAUSE`, with the package under test on PYTHONPATH. CAUSE is
what frees the victim where nothing leaks: `refcount` or `collector`.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from weakref import ref

import deathwatch


def load(path: Path) -> Callable[[], object]:
    """Import a reproducer, whose name may be that of the package it imports."""
    spec = importlib.util.spec_from_file_location(f"reproducer_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module.make


def failure(make: Callable[[], object], cause: str) -> str | None:
    """Demand the death as a test would, and return what the failure says."""
    try:
        deathwatch.assert_dies(make, cause="refcount" if cause == "refcount" else None)
    except AssertionError as error:
        return str(error)
    return None


def explain(make: Callable[[], object]) -> dict[str, object]:
    """Explain a second victim, and see what becomes of it after that."""
    gc.disable()
    wr = ref(make())
    if wr() is None:
        return {"fate": "refcount"}
    retention = deathwatch.why_alive(wr())
    if wr() is None:
        return {"fate": "explained away"}
    deathwatch.collect()
    fate = "collector" if wr() is None else "alive"
    return {"fate": fate, "text": str(retention), **retention.to_dict()}


def main() -> None:
    make = load(Path(sys.argv[1]))
    print(json.dumps({"failure": failure(make, sys.argv[2]), **explain(make)}))


main()
