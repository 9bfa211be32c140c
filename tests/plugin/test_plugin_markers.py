"""Markers and fixture: what a test can demand of itself."""

from __future__ import annotations

import sys

import pytest


def test_no_leaks_fails_a_test_that_leaves_instances(pytester, plugin) -> None:
    """Of the types named, or of every class that isn't the standard library's."""
    result = plugin(
        """
        import pytest
        class Widget: pass
        class Gadget: pass
        KEPT = []
        @pytest.mark.no_leaks
        def test_any(): KEPT.append(Widget())
        @pytest.mark.no_leaks(types=Widget)
        def test_named(): KEPT.append(Widget())
        @pytest.mark.no_leaks(Widget, bytearray)
        def test_other(): KEPT.append(Gadget())
        @pytest.mark.no_leaks
        def test_fine(): Widget()
        @pytest.mark.no_leaks(3)
        def test_no_class(): pass
        """
    )
    assert result.parseoutcomes() == {"failed": 3, "passed": 2}
    text = result.stdout.str()
    assert "1 objects made in the test survived it:" in text
    assert "test_it.KEPT[" in text
    assert "no_leaks takes classes, not 3" in text


def test_what_fixtures_hold_may_go_with_them(pytester, plugin) -> None:
    """Objects that a fixture of the test holds are looked at when it has been torn down."""
    result = plugin(
        """
        import pytest
        class Widget: pass
        KEPT = []
        @pytest.fixture
        def client(): return []
        @pytest.fixture
        def leaky():
            held = []
            yield held
            KEPT.extend(held)
        @pytest.mark.no_leaks
        def test_fine(client): client.append(Widget())
        @pytest.mark.no_leaks
        def test_leaks(leaky): leaky.append(Widget())
        """
    )
    assert result.parseoutcomes() == {"passed": 2, "errors": 1}
    assert "KEPT" in result.stdout.str()


def test_no_cycles_fails_a_test_that_needs_the_collector(pytester, plugin) -> None:
    """And prints the cycle. Where everything needs the collector it skips, with the reason."""
    result = plugin(
        """
        import pytest
        class Widget: pass
        @pytest.mark.no_cycles
        def test_cycle():
            widget = Widget(); widget.itself = widget
        @pytest.mark.no_cycles
        def test_fine(): Widget()
        """
    )
    if sys.implementation.name != "cpython":
        assert result.parseoutcomes() == {"skipped": 2}
        return
    assert result.parseoutcomes() == {"failed": 1, "passed": 1}
    told, _, _ = result.stdout.str().partition("short test summary info")  # whole where CI is set
    assert told.count("objects could only be freed by the collector:") == 1
    assert "Widget" in result.stdout.str()


def test_a_marked_test_that_fails_by_itself_keeps_its_failure(pytester, plugin) -> None:
    """Its own exception, and no word of leaks. (No cycles are told on PyPy, and so it skips.)"""
    cycles = "" if sys.implementation.name == "pypy" else "@pytest.mark.no_cycles"
    result = plugin(
        f"""
        import pytest
        class Widget: pass
        @pytest.mark.no_leaks
        {cycles}
        def test_fails():
            widget = Widget(); widget.itself = widget
            assert widget is None, "my own reason"
        """
    )
    assert result.parseoutcomes() == {"failed": 1}
    assert "my own reason" in result.stdout.str()
    assert "survived" not in result.stdout.str()


def test_the_fixture_checks_what_is_still_watched(pytester, plugin) -> None:
    """At its end, after the test's own locals are gone; not after a failure."""
    result = plugin(
        """
        class Widget: pass
        KEPT = []
        def test_dies(deathwatch):
            widget = Widget(); deathwatch.watch(widget)
        def test_stays(deathwatch):
            widget = Widget(); deathwatch.watch(widget); KEPT.append(widget)
        def test_fails(deathwatch):
            widget = Widget(); deathwatch.watch(widget); assert 0
        def test_library(deathwatch):
            deathwatch.assert_dies(Widget)
            deathwatch.collect()
            with deathwatch.expect_death() as region: region.watch(Widget())
            with deathwatch.no_survivors(Widget): pass
            assert "KEPT" in str(deathwatch.why_alive(KEPT[0]))
        """
    )
    assert result.parseoutcomes() == {"passed": 3, "failed": 1, "errors": 1}
    assert "test_it.KEPT[0]" in result.stdout.str()


@pytest.mark.usefixtures("judges")
def test_expected_leaks_are_reported_and_do_not_fail(judge) -> None:
    """With their reason; and when they leak no longer, that is said."""
    run = judge(
        """
        import pytest
        class Widget: pass
        KEPT = []
        @pytest.mark.leaks(reason="a registry by design")
        def test_expected(): KEPT.append(Widget())
        @pytest.mark.leaks(reason="mended by now")
        def test_mended(): pass
        """
    )
    assert run.ret == 0
    assert run.outcomes == {"passed": 2}
    (leak,) = run.leaks
    assert leak["status"] == "expected"
    assert "reason: a registry by design" in run.text
    assert "leaks no longer: its marker leaks(reason='mended by now') can go" in run.text
    assert run.data["mended"] == {"test_it.py::test_mended": "mended by now"}


@pytest.mark.usefixtures("judges")
def test_a_marker_leaks_without_a_reason_is_the_suites_own(judge) -> None:
    run = judge(
        """
        import pytest
        class Widget: pass
        KEPT = []
        @pytest.mark.leaks
        def test_it(): KEPT.append(Widget())
        @pytest.mark.leaks
        def test_is_fine(): pass
        """
    )
    (leak,) = run.leaks
    assert leak["status"] == "new"
    assert run.data["mended"] == {}
