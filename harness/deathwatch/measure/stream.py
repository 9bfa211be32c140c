"""Reading strace's output: a stream of calls, each with the file it is about.

The format is that of `strace -f -y -o FILE`: a process id on each line, the path of each
descriptor in angle brackets, and a call that another thread interrupted on two lines,
`<unfinished ...>` and `<... resumed>`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed>)(.*)", re.DOTALL)
_DESCRIPTOR = re.compile(r"(?<!\w)\d+<([^<>]*)>")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}
_UNFINISHED = "<unfinished ...>"

_NAMES = {
    "open": "openat",
    "openat2": "openat",
    "fstat64": "fstat",
    "stat64": "stat",
    "lstat64": "lstat",
    "mmap2": "mmap",
    "fcntl64": "fcntl",
    "_llseek": "lseek",
    "faccessat": "access",
    "faccessat2": "access",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One system call: its name as on every architecture, the file it is about, what it gave."""

    name: str
    path: str | None
    address: str | None  # what mmap returned, or munmap was given
    failed: bool


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """The calls of a trace, in an order in which addresses can be followed.

    A call counts when it has returned, except munmap, which counts when it was called: another
    thread may be given the address before strace prints the return.
    """
    unfinished: dict[tuple[str, str], str] = {}
    for line in lines:
        match = _LINE.match(line)
        if match is None:  # signals, exits
            continue
        pid, name, mark, rest = match.groups()
        rest = rest.rstrip("\n")
        if mark == "(":
            if rest.endswith(_UNFINISHED):
                rest = rest.removesuffix(_UNFINISHED)
                if name != "munmap":
                    unfinished[pid, name] = rest
                    continue
        elif (began := unfinished.pop((pid, name), None)) is not None:
            rest = began + rest
        else:
            continue  # the return of a munmap, or a call from before the trace
        yield _call(name, rest)


def _call(name: str, rest: str) -> Call:
    arguments, _, result = rest.rpartition(" = ")
    name = _normal(name, arguments or rest)
    address = result if name == "mmap" else None
    if name == "munmap":
        address = rest.partition(",")[0]
    return Call(name, _subject(arguments or rest, result), address, result.startswith("-1"))


def _normal(name: str, arguments: str) -> str:
    if name in ("newfstatat", "fstatat64", "statx"):
        return "fstat" if "AT_EMPTY_PATH" in arguments else "stat"
    return _NAMES.get(name, name)


def _subject(arguments: str, result: str) -> str | None:
    """The file a call is about: that of the descriptor it made, was given, or the path named."""
    found = _DESCRIPTOR.match(result) or _DESCRIPTOR.search(arguments) or _QUOTED.search(arguments)
    return None if found is None else _unescape(found[1])


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return os.fsdecode(_ESCAPE.sub(_byte, os.fsencode(text)))


def _byte(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code[:1].isdigit():
        return bytes([int(code, 8) & 0xFF])
    if code[:1] == b"x" and len(code) == 3:
        return bytes([int(code[1:], 16)])
    return _LETTERS.get(code, code)
