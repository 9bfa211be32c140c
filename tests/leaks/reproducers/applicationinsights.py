"""A logging handler, after it was removed from its logger."""

import logging

from applicationinsights.logging import enable


def make():
    handler = enable("0123")
    logging.getLogger().removeHandler(handler)
    return handler
