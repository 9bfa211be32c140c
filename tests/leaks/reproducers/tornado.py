"""An event loop, after it was closed."""

from tornado.ioloop import IOLoop


def make():
    loop = IOLoop(make_current=False)
    loop.close()
    return loop
