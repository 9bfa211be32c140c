"""Turning `--deathwatch` on: options and files are read, plugins registered."""

from __future__ import annotations

import gc
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from . import BUDGET, RERUNS, baseline, known
from .ending import Ending
from .findings import Findings
from .reporting import Terminal, Verdicts
from .session import Session

CAN_JUDGE = hasattr(gc, "freeze") and hasattr(gc, "set_debug")


def configure(config: pytest.Config) -> None:
    """Register what `--deathwatch` needs. Raises `pytest.UsageError` (exit status 4)."""
    update = bool(config.getoption("--deathwatch-update"))
    path = _path(config, "baseline")
    report = _path(config, "report")
    if update and path is None:
        raise pytest.UsageError("--deathwatch-update needs --deathwatch-baseline=FILE")
    if report is not None and report.suffix not in (".json", ".html"):
        raise pytest.UsageError(
            f"--deathwatch-report={report}: the name must end in .json or .html"
        )
    if report is not None and report.suffix == ".html" and find_spec("jinja2") is None:
        raise pytest.UsageError(
            f"--deathwatch-report={report}: pages need jinja2: pip install 'deathwatch[report]'"
        )
    for name, file in (("baseline", path), ("report", report)):
        if file is not None and not file.parent.is_dir():
            raise pytest.UsageError(f"--deathwatch-{name}={file}: there is no such folder")
    entries = _read(path, update) if path is not None else None
    try:
        matchers = known.parse(config.getini("deathwatch_known"))
    except known.KnownError as error:
        raise pytest.UsageError(str(error)) from None
    verdicts = Verdicts(Findings(), entries or {}, matchers, _cycles(config))
    terminal = Terminal(verdicts)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(terminal, "deathwatch-terminal")
    if not CAN_JUDGE:
        terminal.notes.append(
            "deathwatch: not judged: this interpreter's collector has no gc.freeze, and objects"
            " don't die by reference counts"
        )
    elif not _distributes(config):
        session = Session(config, _reruns(config), _budget(config), verdicts)
        config.pluginmanager.register(session, "deathwatch-session")
    ending = Ending(config, verdicts, terminal, path, entries is None or update, report)
    config.pluginmanager.register(ending, "deathwatch-ending")


def _distributes(config: pytest.Config) -> bool:
    """Tell whether this process only hands out tests to others (pytest-xdist)."""
    return config.pluginmanager.has_plugin("dsession") or bool(
        getattr(config.option, "tx", None) and getattr(config.option, "dist", "no") != "no"
    )


def _path(config: pytest.Config, name: str) -> Path | None:
    given = config.getoption(f"--deathwatch-{name}")
    if given:
        return Path(config.invocation_params.dir, given)
    if name == "baseline" and (setting := config.getini("deathwatch_baseline")):
        return Path(config.rootpath, setting)
    return None


def _number(config: pytest.Config, name: str, default: int) -> int:
    given = config.getoption(f"--deathwatch-{name}")
    if given is not None:
        return int(given)
    setting = config.getini(f"deathwatch_{name}") or str(default)
    if not setting.isdecimal():
        raise pytest.UsageError(f"deathwatch_{name}: {setting!r} is not a number")
    return int(setting)


def _reruns(config: pytest.Config) -> int:
    given = _number(config, "reruns", RERUNS)
    if given < 2:
        raise pytest.UsageError(
            f"--deathwatch-reruns={given}: growth can't be told from fewer than 2 reruns"
        )
    return given


def _budget(config: pytest.Config) -> int:
    given = _number(config, "budget", BUDGET)
    if given < 0:
        raise pytest.UsageError(f"--deathwatch-budget={given}: give a percentage, 0 or more")
    return given


def _cycles(config: pytest.Config) -> str:
    mode = config.getoption("--deathwatch-cycles") or config.getini("deathwatch_cycles")
    if mode not in ("", "report", "fail", "ignore"):
        raise pytest.UsageError(f"deathwatch_cycles: {mode!r} is not report, fail or ignore")
    return mode or "report"


def _read(path: Path, update: bool) -> dict[str, str] | None:
    """Return the known leaks; None where the file is to be written first."""
    try:
        return baseline.read(path)
    except FileNotFoundError:
        if os.environ.get("CI") and not update:
            raise pytest.UsageError(
                f"--deathwatch-baseline={path}: there is no such file, and where CI is set none is"
                " written: write it with --deathwatch-update and commit it"
            ) from None
        return None
    except baseline.BaselineError as error:
        raise pytest.UsageError(str(error)) from None
