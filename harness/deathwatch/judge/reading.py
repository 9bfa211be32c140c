"""Reading JSON that anyone may have written: small, flat, finite, or refused with one sentence."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

Json = dict[str, Any]

LARGEST = 16 * 1024 * 1024
"""Bytes. A full benchmark of pytest-benchmark's with its raw rounds is some 2 MB."""

LONGEST = 2_000
"""Characters of a text that is shown."""

MANY = 100_000
"""Elements of a list of numbers."""


class BadFile(Exception):
    """A result or baseline that can't be read: which, and what is wrong with it."""


def load(path: Path) -> Json:
    """The object in the JSON file `path`.

    Raises `BadFile` for what is no regular file, unreadable, larger than `LARGEST`, no UTF-8, no
    JSON, not an object, nested too deeply, or has NaN, infinity or one key twice; `OSError` never.
    """
    try:
        # A FIFO must not hang the open; what was opened is what is checked.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise BadFile(f"{path.name} is no regular file")
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadFile(f"{path.name} can't be read: {reason}") from None
    if len(content) > LARGEST:
        raise BadFile(f"{path.name} is larger than {LARGEST} bytes")
    try:
        return parse(content)
    except BadFile as error:
        raise BadFile(f"{path.name} {error}") from None


def parse(content: bytes) -> Json:
    """The object in `content`; raises `BadFile` as `load` does."""
    try:
        found = json.loads(
            content.decode("utf-8"), parse_constant=_not_finite, object_pairs_hook=_without_twins
        )
    except UnicodeDecodeError:
        raise BadFile("is not UTF-8") from None
    except RecursionError:
        raise BadFile("is nested too deeply") from None
    except ValueError as error:
        raise BadFile(f"is not JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise BadFile(f"holds a {type(found).__name__}, not an object")
    return found


def text(value: object, what: str) -> str:
    """`value`, if it is a text that can be shown."""
    if not isinstance(value, str) or len(value) > LONGEST:
        raise BadFile(f"{what} is not a text of at most {LONGEST} characters")
    return value


def number(value: object, what: str) -> float:
    """`value`, if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadFile(f"{what} is not a number")
    if not -1e18 < value < 1e18:
        raise BadFile(f"{what} is not a number that anyone measured")
    return value


def numbers(value: object, what: str) -> tuple[float, ...]:
    """`value`, if it is a list of finite numbers."""
    if not isinstance(value, list) or len(value) > MANY:
        raise BadFile(f"{what} is not a list of at most {MANY} numbers")
    return tuple(number(element, f"an element of {what}") for element in value)


def mapping(value: object, what: str) -> Json:
    """`value`, if it is an object."""
    if not isinstance(value, dict):
        raise BadFile(f"{what} is not an object")
    return value


def objects(value: object, what: str, most: int = 1_000) -> list[Json]:
    """`value`, if it is a list of objects, at most so many."""
    if not isinstance(value, list) or len(value) > most:
        raise BadFile(f"{what} is not a list of at most {most} objects")
    return [mapping(element, f"an element of {what}") for element in value]


def is_finite(value: object) -> bool:
    """Whether `value` is a number that can be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -1e18 < value < 1e18 and math.isfinite(value)


def _not_finite(name: str) -> NoReturn:
    raise BadFile(f"has {name}, which is no figure")


def _without_twins(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadFile("has one key twice in an object")
    return found
