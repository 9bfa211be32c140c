"""How is the exception of a cleanup reported? As one of `__del__` is: to `sys.unraisablehook`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any


def _hook_args_type() -> Callable[[tuple[object, ...]], Any]:
    """What `sys.__unraisablehook__` insists on. It has no name in any module."""
    for kind in tuple.__subclasses__():
        if kind.__name__ == "UnraisableHookArgs":
            made: Any = kind
            hidden = ("",) * (made.n_fields - made.n_sequence_fields)  # PyPy has one, and a str
            return lambda values: made(values + hidden)
    fields = ("exc_type", "exc_value", "exc_traceback", "err_msg", "object")
    return lambda values: SimpleNamespace(**dict(zip(fields, values, strict=True)))


_hook_args = _hook_args_type()


def report(error: BaseException, func: object) -> None:
    """Hand the exception of `func` to `sys.unraisablehook`, and survive whatever that does."""
    with suppress(BaseException):
        text = "Exception ignored in cleanup"
        args = _hook_args((type(error), error, error.__traceback__, text, func))
        try:
            sys.unraisablehook(args)
        except BaseException:
            sys.__unraisablehook__(args)
