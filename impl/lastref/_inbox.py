"""How does a death arrive? By one C call, `Inbox().put`, that any thread may make at any moment.

Also what travels through an inbox beside deaths. Everything there has a `_func`, which is
`released` in all but registrations that are still to run.
"""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

from lastref._books import Runner, released

if TYPE_CHECKING:
    from lastref._queue import Core


class Due:
    """A registration that runs though its object is alive. A `Cleanup` has the same two slots."""

    __slots__ = ("_arg", "_func")

    def __init__(self, func: Callable[[Any], object] = released, arg: object = None) -> None:
        self._func = func
        self._arg = arg


class Wake(Due):
    """Wakes whoever sleeps in the inbox, to look around."""

    __slots__ = ()


class Barrier(Due):
    """Opens when everything that was queued before it has run.

    A bare lock, held until then: a fork can't catch it half way, as it can an `Event`.
    """

    __slots__ = ("_closed", "running", "thread")

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()
        self.running: set[Runner] = set()
        self._closed = threading.Lock()
        self._closed.acquire()

    def open(self) -> None:
        self._closed.release()

    def is_open(self) -> bool:
        return not self._closed.locked()

    def wait(self, deadline: float | None) -> bool:
        left = -1.0 if deadline is None else deadline - time.monotonic()
        if deadline is not None:
            left = min(max(left, 0.0), threading.TIMEOUT_MAX)
        opened = self._closed.acquire(timeout=left)
        if opened:
            self._closed.release()
        return opened


class Dropped(weakref.ref[Any]):
    """A `CleanupQueue` that died."""

    __slots__ = ()
    _func = staticmethod(released)


class _CInbox(queue.SimpleQueue[Any]):
    """`put` is one C call, and may be interrupted by itself."""

    __slots__ = ("core",)
    core: Core


class _PyInbox:
    """The same where `SimpleQueue` is Python code, which a collection inside `put` can deadlock.

    That is PyPy. `put` is Python code here too: two steps that can neither block nor fail, however
    many calls are nested in each other.
    """

    core: Core

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._bell = threading.Lock()

    def put(self, item: object) -> None:
        self._items.append(item)
        try:  # noqa: SIM105 - `suppress` would be more Python code in the dying frame
            self._bell.release()
        except RuntimeError:  # it rings already
            pass

    def get(self) -> Any:
        while True:
            try:
                return self._items.popleft()
            except IndexError:
                self._bell.acquire()

    def get_nowait(self) -> Any:
        try:
            return self._items.popleft()
        except IndexError:
            raise queue.Empty from None

    def qsize(self) -> int:
        return len(self._items)


Inbox: type[Any] = _PyInbox if isinstance(queue.SimpleQueue.put, FunctionType) else _CInbox
