"""What reruns may take: scripted runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_deathwatch.budget import Budget, Pace


def pace(
    tests: int,
    each: float,
    of: int | None = None,
    workers: int | None = None,
    collecting: float = 0.0,
) -> Pace:
    """Return the pace of a run in which so many tests `of` all have run."""
    config = SimpleNamespace(**({"workerinput": {"workercount": workers}} if workers else {}))
    session: Any = SimpleNamespace(config=config, items=range(of or tests))
    found = Pace()
    found.expect(session, collecting)
    for _ in range(tests):
        found.ran(each)
    return found


def test_one_test_gets_a_half_of_what_is_left_or_four_seconds() -> None:
    budget = Budget(pace(100, 1.0), 12)
    assert budget.for_one() == pytest.approx(6.0)
    assert budget.allows(3.0)
    assert not budget.allows(3.1), "two reruns would take 6.2 s of 6"
    budget.spent(7.0)
    assert budget.for_one() == pytest.approx(4.0)
    budget.spent(4.0)
    assert budget.for_one() == pytest.approx(1.0)


def test_a_share_of_what_all_tests_will_take_may_be_spent_at_once() -> None:
    assert Budget(pace(50, 1.0, of=100), 12).for_one() == pytest.approx(6.0)
    assert Budget(pace(10, 1.0, of=100, workers=5), 12).for_one() == pytest.approx(2.4)
    assert Budget(pace(10, 1.0, of=1000), 12).for_one() == pytest.approx(4.0), "of 6.5: a guess"


def test_slow_tests_at_the_start_say_little_of_the_others() -> None:
    slow = pace(1, 100.0, of=1000)
    for _ in range(50):
        slow.ran(0.01)
    assert 110 < slow.total() < 300


def test_a_short_run_may_take_ten_seconds_in_all() -> None:
    assert Budget(pace(4, 1.0), 12).for_one() == pytest.approx(6.48)
    assert Budget(pace(4, 1.0), 12, 0.2).for_one() == pytest.approx(6.48 / 5)


def test_looking_at_the_tests_of_a_short_run_is_in_its_ten_seconds() -> None:
    budget = Budget(pace(4, 1.0), 12)
    budget.judged(5.0)
    assert budget.for_one() == pytest.approx(0.24 + 1.0)
    long = Budget(pace(1, 1.0, of=4), 12)
    long.judged(1.0)
    assert long.for_one() == pytest.approx(0.24 + 5.0), "one that is slow to look at says no more"


def test_a_run_that_collects_for_long_is_no_short_one() -> None:
    budget = Budget(pace(4, 1.0, collecting=16.0), 12)
    assert budget.for_one() == pytest.approx(2.4), "of 20 seconds"


def test_looking_at_the_tests_leaves_a_half_for_reruns() -> None:
    costly = Budget(pace(1000, 1.0), 12)
    costly.judged(50.0)
    assert costly.for_one() == pytest.approx(35.0)
    costly.judged(450.0)
    assert costly.for_one() == pytest.approx(30.0)


def test_waiting_is_free() -> None:
    waiting = Budget(pace(100, 1.0), 12)
    waiting.spent(3.5)
    waiting.waited(3.0)
    waiting.judged(3.5)
    assert waiting.for_one() == pytest.approx(5.75)
