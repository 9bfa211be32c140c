"""Did it die, and what killed it?"""

from .asserting import assert_dies, expect_death
from .collecting import collect
from .regions import no_cycles, no_survivors
from .watching import Cause, Region, Watch, watch

__all__ = [
    "Cause",
    "Region",
    "Watch",
    "assert_dies",
    "collect",
    "expect_death",
    "no_cycles",
    "no_survivors",
    "watch",
]
