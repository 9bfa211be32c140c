"""An object with a signal, after the signal was used."""

from asphalt.core import Context


def make():
    context = Context()
    assert context.finished
    return context
