"""Where do results go, and can they?"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from deathwatch.writing import write_text

from .errors import BadRequest


def default_path(name: str) -> Path:
    """`results/<name>` of the checkout around the current directory, else here."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "harness" / "deathwatch").is_dir() and (folder / "results").is_dir():
            return folder / "results" / name
    return here / name


def check_target(path: Path) -> None:
    """Raise `BadRequest` now where `write` would fail for what is there already.

    A device is refused, and so is a folder: replacing /dev/null by a result helps nobody.
    """
    try:
        target = Path(os.path.realpath(path))
        in_the_way = target.exists() and not stat.S_ISREG(target.stat().st_mode)
    except (OSError, ValueError) as error:
        raise BadRequest(f"can't write {path}: {_reason(error)}") from None
    if in_the_way:
        raise BadRequest(f"can't write {path}: it is there, and is no regular file")
    if not target.parent.is_dir():
        raise BadRequest(f"can't write {path}: there is no folder {target.parent}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise BadRequest(f"can't write {path}: no permission to write to {target.parent}")


def write(path: Path, result: Any) -> None:
    """Write `result` as JSON to `path`, which is replaced whole or not at all. Raises `OSError`."""
    write_text(path, json.dumps(result, indent=1, allow_nan=False) + "\n")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
