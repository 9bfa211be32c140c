"""Run one scenario with one binding, and print what was observed as a line of JSON.

    python cell.py BINDING MODULE ID

A process of its own for each cell: nothing that one scenario does to its interpreter, not even a
crash, can be seen by another.
"""

from __future__ import annotations

import json
import sys


def observe(binding_name: str, module: str, scenario_id: str) -> dict[str, str]:
    from scenarios.bindings import binding
    from scenarios.catalogue import Unavailable, catalogue

    scenario = catalogue((module,))[scenario_id]
    try:
        return {"outcome": scenario.observe(binding(binding_name))}
    except Unavailable as reason:
        return {"reason": str(reason)}
    except BaseException as error:
        import traceback

        traceback.print_exc()
        return {"outcome": f"raised {type(error).__name__}"}


if __name__ == "__main__":
    answer = json.dumps(observe(*sys.argv[1:4]))
    print(f"\n@{answer}", flush=True)
