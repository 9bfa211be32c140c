"""Has this instrument passed its self-test? Each is asked before its first use in a process."""

from __future__ import annotations

from collections.abc import Callable

_passed: set[Callable[[], object]] = set()


def once(check: Callable[[], object]) -> None:
    """Run a self-test unless it has passed here before; raise what it raises, at every use.

    Another thread that uses the instrument meanwhile does not wait for it.
    """
    if check in _passed:
        return
    _passed.add(check)  # before, as the self-test uses the instrument
    try:
        check()
    except BaseException:
        _passed.discard(check)
        raise
