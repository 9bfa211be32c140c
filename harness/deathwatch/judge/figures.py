"""What a gate's result file says: figures, each with the rule that it is judged by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from . import reading
from .reading import BadFile, Json

SCHEMA = "deathwatch.gate/1"
TIERS = range(9)

Kind = Literal["equal", "baseline", "within", "at_least", "instructions", "pairs"]
"""How a figure is judged.

- `equal`: to the formula `expected`; `within`: `low` to `high`; `at_least`: `floor`.
- `baseline`: at most `tolerance` (a share) above the stored one.
- `instructions`: head beside base, both counted in this job. `pairs`: head beside base in pairs.
"""

_NEEDS: dict[str, tuple[str, ...]] = {
    "equal": ("expected",),
    "baseline": ("tolerance",),
    "within": ("low", "high"),
    "at_least": ("floor",),
    "instructions": (),
    "pairs": (),
}
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of rule, and its numbers by name."""

    kind: Kind
    limits: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure as it was measured. `value` is None where it could not be: `because` says why.

    `samples` holds what it was made of, by name: `base`, `head`, `control`, `ratios`. `how` says
    in words how it was taken.
    """

    name: str
    tier: int
    title: str
    unit: str
    instrument: str
    how: str
    rule: Rule
    value: float | None
    because: str | None
    samples: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Result:
    """A run of the gate: where, of which sources, which figures.

    `tiers` are those that were asked for. `source` is a digest of the judged package's sources.
    """

    platform: str
    interpreter: str
    began: str
    source: str
    tiers: frozenset[int]
    figures: tuple[Figure, ...]
    missing: tuple[str, ...]


def read_result(path: Path) -> Result:
    """The gate's result in `path`; raises `BadFile` where it is none."""
    try:
        return parse_result(reading.load(path))
    except BadFile as error:
        raise BadFile(_about(path, error)) from None


def parse_result(found: Json) -> Result:
    """The gate's result as a `Result`, every field checked; raises `BadFile`."""
    if found.get("schema") != SCHEMA:
        raise BadFile(f"is not a {SCHEMA} result")
    figures = tuple(map(parse_figure, reading.objects(found.get("figures"), "figures")))
    if len({figure.name for figure in figures}) < len(figures):
        raise BadFile("has a figure twice")
    missing = found.get("missing", [])
    if not isinstance(missing, list) or len(missing) > 100:
        raise BadFile("missing is not a list of at most 100 sentences")
    tiers = frozenset(int(tier) for tier in reading.numbers(found.get("tiers"), "tiers"))
    if not tiers <= set(TIERS):
        raise BadFile("tiers are not of 0 to 8")
    return Result(
        platform=label(found.get("platform"), "platform"),
        interpreter=label(found.get("interpreter"), "interpreter"),
        began=reading.text(found.get("began"), "began"),
        source=label(found.get("source"), "source"),
        tiers=tiers,
        figures=figures,
        missing=tuple(reading.text(line, "missing") for line in missing),
    )


def parse_figure(found: Json) -> Figure:
    """One figure, every field checked; raises `BadFile`."""
    named = name(found.get("name"))
    tier = found.get("tier")
    if isinstance(tier, bool) or not isinstance(tier, int) or tier not in TIERS:
        raise BadFile(f"{named} has no tier of 0 to 8")
    value = found.get("value")
    because = found.get("because")
    if value is None and because is None:
        raise BadFile(f"{named} has neither a value nor a reason for having none")
    return Figure(
        name=named,
        tier=tier,
        title=reading.text(found.get("title"), f"{named}: title"),
        unit=reading.text(found.get("unit"), f"{named}: unit"),
        instrument=reading.text(found.get("instrument"), f"{named}: instrument"),
        how=reading.text(found.get("how"), f"{named}: how"),
        rule=_rule(named, reading.mapping(found.get("rule"), f"{named}: rule")),
        value=None if value is None else reading.number(value, f"{named}: value"),
        because=None if because is None else reading.text(because, f"{named}: because"),
        samples=_samples(named, found.get("samples", {})),
    )


def name(value: object) -> str:
    """`value`, if it can name a figure."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BadFile("has a figure without a proper name")
    return value


def label(value: object, what: str) -> str:
    """`value`, if it is one word of a file's name."""
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise BadFile(f"{what} is not one word")
    return value


def _rule(named: str, found: Json) -> Rule:
    kind: Any = found.get("kind")
    if kind not in get_args(Kind):
        raise BadFile(f"{named} is judged by no known rule")
    limits = {key: reading.number(found.get(key), f"{named}: {key}") for key in _NEEDS[kind]}
    return Rule(kind, limits)


def _samples(named: str, found: object) -> dict[str, tuple[float, ...]]:
    samples = reading.mapping(found, f"{named}: samples")
    if len(samples) > 10:
        raise BadFile(f"{named} has more than 10 kinds of samples")
    return {
        label(key, f"{named}: a sample's name"): reading.numbers(value, f"{named}: {key}")
        for key, value in samples.items()
    }


def _about(path: Path, error: BadFile) -> str:
    said = str(error)
    return said if said.startswith(path.name) else f"{path.name} {said}"
