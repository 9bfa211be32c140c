"""The findings as JSON, and as one page of HTML that needs nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .baseline import write_text
from .findings import Finding, size_text, types_text
from .reporting import Verdicts

SCHEMA = 1


def as_dict(verdicts: Verdicts) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "python": sys.version.split()[0],
        "implementation": sys.implementation.name,
        **verdicts.findings.to_dict(),
        "stale": verdicts.stale(),
    }


def write(path: Path, verdicts: Verdicts) -> None:
    """Write a report, JSON or HTML by its suffix. Raises `BaselineError` where that fails."""
    data = as_dict(verdicts)
    if path.suffix == ".json":
        write_text(path, json.dumps(data, indent=1, sort_keys=True) + "\n")
    else:
        write_text(path, page(data, verdicts.findings.ordered()))


def page(data: dict[str, Any], groups: list[Finding]) -> str:
    """Return the findings as HTML; everything that comes from the program is escaped.

    Raises `MissingExtra` where jinja2 is not installed.
    """
    from deathwatch.pages import render

    sizes = {group.fingerprint: size_text(group.size) for group in groups}
    types = {group.fingerprint: types_text(group.types, 12) for group in groups}
    return render(
        "pytest_deathwatch", "page.html.jinja", data=data, groups=groups, sizes=sizes, types=types
    )
