"""How tables forget what died: in a thread of its own, one entry at a time, without a lock."""

from __future__ import annotations

from _weakref import _remove_dead_weakref  # type: ignore[attr-defined]
from collections.abc import Callable
from typing import Any

from lastref.cleanup import CleanupQueue

# Beside the default queue, so that a slow cleanup of the user's doesn't delay evictions. At exit
# there is nothing left to forget for.
evictions = CleanupQueue(name="lastref-evictions", at_exit="nothing")

# `remove_if_dead(table, key)` removes what is filed under the key if it is a dead weak reference:
# compare and delete in one step, so that a late eviction never takes a fresh entry. Public Python
# has no such step without a lock, which a collection in its middle could make a deadlock;
# `weakref.WeakValueDictionary` relies on this one too, on every interpreter.
remove_if_dead: Callable[[dict[Any, Any], Any], None] = _remove_dead_weakref
