"""Which sources are judged, and beside which: head and base, each copied to a folder of its own.

Copies, so that both have paths of one length (instruction counts depend on it a little), and that
an edit during the run changes nothing.
"""

from __future__ import annotations

import compileall
import hashlib
import importlib.util
import io
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "lastref"
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./~^@{}-]{0,199}")


class NoBase(Exception):
    """There is nothing to compare with: says why, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Sources:
    """A folder that holds the package, a digest of its modules, and in words what it is."""

    folder: Path
    digest: str
    title: str


def head(given: Path | None, into: Path) -> Sources:
    """The package in the folder `given`, or else the one that this interpreter would import.

    Raises `FileNotFoundError` where there is none.
    """
    package = (given / PACKAGE) if given is not None else _installed()
    if not (package / "__init__.py").is_file():
        raise FileNotFoundError(f"there is no {PACKAGE} in {package.parent}")
    return _copy(package, into / "head", "head")


def base(given: str | None, current: Sources, into: Path) -> Sources:
    """The package in the folder or at the git revision `given`.

    By default the last commit, if head differs from it, and else the one before. Raises `NoBase`.
    """
    target = into / "base"
    if given is not None and Path(given, PACKAGE, "__init__.py").is_file():
        return _copy(Path(given, PACKAGE), target, "a folder")
    root = checkout()
    if root is None:
        raise NoBase("this is no git checkout: name a folder with the package, --base DIR")
    if given is not None:
        return _revision(root, given, target)
    found = _revision(root, "HEAD", target)
    if found.digest == current.digest:
        shutil.rmtree(target)
        found = _revision(root, _last_change(root), target)
    return found


def checkout() -> Path | None:
    """The folder of the checkout around the current directory, or None."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / ".git").exists() and (folder / "harness" / "deathwatch").is_dir():
            return folder
    return None


def git(root: Path, *arguments: str) -> bytes:
    """What `git` answers; raises `NoBase` with its first line where it refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoBase(f"git can't be asked: {error}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise NoBase(f"git has none ({said[:200]}); name one: --base REVISION")
    return done.stdout


def _last_change(root: Path) -> str:
    """The commit before the last one that touched the package: what it was, when it was other."""
    found = git(root, "log", "-1", "--format=%H", "--", f"impl/{PACKAGE}").decode().strip()
    return f"{found}~1" if found else "HEAD~1"


def _revision(root: Path, revision: str, target: Path) -> Sources:
    if not _REVISION.fullmatch(revision):
        raise NoBase(f"{revision[:50]!r} is neither a folder with the package nor a revision")
    packed = git(root, "archive", "--format=tar", revision, f"impl/{PACKAGE}")
    extracted = target / "tar"
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(extracted, filter="data")
    name = git(root, "rev-parse", "--short", revision).decode().strip()
    found = _copy(extracted / "impl" / PACKAGE, target, f"revision {name}")
    shutil.rmtree(extracted)
    return found


def _copy(package: Path, target: Path, title: str) -> Sources:
    copied = target / PACKAGE
    shutil.copytree(package, copied, ignore=shutil.ignore_patterns("__pycache__"))
    digest = _digest(copied)
    compileall.compile_dir(copied, quiet=1)
    return Sources(target, digest, title)


def _digest(package: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        found.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()[:16]


def _installed() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"{PACKAGE} is not installed: name its folder, --head DIR")
    return Path(spec.origin).parent
