"""What runs of the gate on unchanged code said: how often a verdict is false."""

from __future__ import annotations

from deathwatch.judge.reading import Json, mapping, number, objects, text

from .page import Section, Table

SCHEMA = "deathwatch.equal-code/1"


def section(found: Json, name: str) -> Section:
    """A row for each setting, with its verdicts counted."""
    python = mapping(mapping(found["machine"], "machine")["python"], "python")
    version = f"{text(python['implementation'], '')} {text(python['version'], '')}"
    made = Section(name, f"The gate on unchanged code, {version}")
    made.sentences.append(
        "Whatever a blocking tier has against unchanged code is a false failure; time, which only"
        " advises, may be inconclusive."
    )
    rows = []
    for setting in objects(found["settings"], "settings"):
        verdicts = mapping(setting["verdicts"], "verdicts")
        failures = setting["failures"]
        if not isinstance(failures, list):
            raise TypeError("failures")
        rows.append([
            f"{number(setting['busy loops'], 'busy loops'):g}",
            text(setting.get("tiers", "all"), "tiers"),
            f"{number(setting['runs'], 'runs'):g}",
            f"{len(failures)}",
            "; ".join(f"{text(key, '')}: {number(verdicts[key], ''):g}" for key in verdicts),
        ])  # fmt: skip
    head = ["busy loops beside it", "tiers", "runs", "false failures", "verdicts"]
    made.tables.append(Table(head, rows, frozenset({0, 2, 3})))
    return made
