"""Running a test again by pytest's own protocol, without anyone being told."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

# Hooks that tell plugins of outcomes. Subtests and unittest's subTest call the first by themselves.
_TOLD = (
    "pytest_runtest_logreport",
    "pytest_runtest_logstart",
    "pytest_runtest_logfinish",
    "pytest_warning_recorded",
    "pytest_exception_interact",
)
_EXAMPLES = 10
_LOGS = ("log_cli_handler", "log_file_handler")


class Reruns:
    """The plugin that takes the place of pytest's protocol while a test is rerun.

    Wrappers of the protocol run as ever; what logs reports is not called.
    """

    def __init__(self) -> None:
        self.active = False
        self._outcome: str | None = None
        self._names: dict[str, Any] = {}

    def remember(self, item: Any) -> None:
        """Keep the names that a doctest sees: `doctest` clears them after the first run."""
        self._names = dict(item.dtest.globs) if _is_doctest(item) else {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        if not self.active:
            return None
        self._outcome = _run(item, nextitem)
        return True

    def rerun(self, item: Any, nextitem: pytest.Item | None) -> str | None:
        """Run a test with fresh function-scoped fixtures; say what went wrong, if anything.

        Its output, logs and warnings are dropped. `KeyboardInterrupt` and `pytest.exit` pass.
        """
        sections = len(item._report_sections)
        properties = len(item.user_properties)
        testsfailed = item.session.testsfailed
        if _is_doctest(item):
            item.dtest.globs.update(self._names)
        self.active, self._outcome = True, "was not run by pytest's protocol"
        try:
            with _quiet(item), _repeatable(item):
                item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            return self._outcome
        finally:
            self.active = False
            item.session.testsfailed = testsfailed
            del item._report_sections[sections:]
            del item.user_properties[properties:]


def _is_doctest(item: Any) -> bool:
    return hasattr(item, "dtest")


def _run(item: pytest.Item, nextitem: pytest.Item | None) -> str | None:
    """Do what `_pytest.runner.runtestprotocol` does, without its interactive hook and reports."""
    has_request = hasattr(item, "_request")
    if has_request and not item._request:  # type: ignore[attr-defined]
        item._initrequest()  # type: ignore[attr-defined]
    try:
        # warnings of the rerun are nobody's: the filters stay as the protocol set them
        with warnings.catch_warnings(record=True):
            setup = _phase(item, "setup")
            problem = setup or _phase(item, "call")
            return _phase(item, "teardown", nextitem=nextitem) or problem
    finally:
        if has_request:
            item._request = False  # type: ignore[attr-defined]
            item.funcargs = None  # type: ignore[attr-defined]


def _phase(item: pytest.Item, when: str, **arguments: object) -> str | None:
    hook = getattr(item.ihook, f"pytest_runtest_{when}")
    call: pytest.CallInfo[None] = pytest.CallInfo.from_call(
        lambda: hook(item=item, **arguments),
        when=when,  # type: ignore[arg-type]
        reraise=(KeyboardInterrupt, pytest.exit.Exception),
    )
    report = item.ihook.pytest_runtest_makereport(item=item, call=call)
    if report.passed and not hasattr(report, "wasxfail"):
        return None
    what = type(call.excinfo.value).__name__ if call.excinfo is not None else report.outcome
    return f"{what} in {when}"


def _handlers(plugin: object) -> list[logging.Handler]:
    found = [getattr(plugin, name, None) for name in _LOGS]
    return [handler for handler in found if isinstance(handler, logging.Handler)]


@contextlib.contextmanager
def _quiet(item: pytest.Item) -> Iterator[None]:
    """Tell no plugin of outcomes, and drop what pytest does not capture by itself."""
    with contextlib.ExitStack() as stack:
        for name in _TOLD:
            stack.enter_context(_muted(getattr(item.config.hook, name)))
        plugin = item.config.pluginmanager.get_plugin("logging-plugin")
        for handler in _handlers(plugin):
            stack.callback(handler.setLevel, handler.level)
            handler.setLevel(sys.maxsize)
        if item.config.getoption("capture", "fd") == "no":
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield


@contextlib.contextmanager
def _repeatable(item: Any) -> Iterator[None]:
    """Have Hypothesis make the same few examples each time, so that runs can be compared."""
    with contextlib.ExitStack() as stack:
        test = getattr(getattr(item, "obj", None), "__func__", getattr(item, "obj", None))
        own = getattr(test, "_hypothesis_internal_use_settings", None)
        if own is not None:
            stack.enter_context(
                _changed(
                    test,
                    _hypothesis_internal_use_seed=0,
                    _hypothesis_internal_use_settings=_few(own, derandomize=False),
                )
            )
        machine = getattr(item, "cls", None)  # of a RuleBasedStateMachine, it has the settings
        of_machine = getattr(machine, "settings", None)
        if _is_settings(of_machine):
            stack.enter_context(_changed(machine, settings=_few(of_machine, derandomize=True)))
        yield


def _is_settings(obj: object) -> bool:
    """Tell whether these are Hypothesis', which need not be installed."""
    module = sys.modules.get("hypothesis")
    return module is not None and type(obj) is module.settings


def _few(settings: Any, derandomize: bool) -> Any:
    few = min(settings.max_examples, _EXAMPLES)
    return type(settings)(settings, max_examples=few, database=None, derandomize=derandomize)


@contextlib.contextmanager
def _changed(owner: Any, **attributes: object) -> Iterator[None]:
    """Set attributes of a function or a class for a while."""
    own = dict(vars(owner))
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name in attributes:
            if name in own:
                setattr(owner, name, own[name])
            else:
                delattr(owner, name)


@contextlib.contextmanager
def _muted(hook: Any) -> Iterator[None]:
    """Take a hook's implementations away: pluggy has no public way to call some of a hook's
    plugins through proxies that were made before."""
    implementations = list(hook._hookimpls)
    hook._hookimpls.clear()
    try:
        yield
    finally:
        hook._hookimpls[:] = implementations
