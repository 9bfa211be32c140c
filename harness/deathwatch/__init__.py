"""How objects die: did it die, what killed it, who keeps it alive, and what did it cost?

>>> from deathwatch import assert_dies
>>> class Connection: pass
>>> assert_dies(Connection)
"""

from .cleanups import NeverRuns, check_cleanups
from .explain import Retention, why_alive
from .watch import (
    Cause,
    Region,
    Watch,
    assert_dies,
    collect,
    expect_death,
    no_cycles,
    no_survivors,
    watch,
)

__all__ = [
    "Cause",
    "NeverRuns",
    "Region",
    "Retention",
    "Watch",
    "assert_dies",
    "check_cleanups",
    "collect",
    "expect_death",
    "no_cycles",
    "no_survivors",
    "watch",
    "why_alive",
]
