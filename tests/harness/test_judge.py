"""Verdicts on scripted samples: nothing is measured here."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from deathwatch.judge import Baseline, Result, Verdict, accept, failing, judge, parse_result

SOURCE = "0123abcd"


def figure(name: str = "some.figure", **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "tier": 2,
        "title": "bytes of a thing",
        "unit": "bytes",
        "instrument": "tracemalloc",
        "how": "traced",
        "rule": {"kind": "baseline", "tolerance": 0.02},
        "value": 100,
        **fields,
    }


def result(*figures: dict[str, Any], **fields: Any) -> Result:
    return parse_result(
        {
            "schema": "deathwatch.gate/1",
            "platform": "linux-x86_64",
            "interpreter": "cpython-3.13",
            "began": "2026-01-01T00:00:00+00:00",
            "source": SOURCE,
            "tiers": list(range(9)),
            "figures": list(figures),
            **fields,
        }
    )


def accepted(*figures: dict[str, Any]) -> Baseline:
    return accept(result(*figures), None, range(9))


def only(now: Result, baseline: Baseline | None) -> Any:
    (judged,) = judge(now, baseline)
    return judged


def instructions(base: list[float], head: list[float]) -> dict[str, Any]:
    return figure(
        tier=3,
        unit="instructions",
        instrument="callgrind",
        rule={"kind": "instructions"},
        samples={"base": base, "head": head},
    )


def pairs(ratios: list[float], control: list[float]) -> dict[str, Any]:
    return figure(
        tier=7,
        unit="x",
        instrument="the process's CPU clock",
        rule={"kind": "pairs"},
        samples={"ratios": ratios, "control": control},
    )


QUIET = [1.0, 0.99, 1.01, 1.0, 1.02, 0.98, 1.0, 1.0, 1.0, 1.01]


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (100, Verdict.PASS),
        (102, Verdict.PASS),
        (102.1, Verdict.REGRESSED),
        (110, Verdict.REGRESSED),
        (98, Verdict.PASS),
        (97.9, Verdict.IMPROVED),
    ],
)
def test_a_figure_may_move_by_its_tolerance(value: float, verdict: Verdict) -> None:
    """Two percent up is a pass, more is a regression; two percent down asks for a new baseline."""
    judged = only(result(figure(value=value)), accepted(figure()))
    assert judged.verdict == verdict
    assert judged.fails == (verdict == Verdict.REGRESSED)
    assert judged.accept == (verdict != Verdict.PASS)


def test_without_tolerance_nothing_may_grow() -> None:
    """Blocks per operation: one more than the baseline's zero is a regression."""
    rule = {"kind": "baseline", "tolerance": 0}
    judged = only(result(figure(value=1, rule=rule)), accepted(figure(value=0, rule=rule)))
    assert judged.verdict == Verdict.REGRESSED


@pytest.mark.parametrize(
    ("rule", "value", "verdict"),
    [
        ({"kind": "equal", "expected": 5}, 5, Verdict.PASS),
        ({"kind": "equal", "expected": 5}, 6, Verdict.REGRESSED),
        ({"kind": "equal", "expected": 5}, 4, Verdict.REGRESSED),
        ({"kind": "within", "low": 0.98, "high": 1.02}, 1.02, Verdict.PASS),
        ({"kind": "within", "low": 0.98, "high": 1.02}, 1.03, Verdict.REGRESSED),
        ({"kind": "within", "low": 0.98, "high": 1.02}, 0.97, Verdict.REGRESSED),
        ({"kind": "at_least", "floor": 8}, 8, Verdict.PASS),
        ({"kind": "at_least", "floor": 8}, 7.9, Verdict.REGRESSED),
    ],
)
def test_a_formula_needs_no_stored_value(
    rule: dict[str, Any], value: float, verdict: Verdict
) -> None:
    """The rule decides, whatever the baseline's value was; accepting does not settle it."""
    judged = only(result(figure(rule=rule, value=value)), accepted(figure(rule=rule, value=77)))
    assert judged.verdict == verdict
    assert not judged.accept


@pytest.mark.parametrize(
    ("base", "head", "verdict", "warns"),
    [
        ([1000, 1000], [1000], Verdict.PASS, False),
        ([1000, 1000], [1009], Verdict.PASS, False),
        ([1000, 1000], [1015], Verdict.PASS, True),
        ([1000, 1000], [1030], Verdict.REGRESSED, False),
        ([1000, 1000], [970], Verdict.IMPROVED, False),
        ([1000, 1001], [1000], Verdict.PASS, False),
        ([1000, 1003], [1030], Verdict.INCONCLUSIVE, False),
        ([1000], [1030], Verdict.INCONCLUSIVE, False),
        ([], [1030], Verdict.INCONCLUSIVE, False),
        ([0, 0], [1030], Verdict.INCONCLUSIVE, False),
    ],
)
def test_instructions_are_compared_with_a_base_that_repeats_itself(
    base: list[float], head: list[float], verdict: Verdict, warns: bool
) -> None:
    """Above 1 % warns, above 2 % fails; a base that counts differently twice decides nothing."""
    now = instructions(base, head)
    judged = only(result(now, source="later"), accepted(now))
    assert (judged.verdict, judged.warns) == (verdict, warns)


def test_more_instructions_are_accepted_for_the_sources_they_were_accepted_for() -> None:
    """The next edit has to be accepted anew."""
    now = instructions([1000, 1000], [1100])
    baseline = accepted(now)
    assert only(result(now), baseline).verdict == Verdict.PASS
    assert only(result(now, source="edited"), baseline).verdict == Verdict.REGRESSED


@pytest.mark.parametrize(
    ("ratios", "control", "verdict"),
    [
        (QUIET, QUIET, Verdict.PASS),
        ([1.2] * 10, QUIET, Verdict.REGRESSED),
        ([1.2] * 8 + [0.9] * 2, QUIET, Verdict.REGRESSED),
        ([1.2] * 7 + [0.9] * 3, QUIET, Verdict.PASS),
        ([1.14] * 10, QUIET, Verdict.PASS),
        ([1.2] * 10, [1.04] * 10, Verdict.INCONCLUSIVE),
        ([1.0] * 10, [0.96] * 10, Verdict.INCONCLUSIVE),
        ([0.8] * 10, QUIET, Verdict.IMPROVED),
        ([1.2] * 4, QUIET, Verdict.INCONCLUSIVE),
    ],
)
def test_time_is_judged_by_pairs_and_a_control(
    ratios: list[float], control: list[float], verdict: Verdict
) -> None:
    """Median above 1.15 and 8 of 10 slower, while base beside base stays within 3 %."""
    now = pairs(ratios, control)
    judged = only(result(now, source="new"), accepted(now))
    assert judged.verdict == verdict
    assert not judged.fails, "tier 7 only advises"


def test_a_figure_without_a_baseline_is_missing_and_fails() -> None:
    """New: it passes silently nowhere. The message says what it is now."""
    judged = only(result(figure()), Baseline("cpython-3.13", "linux-x86_64", {}))
    assert (judged.verdict, judged.fails, judged.accept) == (Verdict.MISSING, True, True)
    assert "100 bytes, but it is new" in judged.message


def test_a_removed_benchmark_is_missing_and_fails() -> None:
    """It was in the baseline and is measured no more: named, with what it was."""
    gone = figure("gone.figure", value=42)
    verdicts = judge(result(figure()), accepted(figure(), gone))
    (failed,) = failing(verdicts)
    assert (failed.name, failed.verdict, failed.before) == ("gone.figure", Verdict.MISSING, 42)


def test_what_was_not_asked_for_is_not_missing() -> None:
    """With `--tiers 2` a figure of tier 1 need not be measured."""
    other = figure("other", tier=1, rule={"kind": "equal", "expected": 100})
    verdicts = judge(result(figure(), tiers=[2]), accepted(figure(), other))
    assert [judged.verdict for judged in verdicts] == [Verdict.PASS]


def test_a_figure_that_could_not_be_measured_is_missing_and_says_why() -> None:
    """An instrument that is not there is no pass, and accepting does not settle it."""
    now = figure(value=None, because="strace unavailable, because it is not installed")
    judged = only(result(now), accepted(figure()))
    assert (judged.verdict, judged.fails, judged.accept) == (Verdict.MISSING, True, False)
    assert "strace unavailable" in judged.message


def test_an_edited_baseline_vouches_for_nothing() -> None:
    """Its seal is broken: every figure is missing from it, also those that would pass."""
    baseline = dataclasses.replace(accepted(figure()), sealed=False)
    judged = only(result(figure()), baseline)
    assert (judged.verdict, judged.fails) == (Verdict.MISSING, True)
    assert "edited" in judged.message


@pytest.mark.parametrize("field", ["interpreter", "platform"])
def test_a_baseline_of_elsewhere_vouches_for_nothing(field: str) -> None:
    """Figures of another interpreter minor or platform are not compared."""
    now = result(figure(), **{field: "elsewhere"})
    judged = only(now, accepted(figure()))
    assert judged.verdict == Verdict.MISSING
    assert "elsewhere" in judged.message


def test_a_message_names_the_figure_from_what_to_what_and_the_instrument() -> None:
    """So that a person knows what to look at."""
    judged = only(result(figure(value=125)), accepted(figure()))
    for part in ("some.figure", "bytes of a thing", "from 100 to 125", "+25.0%", "tracemalloc"):
        assert part in judged.message


def test_accepting_one_tier_leaves_the_others() -> None:
    """Figures of other tiers keep what was accepted; a removed one of this tier leaves."""
    other = figure("other", tier=1, rule={"kind": "equal", "expected": 100})
    before = accepted(figure(), figure("gone"), other)
    after = accept(result(figure(value=90), other | {"value": 90}), before, {2})
    assert {name: entry.value for name, entry in after.figures.items()} == {
        "some.figure": 90,
        "other": 100,
    }


def test_accepting_keeps_what_could_not_be_measured() -> None:
    """A missing instrument strikes nothing from the baseline."""
    after = accept(result(figure(value=None, because="no strace")), accepted(figure()), {2})
    assert after.figures["some.figure"].value == 100
