"""The fixture `deathwatch`: the library's functions, bound to one test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from deathwatch import Region, Watch


class Deathwatch:
    """What a test gets. `watch` registers; the rest are the functions of `deathwatch`."""

    def __init__(self, region: Region) -> None:
        import deathwatch
        from deathwatch.explain import why_alive

        self._region = region
        self.collect = deathwatch.collect
        self.assert_dies = deathwatch.assert_dies
        self.expect_death = deathwatch.expect_death
        self.no_survivors = deathwatch.no_survivors
        self.no_cycles = deathwatch.no_cycles
        self.why_alive = why_alive

    def watch(self, obj: object) -> Watch:
        """Watch an object, which must be dead when the test and its fixtures after this end."""
        return self._region.watch(obj)


def bound(request: pytest.FixtureRequest) -> Iterator[Deathwatch]:
    """Hand out the functions, and demand the deaths at the end of a test that didn't fail."""
    from deathwatch import Region

    region = Region()
    failed = request.session.testsfailed
    yield Deathwatch(region)
    if request.session.testsfailed > failed:
        return
    problem = _alive(region)
    if problem:
        pytest.fail(problem, pytrace=False)


def _alive(region: Region) -> str | None:
    try:
        region.assert_dead()
    except AssertionError as error:
        return str(error)
    return None
