"""The verdicts: pass, regressed, improved, inconclusive, missing, each with its sentence."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from .baselines import Accepted, Baseline
from .figures import Figure, Result

WARNS, FAILS = 0.01, 0.02
"""Shares by which instructions may grow. Unrelated edits of a build move them by 0.4 % at most."""

REPEATS = 0.002
"""Share by which the base may differ from itself: measured, 0.0006 at most; a tenth of `FAILS`."""

SLOWER = 1.15
"""Median of ten pair ratios: on equal code 0.97 to 1.02, and 13 % is seen in 92 to 100 % of
runs, so that 15 % is seen where 4 % never is reliably."""

SLOWER_PAIRS = 0.8
"""The share of pairs that must be slower."""

FEWEST_PAIRS = 5

CONTROL = (0.97, 1.03)
"""Medians between which base beside base must lie, or the machine is too noisy to say."""

BLOCKING = frozenset({0, 1, 2, 3, 4, 5, 6, 8})
"""Tiers that fail the gate. Tier 7, time, only advises."""


class Verdict(StrEnum):
    """What is said of one figure."""

    PASS = "pass"
    REGRESSED = "regressed"
    IMPROVED = "improved"
    INCONCLUSIVE = "inconclusive"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict on one figure. `message` names it, from what to what, and by which instrument.

    `accept`: whether `deathwatch gate --accept` would settle it. `warns`: a pass to look at.
    """

    name: str
    tier: int
    verdict: Verdict
    message: str
    value: float | None = None
    before: float | None = None
    accept: bool = False
    warns: bool = False

    @property
    def fails(self) -> bool:
        """Whether this fails the gate: regressed or missing, in a tier that blocks."""
        return self.tier in BLOCKING and self.verdict in (Verdict.REGRESSED, Verdict.MISSING)


def failing(verdicts: Iterable[Judged]) -> list[Judged]:
    """Those that fail the gate."""
    return [judged for judged in verdicts if judged.fails]


def judge(result: Result, baseline: Baseline | None) -> list[Judged]:
    """A verdict on each figure of `result`, and on each that `baseline` knows and `result` lacks.

    Without a baseline, or with one that was edited or belongs to another interpreter or platform,
    every figure is missing from it. Inconclusive is never a pass by default: it says that the
    figure could not be told apart from noise here, and fails nothing.
    """
    reason = _unusable(result, baseline)
    known = {} if baseline is None or reason else baseline.figures
    found = [_one(figure, known.get(figure.name), reason, result) for figure in result.figures]
    return found + list(_removed(result, known))


def _unusable(result: Result, baseline: Baseline | None) -> str | None:
    where = f"{result.interpreter} on {result.platform}"
    if baseline is None:
        return f"there is no baseline for {where}"
    if (baseline.interpreter, baseline.platform) != (result.interpreter, result.platform):
        return f"the baseline is for {baseline.interpreter} on {baseline.platform}, not {where}"
    if not baseline.sealed:
        return "the baseline was edited: its seal is not that of its figures"
    return None


def _removed(result: Result, known: dict[str, Accepted]) -> Iterator[Judged]:
    here = {figure.name for figure in result.figures}
    for name, accepted in known.items():
        if name not in here and accepted.tier in result.tiers:
            message = f"{name}: was {accepted.value:g} in the baseline, and is measured no more"
            yield Judged(
                name, accepted.tier, Verdict.MISSING, message, before=accepted.value, accept=True
            )


def _one(figure: Figure, accepted: Accepted | None, reason: str | None, result: Result) -> Judged:
    if figure.value is None:
        return _say(figure, Verdict.MISSING, f"not measured: {figure.because}")
    if accepted is None:
        said = reason or "it is new, and has no baseline"
        return _say(figure, Verdict.MISSING, f"{_show(figure)}, but {said}", accept=True)
    if accepted.tier != figure.tier:
        said = f"the baseline has it in tier {accepted.tier}, not {figure.tier}"
        return _say(figure, Verdict.MISSING, said, accept=True)
    return _RULES[figure.rule.kind](figure, accepted, result)


def _equal(figure: Figure, accepted: Accepted, result: Result) -> Judged:
    expected = figure.rule.limits["expected"]
    if figure.value == expected:
        return _say(figure, Verdict.PASS, f"{_show(figure)}, as the formula says", expected)
    said = f"from {expected:g} by the formula to {_show(figure)}"
    return _say(figure, Verdict.REGRESSED, said, expected)


def _baseline(figure: Figure, accepted: Accepted, result: Result) -> Judged:
    value, before = figure.value or 0.0, accepted.value
    slack = abs(before) * figure.rule.limits["tolerance"]
    if value > before + slack:
        return _changed(figure, Verdict.REGRESSED, before)
    if value < before - slack:
        return _changed(figure, Verdict.IMPROVED, before)
    return _say(figure, Verdict.PASS, f"{_show(figure)}; the baseline is {before:g}", before)


def _changed(figure: Figure, verdict: Verdict, before: float) -> Judged:
    share = f" ({(figure.value or 0.0) / before - 1:+.1%})" if before else ""
    said = f"from {before:g} to {_show(figure)}{share}"
    return _say(figure, verdict, said, before, accept=True)


def _within(figure: Figure, accepted: Accepted, result: Result) -> Judged:
    low, high = figure.rule.limits["low"], figure.rule.limits["high"]
    good = low <= (figure.value or 0.0) <= high
    said = f"{_show(figure)}, {'' if good else 'not '}between {low:g} and {high:g}"
    return _say(figure, Verdict.PASS if good else Verdict.REGRESSED, said, accepted.value)


def _at_least(figure: Figure, accepted: Accepted, result: Result) -> Judged:
    floor = figure.rule.limits["floor"]
    good = (figure.value or 0.0) >= floor
    said = f"{_show(figure)}, {'' if good else 'not '}at least {floor:g}"
    return _say(figure, Verdict.PASS if good else Verdict.REGRESSED, said, accepted.value)


def _instructions(figure: Figure, accepted: Accepted, result: Result) -> Judged:
    base, head = figure.samples.get("base", ()), figure.samples.get("head", ())
    if len(base) < 2 or not head:
        return _say(figure, Verdict.INCONCLUSIVE, "the base has no such figure")
    if min(base) <= 0 or max(base) / min(base) - 1 > REPEATS:
        said = f"the same base counted {' and '.join(f'{count:g}' for count in base)}"
        return _say(figure, Verdict.INCONCLUSIVE, said)
    change = head[0] / base[0] - 1
    said = f"from {base[0]:g} in the base to {head[0]:g} {figure.unit} ({change:+.2%})"
    if change > FAILS:
        if accepted.source == result.source:
            return _say(figure, Verdict.PASS, f"{said}, accepted for these sources", base[0])
        return _say(figure, Verdict.REGRESSED, said, base[0], accept=True)
    if change < -FAILS:
        return _say(figure, Verdict.IMPROVED, said, base[0])
    return _say(figure, Verdict.PASS, said, base[0], warns=change > WARNS)


def _pairs(figure: Figure, accepted: Accepted, result: Result) -> Judged:
    ratios, control = figure.samples.get("ratios", ()), figure.samples.get("control", ())
    if min(len(ratios), len(control)) < FEWEST_PAIRS:
        return _say(figure, Verdict.INCONCLUSIVE, f"fewer than {FEWEST_PAIRS} pairs")
    median, equal = statistics.median(ratios), statistics.median(control)
    if not CONTROL[0] <= equal <= CONTROL[1]:
        said = f"base beside base differs by {equal - 1:+.1%}: too noisy to say"
        return _say(figure, Verdict.INCONCLUSIVE, said)
    slower = sum(ratio > 1 for ratio in ratios)
    said = f"{median:.3f} times the base's, median of {len(ratios)} pairs, {slower} of them slower"
    if median > SLOWER and slower >= SLOWER_PAIRS * len(ratios):
        if accepted.source == result.source:
            return _say(figure, Verdict.PASS, f"{said}, accepted for these sources", 1.0)
        return _say(figure, Verdict.REGRESSED, said, 1.0, accept=True)
    faster = sum(ratio < 1 for ratio in ratios)
    if median < 1 / SLOWER and faster >= SLOWER_PAIRS * len(ratios):
        return _say(figure, Verdict.IMPROVED, said, 1.0)
    return _say(figure, Verdict.PASS, said, 1.0)


_RULES: dict[str, Callable[[Figure, Accepted, Result], Judged]] = {
    "equal": _equal,
    "baseline": _baseline,
    "within": _within,
    "at_least": _at_least,
    "instructions": _instructions,
    "pairs": _pairs,
}


def _show(figure: Figure) -> str:
    return f"{figure.value:g} {figure.unit}"


def _say(
    figure: Figure,
    verdict: Verdict,
    said: str,
    before: float | None = None,
    *,
    accept: bool = False,
    warns: bool = False,
) -> Judged:
    message = f"{figure.title} ({figure.name}): {said}, by {figure.instrument}"
    return Judged(figure.name, figure.tier, verdict, message, figure.value, before, accept, warns)
