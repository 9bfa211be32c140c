"""Requests to open and map chosen files, heard by the interpreter's audit hook.

The substitute where the kernel can't be asked. It hears `open` and `mmap` as they are requested
from Python: no munmap, no close, no call that C code makes by itself, and requests that fail are
heard like those that succeed. Its figures are requests, and are never to be called system calls.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from . import selftest
from .checked import once
from .unavailable import Unavailable


class Requests:
    """What was heard: `counts` has the opens and maps of the chosen files, by name."""

    __slots__ = ("_files", "_heard", "_identities")

    def __init__(self, files: Collection[str]) -> None:
        self._files = frozenset(files)
        self._identities = {_identity(os.stat(file)) for file in files}
        self._heard: list[str] = []

    @property
    def counts(self) -> dict[str, int]:
        """Requests by name: `open` and `mmap`."""
        return {name: self._heard.count(name) for name in ("open", "mmap")}

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """Note one audit event, in whichever thread makes the request. Appending needs no lock."""
        if event == "open":
            if arguments[0] in self._files:
                self._heard.append("open")
        elif event == "mmap.__new__" and self._maps_ours(arguments[0]):
            self._heard.append("mmap")

    def _maps_ours(self, fd: object) -> bool:
        if not isinstance(fd, int) or fd < 0:
            return False
        try:
            return _identity(os.fstat(fd)) in self._identities
        except OSError:
            return False


_listeners: list[Requests] = []
_hooked = False


@contextmanager
def listening(files: Collection[str]) -> Iterator[Requests]:
    """Count the requests of this process for `files` in the block; paths compare as written.

    An audit hook can't be removed: the first use leaves one in the process that does nothing
    outside such blocks but costs every audited event a call. Use a process of its own. The first
    use tests itself: two threads map a file in the folder for temporary files. Raises `Unavailable`
    where that fails.

    >>> from deathwatch.measure import listening
    >>> with listening([os.devnull]) as heard:
    ...     open(os.devnull).close()
    >>> heard.counts
    {'open': 1, 'mmap': 0}
    """
    global _hooked
    once(check)
    heard = Requests(files)
    _listeners.append(heard)
    if not _hooked:
        _hooked = True
        sys.addaudithook(_hook)
    try:
        yield heard
    finally:
        _listeners.remove(heard)


def check() -> dict[str, int]:
    """Hear 100 known maps, and return the counts; raise `Unavailable` unless they are right."""
    with tempfile.TemporaryDirectory(prefix="deathwatch-") as folder:
        path = os.path.join(folder, "known")
        with open(path, "wb") as file:
            file.write(b"known truth")
        with listening([path]) as heard:
            selftest.known_truth(path)
    if heard.counts != {"open": selftest.MAPS, "mmap": selftest.MAPS}:
        raise Unavailable(
            "the audit hook", f"its self-test of {selftest.MAPS} maps heard {heard.counts}"
        )
    return heard.counts


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    for listener in _listeners:
        listener.hear(event, arguments)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
