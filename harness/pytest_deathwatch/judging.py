"""Does it grow? Verdicts over counts that were taken after each rerun. Knows neither pytest nor
live objects."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

K = TypeVar("K")


def growing(samples: Sequence[Mapping[K, int]]) -> set[K]:
    """Return the kinds of which there are more after every single rerun than before it.

    A sample counts what was made since before the first rerun and is alive after one more. Fewer
    than two samples say nothing.

    >>> sorted(growing([{"cache": 1, "job": 1}, {"cache": 1, "job": 2}, {"cache": 1, "job": 3}]))
    ['job']
    """
    if len(samples) < 2:
        return set()
    pairs = list(pairwise(samples))
    return {
        kind
        for kind, first in samples[0].items()
        if first > 0 and all(later.get(kind, 0) > earlier.get(kind, 0) for earlier, later in pairs)
    }


def replaced(samples: Sequence[Mapping[K, int]], fresh: Sequence[Mapping[K, int]]) -> set[K]:
    """Return the kinds that every rerun leaves anew, while their number stays the same.

    `fresh` counts, for each rerun, what it made itself and is alive after it. Something old goes
    for each that comes: a bounded cache, or a variable for the latest.

    >>> replaced([{"last": 1}, {"last": 1}], [{"last": 1}, {"last": 1}])
    {'last'}
    """
    if len(samples) < 2:
        return set()
    always = {kind for kind in fresh[0] if all(each.get(kind, 0) > 0 for each in fresh)}
    grown: set[K] = growing(samples)
    return always - grown


def undecided(samples: Sequence[Mapping[K, int]], grown: Collection[K]) -> bool:
    """Tell whether a further rerun could still find growth, of what has grown so far."""
    if len(samples) < 2:
        return any(samples[0].values()) if samples else True
    return bool(grown)


def repeated(runs: Sequence[set[K]]) -> set[K]:
    """Return what every run has shown."""
    return set.intersection(*runs) if runs else set()
