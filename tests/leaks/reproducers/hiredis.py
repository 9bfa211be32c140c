"""A parser that hands one of its own methods to its reader."""

import hiredis


class Parser:
    def __init__(self):
        self.reader = hiredis.Reader(replyError=self.parse_error)

    def parse_error(self, reply):
        return LookupError(reply)


def make():
    return Parser()
