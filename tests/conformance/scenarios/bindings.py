"""What is bound to the contract: the standard library's nearest thing, and lastref."""

from __future__ import annotations

import gc
import mmap
import sys
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from .catalogue import GO, LASTREF, STDLIB
from .dying import collect


class Binding:
    name: str

    def settle(self) -> None:
        """Have everything run that the deaths so far have caused."""
        raise NotImplementedError

    @property
    def ours(self) -> bool:
        return self.name == LASTREF


class StandardLibrary(Binding):
    """`weakref.finalize`, `weakref.ref`, `sys.intern`, `WeakValueDictionary`, `mmap`."""

    name = STDLIB

    def add_cleanup(self, obj: object, func: Callable[[Any], object], arg: Any) -> Any:
        return weakref.finalize(obj, func, arg)

    def stop(self, cleanup: Any) -> bool:
        return cleanup.detach() is not None

    def settle(self) -> None:
        collect()

    def pointer(self, obj: Any) -> Any:
        return weakref.ref(obj)

    def value(self, pointer: Any) -> Any:
        return pointer()

    def __init__(self) -> None:
        self.table: dict[Hashable, Hashable] = {}

    def handle(self, value: Any) -> Any:
        """A string is interned; for anything else there is the idiom of a dict of itself."""
        return sys.intern(value) if isinstance(value, str) else self.table.setdefault(value, value)

    def handle_value(self, handle: Any) -> Any:
        return handle

    def cache(self, create: Callable[[Any], Any]) -> Any:
        return _NaiveCache(create)

    def mapped(self, path: str) -> Any:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def view(self, mapped: Any) -> memoryview:
        return memoryview(mapped)

    def collect(self) -> None:
        gc.collect()

    def keep_alive(self, obj: object) -> None:
        id(obj)


class _NaiveCache:
    """The idiom: look, create, store unless another thread has stored meanwhile."""

    def __init__(self, create: Callable[[Any], Any]) -> None:
        self.create = create
        self.values: weakref.WeakValueDictionary[Any, Any] = weakref.WeakValueDictionary()

    def get(self, key: Any) -> Any:
        value = self.values.get(key)
        if value is None:
            value = self.values.setdefault(key, self.create(key))
        return value


class LastRef(Binding):
    """`lastref`; where a scenario is about testing, `deathwatch`."""

    name = LASTREF

    def add_cleanup(self, obj: object, func: Callable[[Any], object], arg: Any) -> Any:
        from lastref.cleanup import add_cleanup

        return add_cleanup(obj, func, arg)

    def stop(self, cleanup: Any) -> bool:
        stopped: bool = cleanup.stop()
        return stopped

    def settle(self) -> None:
        from lastref.cleanup import drain

        collect()
        if not drain(timeout=10):
            raise TimeoutError("the cleanups did not finish within 10 s")

    def pointer(self, obj: Any) -> Any:
        from lastref import weak

        return weak.make(obj)

    def value(self, pointer: Any) -> Any:
        return pointer.value()

    def handle(self, value: Any) -> Any:
        from lastref import unique

        return unique.make(value)

    def handle_value(self, handle: Any) -> Any:
        return handle.value()

    def cache(self, create: Callable[[Any], Any]) -> Any:
        from lastref.cache import WeakCache

        return WeakCache(create)

    def mapped(self, path: str) -> Any:
        from lastref.mapped import MappedFile

        return MappedFile(path)

    def view(self, mapped: Any) -> memoryview:
        view: memoryview = mapped.data
        return view

    def collect(self) -> None:
        import deathwatch

        deathwatch.collect()

    def keep_alive(self, obj: object) -> None:
        from lastref.cleanup import keep_alive

        keep_alive(obj)


class GoProgram(Binding):
    """The compiled Go program, for what is counted from outside of it."""

    def __init__(self, program: str) -> None:
        self.name = GO
        self.program = program


def binding(name: str) -> Binding:
    kinds: dict[str, Callable[[], Binding]] = {STDLIB: StandardLibrary, LASTREF: LastRef}
    return kinds[name]() if name in kinds else GoProgram(name)
