"""Who keeps this object alive? `why_alive` walks from the roots and names every edge."""

from .retention import Edge, Retention, RetentionPath, Verdict
from .why import why_alive

__all__ = ["Edge", "Retention", "RetentionPath", "Verdict", "why_alive"]
