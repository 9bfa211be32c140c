"""How objects die, everywhere: merges conformance results into one matrix, and shows it."""

from .merging import Cell, Matrix, Status, matrix_of, merge, problems
from .results import BadResults, Column, Results, Run, Scenario, read

__all__ = [
    "BadResults",
    "Cell",
    "Column",
    "Matrix",
    "Results",
    "Run",
    "Scenario",
    "Status",
    "matrix_of",
    "merge",
    "problems",
    "read",
]
