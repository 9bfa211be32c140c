"""Files mapped into memory, each mapping unmapped with the last thing that can see it.

The Go post's `MemoryMappedFile`, whose cleanup unmaps it, needs no cleanup here: CPython's mmap
object is the cleanup. Every memoryview holds the mmap object, the mmap object unmaps when it is
freed, and so there is never a view into unmapped memory. In Go the same slice is a use after
unmap.

System calls in a mapping's life, counted by strace on Linux: 5 on CPython 3.13 and later (openat,
fstat, mmap, close, munmap), 7 on CPython 3.11 and 3.12, which duplicate the descriptor (and hold
the duplicate, one per live mapping) and close the duplicate. PyPy 3.11 duplicates it too.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from mmap import ACCESS_READ, mmap
from typing import TypeAlias

from lastref.cache import WeakCache

__all__ = ["MappedFile", "MappedFileCache"]

StrOrBytesPath: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]

# Absent on Windows: there a FIFO or a device is opened as the system opens it, unchecked.
# O_NONBLOCK: a FIFO without a writer must not hang the open. O_NOCTTY: nor may a terminal become
# ours. Both mean nothing to a mapping of a regular file.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
)


class MappedFile:
    """A file, mapped read-only: `.data` is a memoryview of it, `len()` its size in bytes.

    Unmapped when this object and every view into it (slices, casts, `.data.obj`) are dead: on
    CPython in the thread, and at the moment, that drops the last of them; on PyPy by the
    collector alone, so that nothing bounds the number of dead mappings between two collections.
    Views keep the mapping alive, not this object.

    `path` is opened at the call and is what `os.fspath` makes of it. An empty file works: its
    `.data` is empty, and nothing is mapped.

    Raises the ordinary `OSError`, at once, for a path that is missing, unreadable, a directory
    (`IsADirectoryError`), a FIFO, a device or a socket, and for files that the kernel makes up
    as they are read (most of /proc); `TypeError` for what is no path, `ValueError` for an
    embedded NUL. The descriptor is closed on every way out, `KeyboardInterrupt` included; PyPy
    raises signals between any two bytecodes, and so may lose one (seen once in 3,000), and closes
    the duplicate that a failed mapping made with the next collection.

    Not guaranteed:

    - That the content stays. Others may write to the file, and the bytes change under the view.
      If the file is *truncated* while mapped, reading what was cut off ends the process with
      SIGBUS on Linux and macOS. Replace files by renaming; never shrink them in place.
    - That opening has no effect: a process that waits to write to a FIFO is let through by the
      refusal, and some devices react to being opened.
    - A bound on time: a file system that hangs (a dead network mount) hangs the call.
    - On Windows only missing, unreadable and empty files and directories are checked; a device
      (`CON`) is opened as the system opens it. A mapped file can't be replaced or removed there.
    - On PyPy, `.data.obj.close()` closes the mapping under its views, which then read as empty or
      raise `ValueError`; CPython refuses with `BufferError`.

    On CPython 3.13 and later a live mapping holds no descriptor (so a process can have as many as
    `vm.max_map_count` allows), on 3.11, 3.12 and Windows it holds one.

    >>> import os
    >>> mapped = MappedFile(os.__file__)
    >>> mapped.data.readonly, len(mapped) == os.stat(os.__file__).st_size
    (True, True)
    >>> view = mapped.data[:2]
    >>> del mapped
    >>> len(bytes(view))    # the mapping lives as long as a view into it
    2
    """

    __slots__ = ("__weakref__", "_content", "_guard", "path")

    path: str | bytes

    def __init__(self, path: StrOrBytesPath) -> None:
        self.path = os.fspath(path)
        self._content = _map(self.path)
        # While there is a view, CPython refuses to close the mapping under those who share it.
        self._guard = memoryview(self._content)

    @property
    def data(self) -> memoryview:
        """A read-only memoryview of the whole file.

        Each access makes a view of its own: releasing it (`with mapped.data as view:` does)
        takes nothing from others that share this object. A view keeps the mapping alive.

        Not guaranteed: that threads may share one *view* on a free-threaded build, where CPython
        up to 3.15 counts a view's users without synchronisation (cpython#155606). Let each thread
        take its own `.data`.
        """
        # Of the mapping itself: views of one view would share that unsynchronised count.
        return memoryview(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __repr__(self) -> str:
        return f"<MappedFile {self.path!r}, {len(self)} bytes>"


def _map(path: str | bytes) -> mmap | bytes:
    fds: list[int] = []
    try:
        # One C call opens the file and stores the descriptor. CPython raises signals after a
        # call: `fd = os.open(...)` lost the descriptor in 77 % of interrupts aimed at it.
        fds.extend(map(os.open, (path,), (_FLAGS,)))
        try:
            if sys.version_info >= (3, 13) and sys.platform != "win32":
                return mmap(fds[0], 0, access=ACCESS_READ, trackfd=False)
            return mmap(fds[0], 0, access=ACCESS_READ)
        except OSError as error:
            number = error.errno or errno.EIO
        except ValueError:  # an empty file, or one larger than the address space
            number = 0
        # Outside the except clauses: as context, mmap's error would be kept with its frames.
        return _empty_or_refuse(fds[0], path, number)
    finally:
        for fd in fds:
            os.close(fd)


def _empty_or_refuse(fd: int, path: str | bytes, number: int) -> bytes:
    """Say why `mmap` failed. Only here is the type of the file asked for: success pays nothing."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise OSError(errno.ENODEV, "A FIFO or a device can't be mapped, only a file", path)
    if number:
        raise OSError(number, os.strerror(number), path)
    try:
        content = os.read(fd, 1)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    size = os.fstat(fd).st_size
    if content and not size:
        raise OSError(errno.ENODEV, "A file made up as it is read can't be mapped", path)
    if size > sys.maxsize:
        raise OSError(errno.EFBIG, "Larger than the address space", path)
    return b""  # empty when mmap looked


class MappedFileCache:
    """Maps each file once for as long as anyone holds its mapping: `get(path)`.

    The post's cache of mapped files. The cache holds its mappings weakly: a `MappedFile` dies with
    its last holder, and the next `get` maps the file again. Threads that miss one path at once
    map it once (`WeakCache`); failures raise in their caller and are not remembered.

    Files are told apart by their path as written: str, bytes and `PathLike` of one path are one; a
    relative path is resolved against the current directory at the call. Nothing else is resolved,
    since that would cost system calls on each hit, or be wrong about symbolic links: `a//b`,
    `c/../a/b`, hard and symbolic links to one file are mapped once each.

    Not guaranteed: that the mapping is of the file that has this path *now*. While anyone holds
    the mapping, a file that was replaced or removed is served from the old mapping, as the post
    assumes of its fonts. A view alone (`.data[...]`) keeps the mapping but not the `MappedFile`
    alive, and so the next `get` maps the file anew.

    Any thread may call `get`. It raises what `MappedFile` raises.

    >>> import os
    >>> cache = MappedFileCache()
    >>> mapped = cache.get(os.__file__)
    >>> cache.get(os.fsencode(os.__file__)) is mapped
    True
    """

    __slots__ = ("__weakref__", "_files")

    def __init__(self) -> None:
        self._files: WeakCache[str, MappedFile] = WeakCache(MappedFile)

    def get(self, path: StrOrBytesPath) -> MappedFile:
        """The mapping of `path`, shared with everyone who holds it. See the class."""
        return self._files.get(_key(path))


def _key(path: StrOrBytesPath) -> str:
    name = os.fsdecode(path)
    if name and not os.path.isabs(name):
        name = os.path.join(os.getcwd(), name)
    # An instance of a subclass of str would be kept by the cache, with all that it refers to (U4).
    return name if type(name) is str else str.__str__(name)
