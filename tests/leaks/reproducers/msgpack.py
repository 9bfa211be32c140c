"""An object that a hook made, as the value of a key that is refused."""

import contextlib

import msgpack


class Point:
    pass


points = []


def decode(code, data):
    points.append(Point())
    return points[-1]


def make():
    packed = msgpack.packb({1: msgpack.ExtType(1, b"")})
    with contextlib.suppress(ValueError):  # 1 is no string
        msgpack.unpackb(packed, ext_hook=decode)
    return points.pop()
