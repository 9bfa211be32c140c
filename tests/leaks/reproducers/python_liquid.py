"""The context of a template, after it looked up a filter."""

from liquid import Environment
from liquid.context import Context


class PageContext(Context):  # Context itself can't be referenced weakly
    pass


def make():
    context = PageContext(Environment())
    context.filter("upcase")
    return context
