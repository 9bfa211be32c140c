"""What the benchmark says in one sentence instead of a traceback."""

from __future__ import annotations


class BadRequest(Exception):
    """What was asked for can't be done: one sentence that says what to ask for instead."""
