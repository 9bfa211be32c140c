"""A value that was given to `update`."""

from multidict import MultiDict


class Value:
    pass


def make():
    value = Value()
    MultiDict().update({"key": value})
    return value
