"""Which files are mapped: those of this machine by default, the user's own on request.

The choice is deterministic: the same machine and interpreter give the same files. Paths are real
ones (symbolic links resolved), so that the kernel's names for them are ours; one file with many
names is taken once. Only regular, readable files that aren't empty are taken.
"""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from .errors import BadRequest

LARGEST = 256 * 1024 * 1024
"""Bytes: larger files are left out, since their page tables would be all that one sees."""

_LIBRARIES = (".so", ".dylib", ".dll", ".pyd")
_FONTS = (".ttf", ".otf", ".ttc", ".pfb")
_STDLIB = os.path.dirname(os.__file__)  # sysconfig names the virtual environment's, which is empty
_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The files to map, and in words where they come from."""

    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    origin: str

    def describe(self) -> str:
        """One phrase: how many, how large, from where."""
        small, large = min(self.sizes), max(self.sizes)
        return (
            f"{len(self.paths)} files, {_size(sum(self.sizes))}"
            f" (from {_size(small)} to {_size(large)} each): {self.origin}"
        )

    def to_dict(self) -> list[dict[str, str | int]]:
        """For JSON: base names and sizes. Folders would tell about the user."""
        return [
            {"name": os.path.basename(path), "bytes": size}
            for path, size in zip(self.paths, self.sizes, strict=True)
        ]


def choose(patterns: Sequence[str] | None, count: int) -> Chosen:
    """At most `count` files: those that match `patterns`, by path, or else this machine's own.

    Raises `BadRequest` where no usable file is found.
    """
    return _matching(patterns, count) if patterns else _of_this_machine(count)


def _of_this_machine(count: int) -> Chosen:
    """Libraries, Python modules and fonts in turn, the largest of each kind first."""
    kinds = {
        "shared libraries and extension modules": _usable(_libraries()),
        "Python modules": _usable(_modules()),
        "fonts": _usable(_fonts()),
    }
    largest_first = [sorted(found, key=_largest_first) for found in kinds.values()]
    taken: dict[tuple[int, int], tuple[str, int, str]] = {}
    for row in zip_longest(*largest_first):
        for kind, entry in zip(kinds, row, strict=True):
            if entry is not None and len(taken) < count:
                path, size, identity = entry
                taken.setdefault(identity, (path, size, kind))
    if not taken:
        raise BadRequest("no file to map was found on this machine; name some: --files GLOB")
    paths, sizes, chosen = zip(*taken.values(), strict=True)
    named = [f"{chosen.count(kind)} {kind}" for kind in kinds if kind in chosen]
    return Chosen(paths, sizes, ", ".join(named))


def _matching(patterns: Sequence[str], count: int) -> Chosen:
    shown = " ".join(map(repr, patterns))
    found = [
        os.path.join(os.getcwd(), path)
        for pattern in patterns
        for path in glob.glob(os.path.expanduser(pattern), recursive=True)
    ]
    if not found:
        raise BadRequest(f"no file matches {shown}")
    taken: dict[tuple[int, int], tuple[str, int]] = {}
    for path, size, identity in sorted(_usable(found)):
        taken.setdefault(identity, (path, size))
    if not taken:
        raise BadRequest(
            f"none of the {len(found)} matches of {shown} is a readable regular file of 1 byte to"
            f" {_size(LARGEST)}"
        )
    kept = list(taken.values())[:count]
    paths, sizes = zip(*kept, strict=True)
    origin = f"of {len(taken)} usable of {len(found)} that match, the first by path"
    return Chosen(paths, sizes, origin)


_Entry = tuple[str, int, tuple[int, int]]


def _largest_first(entry: _Entry) -> tuple[int, str]:
    path, size, _ = entry
    return -size, path


def _usable(paths: Iterable[str]) -> list[_Entry]:
    found: dict[str, _Entry] = {}
    for path in paths:
        real = os.path.realpath(path)
        try:
            status = os.stat(real)
        except (OSError, ValueError):
            continue
        if _fits(status) and os.access(real, os.R_OK):
            found[real] = (real, status.st_size, (status.st_dev, status.st_ino))
    return list(found.values())


def _fits(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and 0 < status.st_size <= LARGEST


def _libraries() -> Iterator[str]:
    """The interpreter, what it is linked with, and its extension modules."""
    yield sys.executable
    folders = [os.path.join(_STDLIB, "lib-dynload"), os.path.join(sys.base_prefix, "DLLs")]
    yield from chain.from_iterable(_ending(folder, _LIBRARIES) for folder in folders)
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            loaded = {line.rstrip("\n").partition("/")[2] for line in maps}
    except OSError:
        return
    for path in loaded:  # not those of installed packages: what is imported would decide
        if ".so" in os.path.basename(path) and "-packages/" not in path:
            yield "/" + path


def _modules() -> Iterator[str]:
    return _ending(_STDLIB, (".py",))


def _fonts() -> Iterator[str]:
    for folder in map(os.path.expanduser, _FONT_FOLDERS):
        for parent, _, _ in os.walk(folder):
            yield from _ending(parent, _FONTS)


def _ending(folder: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        if name.lower().endswith(suffixes):
            yield os.path.join(folder, name)


def _size(size: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"
