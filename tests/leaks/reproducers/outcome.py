"""The exception, after `Error.unwrap` has raised it."""

import outcome


class UserNotFound(LookupError):
    pass


def find():
    raise UserNotFound("user:42")


def make():
    # no frame that the traceback holds may have the exception in a variable of its own
    try:
        outcome.capture(find).unwrap()
    except UserNotFound as failure:
        return failure
