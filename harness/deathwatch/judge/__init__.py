"""Is that worse than before? Verdicts over result files; nothing here sees a live object."""

from .baselines import Accepted, Baseline, accept, read_baseline
from .figures import Figure, Result, parse_result, read_result
from .reading import BadFile
from .verdicts import BLOCKING, Judged, Verdict, failing, judge

__all__ = [
    "BLOCKING",
    "Accepted",
    "BadFile",
    "Baseline",
    "Figure",
    "Judged",
    "Result",
    "Verdict",
    "accept",
    "failing",
    "judge",
    "parse_result",
    "read_baseline",
    "read_result",
]
