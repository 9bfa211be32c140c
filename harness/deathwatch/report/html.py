"""The page as one self-contained HTML file: no script, no network, light and dark."""

from __future__ import annotations

from deathwatch.pages import render as fill

from .page import Page


def render(page: Page) -> str:
    """The page as HTML. Raises `MissingExtra` where jinja2 is not installed."""
    return fill("deathwatch.report", "page.html.jinja", page=page)
