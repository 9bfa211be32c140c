"""Verdicts over scripted samples: growth, replacement, repetition. Nothing is measured."""

from __future__ import annotations

from pytest_deathwatch import judging


def test_more_after_every_rerun_is_growth() -> None:
    """One more each time is a leak, whatever the number was before."""
    assert judging.growing([{"a": 1}, {"a": 2}, {"a": 3}]) == {"a"}
    assert judging.growing([{"a": 7}, {"a": 9}, {"a": 10}]) == {"a"}


def test_a_cache_filled_once_does_not_grow() -> None:
    """The first rerun makes it; no later one adds to it."""
    assert judging.growing([{"a": 1}, {"a": 1}, {"a": 1}]) == set()


def test_growth_that_stops_is_no_leak() -> None:
    """A cache with a bound grows until it is full: one rerun without growth acquits."""
    assert judging.growing([{"a": 1}, {"a": 2}, {"a": 2}]) == set()
    assert judging.growing([{"a": 1}, {"a": 2}, {"a": 3}, {"a": 3}]) == set()


def test_growth_that_starts_late_is_no_leak() -> None:
    """What the first rerun didn't leave is not what brought the test before the judge."""
    assert judging.growing([{}, {"a": 1}, {"a": 2}]) == set()


def test_growth_that_falls_back_is_no_leak() -> None:
    """A thread that let go in the end."""
    assert judging.growing([{"a": 1}, {"a": 2}, {"a": 3}, {"a": 0}]) == set()


def test_one_rerun_proves_nothing() -> None:
    """Neither guilt nor innocence: it stays undecided while something is left."""
    assert judging.growing([{"a": 1}]) == set()
    assert judging.undecided([{"a": 1}], set())
    assert not judging.undecided([{}], set())


def test_kinds_are_judged_one_by_one() -> None:
    """A cache beside a leak is still a cache."""
    samples = [{"leak": 1, "cache": 3}, {"leak": 2, "cache": 3}, {"leak": 3, "cache": 3}]
    assert judging.growing(samples) == {"leak"}


def test_what_comes_for_what_goes_is_replaced() -> None:
    """The same number each time, of which the latest rerun made some: no growth."""
    samples = [{"last": 1}, {"last": 1}, {"last": 1}]
    fresh = [{"last": 1}, {"last": 1}, {"last": 1}]
    assert judging.replaced(samples, fresh) == {"last"}
    assert judging.growing(samples) == set()
    assert not judging.undecided(samples, set()), "a further rerun would show the same"


def test_what_stays_is_not_replaced() -> None:
    """A cache that the first rerun filled is there later, but not fresh."""
    assert judging.replaced([{"a": 1}, {"a": 1}], [{"a": 1}, {}]) == set()


def test_what_grows_is_not_replaced_too() -> None:
    """A leak is reported once."""
    assert judging.replaced([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 1}]) == set()


def test_a_cycle_counts_when_every_run_makes_it() -> None:
    """Made in one rerun out of three: chance."""
    assert judging.repeated([{"c"}, {"c", "d"}, {"c"}]) == {"c"}
    assert judging.repeated([]) == set()
