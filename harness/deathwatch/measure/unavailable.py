"""What is said of an instrument that can't be trusted here."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Unavailable(Exception):
    """An instrument can't be used here: says which, because of what, and what to use instead.

    Instruments raise it instead of measuring when they failed their self-test; nothing that was
    measured is lost by it, and no figure is made up for it.

    `remedy` is the command that would make it work, where that depends on the cause.

    >>> print(Unavailable("strace", "it is not installed", "the audit hook"))
    strace unavailable, because it is not installed; instead: the audit hook
    """

    def __init__(
        self, instrument: str, because: str, instead: str | None = None, remedy: str | None = None
    ) -> None:
        self.instrument = instrument
        self.because = because
        self.instead = instead
        self.remedy = remedy
        text = f"{instrument} unavailable, because {because}"
        super().__init__(text if instead is None else f"{text}; instead: {instead}")


_EXTRAS: dict[str, tuple[str, str]] = {
    "jinja2": ("report", "pages need"),
    "matplotlib": ("report", "plots need"),
}


class MissingExtra(Exception):
    """A library of an extra is not installed; says how to install it, in one sentence."""

    def __init__(self, library: str) -> None:
        extra, what = _EXTRAS.get(library.partition(".")[0], ("bench", "the benchmarks need"))
        super().__init__(
            f"{library} is not installed, and {what} it: pip install 'deathwatch[{extra}]'"
        )


def require(library: str) -> Any:
    """Import a library of an extra; raises `MissingExtra` where it is not installed."""
    try:
        return import_module(library)
    except ImportError:
        raise MissingExtra(library) from None
