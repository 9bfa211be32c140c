"""How is a path told? From the root that says most, by edges as a person writes them."""

from __future__ import annotations

import re
import sys
import types
from typing import Any

from .edges import edges
from .hints import hint
from .modules import Modules, Rank, Root
from .names import class_dict, instance_dict, is_a, module_dict, plain
from .retention import Edge, RetentionPath
from .roots import thread_name
from .rows_library import c_type
from .steps import Path, name_in, position

# A path of a hundred thousand links of a list says no more than its two ends.
LONGEST = 40


def tell(root: Root, path: Path, modules: Modules) -> RetentionPath:
    """Put a path of objects, the root's and the target's included, into words."""
    root, path = _restart(root, path, modules)
    if root.owner is not None:
        if len(path) > 2:  # each module that has the object itself is told
            root = modules.origin(root, path[1])
        path = [root.owner, root.value, *path[1:]]
    if root.slots is not None and len(path) > 1 and type(path[0]) is types.CellType:
        path = path[1:]
    named = _ends(path)
    if not root.text:
        first, *named = named
        root = root._replace(text=first.text, base=first.base, mark=first.mark)
    kind, advice = root.rank.name.lower(), hint(root, path, named)
    return RetentionPath(kind, root.text, root.base, root.mark, tuple(named), advice)


def _ends(path: Path) -> list[Edge]:
    if len(path) <= LONGEST:
        return list(edges(path))
    half = LONGEST // 2
    left_out = len(path) - 2 * half
    gap = Edge("left out", f"… {left_out} more …", "…", "", "…")
    return [*edges(path[:half]), gap, *edges(path[-half:])]


def _restart(root: Root, path: Path, modules: Modules) -> tuple[Root, Path]:
    """Begin the path at the last object in it that is a root of its own."""
    for at in range(len(path) - 2, -1, -1):
        landmark = _landmark(root, path[at], modules)
        if landmark is not None:
            return landmark, path[at:]
    return root, path


def _landmark(root: Root, obj: Any, modules: Modules) -> Root | None:
    """Return the object as a root, if it is one: a class, function, logger, thread or task."""
    if root.owner is not None and obj is root.value:
        return None
    home = modules.home(obj)
    if home is not None:
        base = ".".join(home)
        text = base + ("()" if type(obj) is types.FunctionType else "")
        return Root(root.rank, obj, text, base, text)
    if root.rank < Rank.INTERPRETER and (logger := _logger(obj)) is not None:
        return logger
    if root.rank in (Rank.NAMED, Rank.STDLIB) and (_is_running(obj) or _is_pending(obj)):
        kind = "thread" if _is_running(obj) else "asyncio task"
        return Root(Rank.NAMED, obj, f"{kind} {_own_name(obj)!r}", kind.split()[-1], kind)
    return None


def _logger(obj: Any) -> Root | None:
    """Return a logger as a root: whoever has it or its manager, logging itself keeps it by name."""
    names = module_dict(sys.modules["logging"]) if "logging" in sys.modules else {}
    cls = names.get("Logger")
    if not (is_a(cls, type) and is_a(obj, cls)):
        return None
    if obj is names.get("root"):
        return Root(Rank.NAMED, obj, "logging.root", "logging.root", "logging.root")
    kept = (instance_dict(class_dict(cls).get("manager")) or {}).get("loggerDict")
    name = name_in(kept, obj) if type(kept) is dict else None
    if name is None:
        return None
    mark = re.sub(r"\d+", "", name)
    return Root(Rank.NAMED, obj, f"logger {name!r}", "logger", f"logger {mark!r}")


def _is_running(obj: object) -> bool:
    active = module_dict(sys.modules["threading"])["_active"] if "threading" in sys.modules else {}
    return position(active.values(), obj) is not None


def _is_pending(obj: object) -> bool:
    """Tell whether this is a task that its event loop will go on with."""
    task = c_type("_asyncio", "Task")
    return task is not None and is_a(obj, task) and not vars(task)["done"](obj)


def _own_name(obj: object) -> str:
    task = c_type("_asyncio", "Task")
    if task is not None and is_a(obj, task):
        return plain(vars(task)["get_name"](obj))
    return thread_name(obj)
