"""The leaks that a project knows of: a text file, sorted, one leak a line."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

HEADER = """\
# Known leaks, one a line: fingerprint, then words for people. Leaks that are not listed fail the
# run. Written by pytest --deathwatch-update, which strikes out what is mended.
"""
_LINE = re.compile(r"([0-9a-f]{16})(?:[ \t]+(\S.*))?")
_LIMIT = 10_000_000


class BaselineError(Exception):
    """A baseline that can't be used, with the reason in one sentence."""


def read(path: Path) -> dict[str, str]:
    """Return the words of every known leak by its fingerprint.

    Raises `BaselineError` with file and line for anything that isn't a baseline, and
    `FileNotFoundError`.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for a writer
            raise BaselineError(f"{path} can't be read: it is not a regular file")
        with open(path, "rb") as file:
            data = file.read(_LIMIT + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BaselineError(f"{path} can't be read: {error.strerror}") from None
    if len(data) > _LIMIT:
        raise BaselineError(f"{path} is no baseline: it is larger than {_LIMIT} bytes")
    known: dict[str, str] = {}
    for number, raw in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        try:
            line = raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise BaselineError(f"{path}:{number}: not text in UTF-8") from None
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise BaselineError(
                f"{path}:{number}: expected a fingerprint of 16 hexadecimal digits and a"
                f" description, found {_shown(line)}"
            )
        known[match[1]] = _printable(match[2] or "")
    return known


def _shown(line: str) -> str:
    return ascii(line[:40] + ("..." if len(line) > 40 else ""))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def lines(entries: Iterable[tuple[str, str]]) -> str:
    """Return the text of a baseline."""
    rows = sorted({fingerprint: " ".join(words.split()) for fingerprint, words in entries}.items())
    return HEADER + "".join(f"{fingerprint}  {_printable(words)}\n" for fingerprint, words in rows)


def write(path: Path, entries: Iterable[tuple[str, str]]) -> None:
    """Write a baseline so that a reader sees the old one or the new one, and no half.

    Raises `BaselineError` where that can't be done.
    """
    write_text(path, lines(entries))


def write_text(path: Path, text: str) -> None:
    """Replace a file's content in one step. Raises `BaselineError` where that can't be done."""
    from deathwatch import writing

    try:
        writing.write_text(path, text)
    except OSError as error:
        raise BaselineError(f"{path} can't be written: {error.strerror}") from None
