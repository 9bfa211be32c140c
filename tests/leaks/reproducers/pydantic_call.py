"""A class, after a method was called whose arguments are validated."""

from pydantic import validate_call


def make():
    class Users:
        @validate_call
        def find(self, number: int) -> int:
            return number

    Users().find(42)
    return Users
