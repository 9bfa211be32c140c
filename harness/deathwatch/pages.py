"""How do results become a page? By jinja2, which escapes whatever a template is given.

Result files are hostile input, so no page is ever put together from strings.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from deathwatch.measure.unavailable import require

if TYPE_CHECKING:
    from jinja2 import Environment

_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in range(32) if chr(code) not in "\t\n\r"}


def render(package: str, template: str, /, **values: Any) -> str:
    """The template of that name in `package`, filled in; raises `MissingExtra` without jinja2.

    Templates of other packages are included by `package/name`.
    """
    return _environment().get_template(f"{package}/{template}").render(values)


def clean(text: str) -> str:
    """`text` without what neither HTML nor SVG can hold: control characters, lone surrogates."""
    return text.translate(_CONTROLS).encode("utf-8", "replace").decode("utf-8")


@cache
def _environment() -> Environment:
    jinja2 = require("jinja2")
    made: Environment = jinja2.Environment(
        autoescape=True,
        finalize=_final,
        keep_trailing_newline=True,
        loader=jinja2.FunctionLoader(_load),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return made


def _load(name: str) -> str:
    package, _, template = name.rpartition("/")
    return files(package).joinpath(template).read_text(encoding="utf-8")


def _final(value: object) -> object:
    """What an expression comes to: clean, unless it is markup already."""
    return value if hasattr(value, "__html__") else clean(str(value))
