"""An argument that was checked against a union, and is of none of its types."""

import contextlib
from typing import Optional

from typeguard import TypeCheckError, check_type


class Payload:
    pass


def make():
    payload = Payload()
    with contextlib.suppress(TypeCheckError):
        check_type(payload, Optional[int])  # noqa: UP045 - not the same to typeguard
    return payload
