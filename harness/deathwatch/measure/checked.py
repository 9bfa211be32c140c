"""Has this instrument passed its self-test? Each is asked before its first use in a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

_passed: set[Callable[[], object]] = set()


def once(check: Callable[[], object]) -> None:
    """Run a self-test unless it has passed here before; raise what it raises, at every use.

    Another thread that uses the instrument meanwhile does not wait for it.
    """
    if check not in _passed:
        afresh(check)


def afresh(check: Callable[[], _T]) -> _T:
    """Run a self-test, whether or not it has passed before, and return what it found."""
    _passed.add(check)  # before, as the self-test uses the instrument
    try:
        return check()
    except BaseException:
        _passed.discard(check)
        raise
