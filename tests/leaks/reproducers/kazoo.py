"""A handler that was started and stopped."""

from kazoo.handlers.threading import SequentialThreadingHandler


def make():
    handler = SequentialThreadingHandler()
    handler.start()
    handler.stop()
    return handler
