"""Baselines: what was accepted, per interpreter minor and platform, sealed against editing.

The seal is a digest of what the file says. It tells an accepted figure from one that was edited
by hand, or mangled by a merge; against someone who computes the digest too it is no protection,
and is meant to be none: that change is one to see in review.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from . import reading
from .figures import TIERS, Figure, Result, label, name
from .reading import BadFile, Json

SCHEMA = "deathwatch.baseline/1"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was accepted of a figure. `source`: of which sources, where a base is compared with."""

    tier: int
    value: float
    unit: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Baseline:
    """Every figure that was accepted for one interpreter minor on one platform.

    `sealed`: whether the file is as it was accepted.
    """

    interpreter: str
    platform: str
    figures: dict[str, Accepted]
    sealed: bool = True

    def to_dict(self) -> Json:
        """For JSON, with its seal."""
        content = self._content()
        return {**content, "seal": _seal(content)}

    def _content(self) -> Json:
        figures = {
            name: {
                key: value
                for key, value in (
                    ("tier", accepted.tier),
                    ("value", accepted.value),
                    ("unit", accepted.unit),
                    ("source", accepted.source),
                )
                if value is not None
            }
            for name, accepted in sorted(self.figures.items())
        }
        return {
            "schema": SCHEMA,
            "interpreter": self.interpreter,
            "platform": self.platform,
            "figures": figures,
        }


def file_name(platform: str, interpreter: str) -> str:
    """The name of a baseline's file."""
    return f"{platform}-{interpreter}.json"


def read_baseline(path: Path) -> Baseline:
    """The baseline in `path`, every field checked; raises `BadFile`."""
    found = reading.load(path)
    try:
        return parse_baseline(found)
    except BadFile as error:
        raise BadFile(f"{path.name}: {error}") from None


def parse_baseline(found: Json) -> Baseline:
    """The baseline in `found`, every field checked; raises `BadFile`."""
    if found.get("schema") != SCHEMA:
        raise BadFile(f"is not a {SCHEMA}")
    seal = found.get("seal")
    if not isinstance(seal, str) or not _DIGEST.fullmatch(seal):
        raise BadFile("has no seal")
    figures = reading.mapping(found.get("figures"), "figures")
    if len(figures) > 1_000:
        raise BadFile("has more than 1000 figures")
    return Baseline(
        interpreter=label(found.get("interpreter"), "interpreter"),
        platform=label(found.get("platform"), "platform"),
        figures={name(key): _accepted(key, value) for key, value in figures.items()},
        sealed=seal == _seal({key: value for key, value in found.items() if key != "seal"}),
    )


def accept(result: Result, before: Baseline | None, only: Collection[int]) -> Baseline:
    """The baseline after accepting what `result` measured in the tiers `only`.

    Figures of other tiers stay, and so do those that could not be measured this time; what
    `result` does not know any more leaves. A baseline that was edited is not built upon.
    """
    kept = before.figures if before is not None and before.sealed else {}
    known = {figure.name for figure in result.figures}
    figures = {
        name: accepted
        for name, accepted in kept.items()
        if accepted.tier not in only or name in known
    }
    for figure in result.figures:
        if figure.tier in only and figure.value is not None:
            figures[figure.name] = _accept(figure, result)
    if before is None or not before.sealed:
        return Baseline(result.interpreter, result.platform, figures)
    return replace(before, figures=figures)


def _accept(figure: Figure, result: Result) -> Accepted:
    compared = figure.rule.kind in ("instructions", "pairs")
    source = result.source if compared else None
    return Accepted(figure.tier, figure.value or 0.0, figure.unit, source)


def _accepted(named: str, found: object) -> Accepted:
    entry = reading.mapping(found, named)
    tier = entry.get("tier")
    if isinstance(tier, bool) or not isinstance(tier, int) or tier not in TIERS:
        raise BadFile(f"{named} has no tier of 0 to 8")
    source = entry.get("source")
    return Accepted(
        tier=tier,
        value=reading.number(entry.get("value"), f"{named}: value"),
        unit=reading.text(entry.get("unit"), f"{named}: unit"),
        source=None if source is None else label(source, f"{named}: source"),
    )


def _seal(content: Json) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
